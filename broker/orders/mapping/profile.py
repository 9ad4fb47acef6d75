"""Mapping profiles as values: which HL7 field becomes which DICOM attribute, and what is done about what is missing.

`parsing` makes one of a document. `ihe.toml` explains the format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from broker.hl7.paths import Path
from broker.hl7.tolerance import Tolerance
from broker.model.order import Document
from broker.orders.core import identifiers
from broker.orders.core.identifiers import Identifiers
from broker.orders.core.names import USUAL, NameTypes
from broker.orders.core.values import AccessionPolicy, RepeatedNumber, StartMissing
from broker.orders.mapping import data_types
from broker.orders.mapping.ignoring import IgnoreRule
from broker.orders.mapping.provenance import Trace
from broker.orders.mapping.representations import misfit
from broker.orders.mapping.senders import SenderClaim
from broker.orders.mapping.stations import StationRule
from broker.orders.mapping.value_table import OTHERS, ValueTable

SECTIONS = ("patient", "visit", "request", "procedure", "step", "appointment")


class FieldType(StrEnum):
    """Says how a field is read, as written behind its path (`PID-5:XPN`). `SEQUENCES` give a DICOM sequence."""

    PLAIN = ""
    XPN = "XPN"
    XCN = "XCN"
    CN = "CN"
    TEXT = "TEXT"  # of a coded element
    NOTES = "FT"
    MEASURE = "MEASURE"
    CODE = "CE"
    OTHER_IDS = "IDS"
    EI = "EI"
    HD = "HD"
    CX_QUALIFIERS = "CXQ"


SEQUENCES = frozenset({FieldType.CODE, FieldType.OTHER_IDS, FieldType.EI, FieldType.HD, FieldType.CX_QUALIFIERS})


@dataclass(frozen=True, slots=True)
class FieldSource:
    """A path and how to read it; `text` as written."""

    path: Path
    kind: FieldType = FieldType.PLAIN
    text: str = ""


@dataclass(frozen=True, slots=True)
class MappedAttribute:
    """A DICOM attribute with its VR, whether it takes several values, and its sources in order."""

    keyword: str
    vr: str
    multiple: bool
    sources: tuple[FieldSource, ...]


@dataclass(frozen=True, slots=True)
class Measure:
    """Says which OBX hold a measurement, and by which factors their units become that of DICOM.

    A value outside of `limits`, in the unit of DICOM, is a mistake of somebody.
    """

    codes: frozenset[str]
    texts: frozenset[str]
    units: Mapping[str, float]
    limits: tuple[float, float] = (0, 1000)


class UnknownCancel(StrEnum):
    """Says what a cancel does whose order is not known."""

    PARK = "park"
    REFUSE = "refuse"


class AppointmentCancel(StrEnum):
    """Says what the cancel of an appointment does to its steps."""

    UNSCHEDULE = "unschedule"
    CANCEL = "cancel"


class UnknownAppointment(StrEnum):
    """Says what an appointment does whose order is not known."""

    KEEP = "keep"
    CREATE = "create"


@dataclass(frozen=True, slots=True)
class Policy:
    """Decides what messages do that name an unknown order, give no start, cancel an appointment or tell of results.

    Results with a value of OBR-25 (table 0123) among `result_completes` complete their order. The last two say what
    happens to numbers that another order or exam has too.
    """

    unknown_order_cancel: UnknownCancel = UnknownCancel.PARK
    start_missing: StartMissing = StartMissing.RECEIVED
    appointment_cancel: AppointmentCancel = AppointmentCancel.UNSCHEDULE
    unknown_appointment: UnknownAppointment = UnknownAppointment.KEEP
    result_completes: tuple[str, ...] = ()
    accession_of_another_patient: AccessionPolicy = AccessionPolicy.WARN
    repeated_number: RepeatedNumber = RepeatedNumber.REFUSE


class ControlId(StrEnum):
    """Says what is done with a message without MSH-10."""

    REQUIRED = "required"
    MADE = "made"  # one is made of its bytes


class LongIdentifiers(StrEnum):
    """Says what is done with identifiers that are longer than DICOM allows."""

    REFUSE = "refuse"
    SHORT = "short"  # a short form stands for them


class UnusableUid(StrEnum):
    """Says what is done with a Study Instance UID that is no UID."""

    REFUSE = "refuse"
    MAKE = "make"  # it counts as absent


class UnusableStation(StrEnum):
    """Says what is done with a station that is no AE title."""

    REFUSE = "refuse"
    DEFAULT = "default"  # it counts as absent


@dataclass(frozen=True, slots=True)
class Reading:
    """Says how messages of the profile's senders are read before they are mapped. Empty: as the listener does.

    `charset` (repetitions joined by `~`) and `version` count instead of what MSH-18 and MSH-12 say. The others are
    leniencies, all off.
    """

    charset: str = ""
    version: str = ""
    control_id: ControlId = ControlId.REQUIRED
    long_identifiers: LongIdentifiers = LongIdentifiers.REFUSE
    unusable_uid: UnusableUid = UnusableUid.REFUSE
    unusable_station: UnusableStation = UnusableStation.REFUSE

    @property
    def is_lenient(self) -> bool:
        """True if identifiers or stations that cannot be used may be replaced."""
        return (
            self.long_identifiers is not LongIdentifiers.REFUSE
            or self.unusable_uid is not UnusableUid.REFUSE
            or self.unusable_station is not UnusableStation.REFUSE
        )

    def over(self, tolerance: Tolerance) -> Tolerance:
        """The tolerance of a listener with what is decided for these senders."""
        if not self.charset and not self.version:
            return tolerance
        return replace(
            tolerance,
            override_charset=self.charset or tolerance.override_charset,
            override_version=self.version or tolerance.override_version,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A validated mapping profile. With a `trace` every value that is mapped leaves a note of its origin there."""

    name: str
    sections: Mapping[str, tuple[MappedAttribute, ...]]
    values: Mapping[str, ValueTable]
    measures: Mapping[str, Measure]
    modalities: frozenset[str]
    names: NameTypes = USUAL
    senders: tuple[SenderClaim, ...] = ()
    defaults: Mapping[str, Document] = field(default_factory=dict)  # by section
    stations: tuple[StationRule, ...] = ()
    ignores: tuple[IgnoreRule, ...] = ()
    identifiers: Identifiers = identifiers.DEFAULT
    policy: Policy = Policy()
    reading: Reading = Reading()
    trace: Trace | None = field(default=None, compare=False)

    def mapped(self, keyword: str, text: str) -> str | int | None:
        """A value by the table of its keyword; the value itself without a table or entry, None if it is not known."""
        return data_types.mapped(text, self.values.get(keyword))

    def knows_modality(self, term: str) -> bool:
        """True if an order may ask for a modality; with an empty list any."""
        return not misfit("CS", term) and (not self.modalities or term in self.modalities)

    def drops_others(self, keyword: str) -> bool:
        """True if the keyword has a table that gives nothing for values it does not know."""
        table = self.values.get(keyword)
        return table is not None and table.get(OTHERS) == ""
