"""Names the UIDs of the DICOM door: SOP classes, transfer syntaxes, our implementation; chooses transfer syntaxes."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from pydicom._uid_dict import UID_dictionary
from pydicom.uid import (
    AllTransferSyntaxes,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
IMPLEMENTATION_CLASS = "2.25.230479862418604178293851036541372196514"
IMPLEMENTATION_VERSION = "WLBROKER_0_1"

VERIFICATION = "1.2.840.10008.1.1"
MODALITY_WORKLIST = "1.2.840.10008.5.1.4.31"
PERFORMED_STEP = "1.2.840.10008.3.1.2.3.3"  # Modality Performed Procedure Step
PERFORMED_STEP_RETRIEVE = "1.2.840.10008.3.1.2.3.4"
PERFORMED_STEP_NOTIFICATION = "1.2.840.10008.3.1.2.3.5"
STORAGE_COMMITMENT = "1.2.840.10008.1.20.1"  # Storage Commitment Push Model
STORAGE_COMMITMENT_INSTANCE = "1.2.840.10008.1.20.1.1"  # its one well-known SOP instance

IMPLICIT_LE = str(ImplicitVRLittleEndian)
EXPLICIT_LE = str(ExplicitVRLittleEndian)
EXPLICIT_BE = str(ExplicitVRBigEndian)
DEFLATED = str(DeflatedExplicitVRLittleEndian)
UNCOMPRESSED = (EXPLICIT_LE, IMPLICIT_LE, EXPLICIT_BE, DEFLATED)

# the data set itself is deflated (PS3.5 A.5, A.7, A.9)
DEFLATED_SYNTAXES = frozenset({DEFLATED, "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"})
_NO_SYNTAX_OF_OBJECTS = frozenset({"1.2.840.10008.1.2.6.1", "1.2.840.10008.1.2.6.2", "1.2.840.10008.1.20"})
# UIDs of the standard that pydicom's dictionary does not have yet (PS3.6 table A-1, PS3.4 table B.5-1)
_NEWER_SYNTAXES = {
    "1.2.840.10008.1.2.4.110": "JPEG XL Lossless",
    "1.2.840.10008.1.2.4.111": "JPEG XL JPEG Recompression",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
    "1.2.840.10008.1.2.8.1": "Deflated Image Frame Compression",
}
_NEWER_STORAGE = {
    "1.2.840.10008.5.1.4.1.1.9.100.1": "Waveform Presentation State Storage",
    "1.2.840.10008.5.1.4.1.1.9.100.2": "Waveform Acquisition Presentation State Storage",
    "1.2.840.10008.5.1.4.1.1.66.7": "Label Map Segmentation Storage",
    "1.2.840.10008.5.1.4.1.1.66.8": "Height Map Segmentation Storage",
}
_NO_STORAGE = frozenset({"1.2.840.10008.1.3.10", STORAGE_COMMITMENT, "1.2.840.10008.1.20.2"})


def _registered(kind: str, word: str = "") -> frozenset[str]:
    """UIDs of PS3.6 annex A, retired ones included: old devices live long."""
    return frozenset(uid for uid, entry in UID_dictionary.items() if entry[1] == kind and word in entry[0])


TRANSFER_SYNTAXES = (
    _registered("Transfer Syntax") | {str(uid) for uid in AllTransferSyntaxes} | _NEWER_SYNTAXES.keys()
) - _NO_SYNTAX_OF_OBJECTS
STORAGE_CLASSES = (_registered("SOP Class", "Storage") | _NEWER_STORAGE.keys()) - _NO_STORAGE
STORAGE_SERVICE = "1.2.840.10008.4.2"  # the Storage Service Class, in common extended negotiation

_UID = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))+")

Choice = Callable[[Sequence[str]], "str | None"]


def is_uid(text: str) -> bool:
    """True for a UID of PS3.5 9.1: at most 64 characters, digits and dots, no component with a leading zero."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def first_of(*preferred: str) -> Choice:
    """Chooses the transfer syntax of a context by our order of preference."""

    def choose(proposed: Sequence[str]) -> str | None:
        return next((syntax for syntax in preferred if syntax in proposed), None)

    return choose


def for_storage(proposed: Sequence[str]) -> str | None:
    """The transfer syntax in which a storage context is accepted; objects are kept as they come.

    Explicit VR LE keeps private VRs and loses nothing; a sender that offers compressed syntaxes without it most
    likely holds compressed objects, so those come next, in the sender's order. Big endian is retired: last.
    """
    known = [syntax for syntax in proposed if syntax in TRANSFER_SYNTAXES]
    if EXPLICIT_LE in known:
        return EXPLICIT_LE
    compressed = [syntax for syntax in known if syntax not in UNCOMPRESSED]
    return next(iter(compressed or [s for s in UNCOMPRESSED if s in known]), None)


def name_of(uid: str) -> str:
    """The name of a UID in PS3.6 annex A, such as `CT Image Storage`; the UID itself for one that has none."""
    entry = UID_dictionary.get(uid)
    return entry[0] if entry is not None else _NEWER_SYNTAXES.get(uid) or _NEWER_STORAGE.get(uid) or uid
