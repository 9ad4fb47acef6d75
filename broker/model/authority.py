"""The two names of an authority that assigns identifiers: a local namespace and a universal ID (HL7 2.5.1 §2.A.33)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class AuthorityUse(StrEnum):
    """What an authority assigns. One namespace may stand for several authorities that assign different things."""

    PATIENT = "patient"
    VISIT = "visit"
    PLACER = "placer"
    FILLER = "filler"
    ACCESSION = "accession"


@dataclass(frozen=True, slots=True)
class KnownAuthority:
    """A namespace and a universal ID of which a message has said that they name one authority."""

    use: AuthorityUse
    namespace: str
    universal_id: str
