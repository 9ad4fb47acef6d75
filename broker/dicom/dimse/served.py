"""Says what the DICOM door accepts as SCP: the SOP classes of each service and how it chooses transfer syntaxes.

The services register with it, so that whoever tells what is accepted reads the same table (PS3.2, PS3.8 annex B).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from broker.dicom import uids
from broker.dicom.dimse import status as st
from broker.dicom.uids import Choice

_LITTLE = uids.first_of(uids.EXPLICIT_LE, uids.IMPLICIT_LE)


@dataclass(frozen=True, slots=True)
class ServiceOffer:
    """A service by its name, its abstract syntaxes, and its choice among proposed transfer syntaxes."""

    service: str
    classes: frozenset[str]
    choose: Choice

    @property
    def syntaxes(self) -> tuple[str, ...]:
        """All transfer syntaxes in which its contexts are accepted: those it prefers first, the others by UID."""
        left = sorted(uids.TRANSFER_SYNTAXES)
        accepted: list[str] = []
        while (best := self.choose(left)) is not None:
            accepted.append(best)
            left.remove(best)
        return tuple(accepted)


VERIFICATION = ServiceOffer("Verification", frozenset({uids.VERIFICATION}), _LITTLE)
WORKLIST = ServiceOffer("Modality Worklist", frozenset({uids.MODALITY_WORKLIST}), _LITTLE)
PERFORMED = ServiceOffer("Modality Performed Procedure Step", frozenset({uids.PERFORMED_STEP}), _LITTLE)
RETRIEVE = ServiceOffer(
    "Modality Performed Procedure Step Retrieve", frozenset({uids.PERFORMED_STEP_RETRIEVE}), _LITTLE
)

COMMITMENT = ServiceOffer("Storage Commitment Push Model", frozenset({uids.STORAGE_COMMITMENT}), _LITTLE)

ECHO_ANSWERED = (
    st.AnsweredStatus(st.SUCCESS, "The broker is well enough to serve: its database can be read."),
    st.AnsweredStatus(st.PROCESSING_FAILURE, "The database does not answer, or an internal error."),
)


def storage(private_classes: Iterable[str] = ()) -> ServiceOffer:
    """The storage service: all classes of the standard, and the private ones of the configuration."""
    return ServiceOffer("Storage", uids.STORAGE_CLASSES | frozenset(private_classes), uids.for_storage)


def served(private_classes: Iterable[str] = (), *, commits: bool = False) -> tuple[ServiceOffer, ...]:
    """All that the door accepts. `commits`: a destination proves that it has objects."""
    always = VERIFICATION, storage(private_classes), WORKLIST, PERFORMED, RETRIEVE
    return (*always, COMMITMENT) if commits else always
