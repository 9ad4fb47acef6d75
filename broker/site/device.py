"""Defines the table `device` of a modality's node: how the broker serves this device."""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from broker.settings.types import AETitle
from broker.site.closing import Closing

Status = Literal["SCHEDULED", "ARRIVED", "READY", "STARTED", "DEPARTED", "COMPLETED", "DISCONTINUED", "CANCELED"]
SHOWN: tuple[Status, ...] = ("SCHEDULED", "ARRIVED", "READY")  # what a query sees that asks for no status
# What may be cut. Not identifiers, codes and dates: a cut one is another one. Not warnings: half of one may mislead.
CUTTABLE = frozenset(
    {
        "PatientName", "OtherPatientNames", "PatientBirthName", "ReferringPhysicianName", "RequestingPhysician",
        "ScheduledPerformingPhysicianName", "NamesOfIntendedRecipientsOfResults", "OrderEnteredBy", "ResponsiblePerson",
        "RequestedProcedureDescription", "ScheduledProcedureStepDescription", "CodeMeaning", "RequestingService",
        "CurrentPatientLocation", "RequestedProcedureLocation", "ScheduledProcedureStepLocation", "InstitutionName",
        "ScheduledStationName", "InstitutionAddress", "OrderEntererLocation", "PatientAddress", "PersonAddress",
        "ReasonForTheRequestedProcedure", "RequestedProcedureComments", "CommentsOnTheScheduledProcedureStep",
        "ImagingServiceRequestComments", "ReasonForTheImagingServiceRequest", "PatientTransportArrangements",
        "AdmittingDiagnosesDescription", "EthnicGroup", "Occupation",
    }
)  # fmt: skip
_ALONE = {"ISO_IR 192", "GB18030", "GBK", "ISO_IR 6"}
_FIRST = {"100", "101", "109", "110", "144", "127", "126", "138", "148", "203", "166", "13"}
_MORE = _FIRST | {"6", "87", "159", "149", "58"}


def _listed(value: Any) -> Any:
    """Values of (0008,0005) as a list, or as they stand in the element."""
    return value.split("\\") if isinstance(value, str) else value


def _terms(values: tuple[str, ...]) -> tuple[str, ...]:
    """Defined terms of Specific Character Set (PS3.3 C.12.1.1.2) that go together."""
    good = len(values) < 2 and (not values or values[0] in _ALONE or _number(values[0], r"ISO_IR (\d+)") in _FIRST)
    if len(values) > 1:
        good = values[0] == "" or _number(values[0]) in _FIRST | {"6"}
        good = good and all(_number(value) in _MORE for value in values[1:])
    if not good:
        raise ValueError(
            'defined terms of (0008,0005): one such as "ISO_IR 100", or several such as "\\ISO 2022 IR 87"'
        )
    return values


def _number(term: str, pattern: str = r"ISO 2022 IR (\d+)") -> str:
    found = re.fullmatch(pattern, term)
    return found[1] if found else ""


Label = Annotated[
    str, Field(min_length=1, max_length=64, pattern=r"^[^\\\x00-\x1f\x7f*?]+$"), AfterValidator(str.strip)
]
Charset = Annotated[
    tuple[str, ...],
    Field(max_length=8),
    BeforeValidator(_listed),
    AfterValidator(_terms),
    WithJsonSchema({"type": "string", "format": "text, or list of text"}),
]
Days = Annotated[int, Field(ge=0, le=366)]
Hours = Annotated[int, Field(ge=0, le=8784)]


class Device(BaseModel):
    """`[node.device]` of a modality: changes to its queries and answers, and the reading of its MPPS messages."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stations: tuple[AETitle, ...] = Field(
        default=(),
        max_length=64,
        description="Scheduled Station AE Titles whose steps are its own. Empty: its AE title.",
    )
    station: Literal["asked", "calling"] = Field(
        default="asked", description='"calling": the station in its queries is ignored, it sees its own steps.'
    )
    max_answers: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Answers to one query. Left out: that of `[worklist]`."
    )
    mpps: Literal["lenient", "strict"] = Field(
        default="lenient",
        description='Faulty performed procedure steps. "lenient": they are taken where possible, with findings. '
        '"strict": they are refused as PS3.4 F.7 says.',
    )
    first_completed: bool = Field(
        default=False, description="true: its N-CREATE may say COMPLETED or DISCONTINUED already."
    )
    closing: Closing | None = Field(default=None, description="What ends its steps besides MPPS.")
    charset: Charset = Field(
        default=(),
        description='Character set of all its answers: a defined term of (0008,0005), like "ISO_IR 100", or '
        "several separated by backslashes. Left out: that of the query, else that of `[worklist]`.",
    )
    max_lengths: dict[str, Annotated[int, Field(ge=1, le=1024)]] = Field(
        default_factory=dict,
        description="Longest value per DICOM keyword, like `{ PatientName = 32 }`. Only names and descriptions "
        "can be cut.",
    )
    days_before: Days = Field(default=0, description="An asked date or range begins so many days earlier.")
    days_after: Days = Field(default=0, description="An asked date or range ends so many days later.")
    show: tuple[Status, ...] = Field(
        default=SHOWN, min_length=1, description="Statuses it sees where it asks for none."
    )
    hide: tuple[Status, ...] = Field(default=(), description="Statuses it never sees, whatever it asks for.")
    labels: tuple[Label, ...] = Field(
        default=(), max_length=64, description="Worklist Labels (0074,1202) of the orders it sees. Empty: all."
    )
    only_labelled: bool = Field(
        default=False, description="true: it does not see orders without a label. Needs `labels`."
    )
    ignore_case: bool = Field(
        default=False, description="true: its queries match AE titles and code strings without case."
    )
    prefix_names: bool = Field(
        default=False, description="true: a name in its query is the beginning of a name; DOE finds DOE^JOHN."
    )
    empty_on_no_keys: bool = Field(default=False, description="true: a query without any value finds nothing.")
    window_hours_before: Hours | None = Field(
        default=None, description="A query without any value finds starts from so many hours ago. Left out: no limit."
    )
    window_hours_after: Hours | None = Field(
        default=None,
        description="A query without any value finds starts up to so many hours from now. Left out: no limit.",
    )

    @property
    def windowed(self) -> bool:
        """What a query without any value finds moves with the clock."""
        return self.window_hours_before is not None or self.window_hours_after is not None

    @cached_property
    def digest(self) -> bytes:
        """The same for profiles that say the same."""
        return hashlib.blake2b(self.model_dump_json().encode(), digest_size=16).digest()

    @field_validator("max_lengths")
    @classmethod
    def _safe(cls, value: dict[str, int]) -> dict[str, int]:
        for keyword in value:
            if keyword not in CUTTABLE:
                raise ValueError(
                    f"{keyword[:64]} is never cut: an identifier, code or date would be another one, half a warning "
                    f"misleads; names and descriptions may be: {', '.join(sorted(CUTTABLE))}"
                )
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Device:
        if self.only_labelled and not self.labels:
            raise ValueError("only_labelled: needs labels")
        if self.empty_on_no_keys and self.windowed:
            raise ValueError("empty_on_no_keys: there is no window then")
        if set(self.show) <= set(self.hide):
            raise ValueError("hide: nothing is left to show")
        return self


DEFAULT = Device()
