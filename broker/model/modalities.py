"""Names the modalities that an order may ask for: those of PS3.16 CID 29, and what a site adds.

PS3.3 C.7.3.1.1.1 defines these terms and lets a site have further ones. Every door checks orders against one list.
"""

from __future__ import annotations

from collections.abc import Iterable

MODALITIES = frozenset(
    {
        "AR", "BDUS", "BI", "BMD", "CFM", "CR", "CT", "DG", "DMS", "DX", "ECG", "EEG", "EMG", "EOG", "EPS", "ES", "GM",
        "HD", "IO", "IVOCT", "IVUS", "KER", "LEN", "LS", "MG", "MR", "NM", "OAM", "OCT", "OP", "OPM", "OPT", "OPTBSV",
        "OPTENF", "OPV", "OSS", "PA", "POS", "PT", "PX", "RESP", "RF", "RG", "RTIMAGE", "SM", "SRF", "TG", "US", "VA",
        "XA", "XC",
        # of other modalities (CID 33), but ordered like an acquisition
        "OT", "RTDOSE", "RTPLAN", "RTSTRUCT",
    }
)  # fmt: skip


def known_modalities(more: Iterable[str] = ()) -> frozenset[str]:
    """The modalities that a broker knows; `more` are those that the site adds (`[worklist] modalities`)."""
    return MODALITIES.union(more)
