"""Defines the table `feedback` of an hl7 node: which events of its orders a RIS is told, and in which message."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from broker.hl7.findings import MalformedMessage
from broker.hl7.text import labels

MessageType = Literal["ORM^O01", "OMG^O19", "OMI^O23", "ORU^R01"]
EventName = Literal["arrived", "started", "partial", "completed", "discontinued", "cancelled", "reopened", "images"]
Policy = Literal["hold", "retry"]
_SINCE_2_4 = ("OMG^O19", "OMI^O23")


def _charset(value: str) -> str:
    """MSH-18 as it is sent: names of HL7 table 0211, repetitions separated by `~`."""
    try:
        if labels.in_table(tuple(value.split("~"))):
            return value
    except MalformedMessage:
        pass  # no name that is known at all: the same fault
    raise ValueError("a character set of HL7 table 0211, like 8859/1, UNICODE UTF-8 or ~ISO IR87")


def _sender(value: str) -> str:
    """`APPLICATION` or `APPLICATION|FACILITY`, as in MSH-3 and MSH-4."""
    if not value.partition("|")[0]:
        raise ValueError("APPLICATION or APPLICATION|FACILITY")
    return value


class Feedback(BaseModel):
    """`feedback` of a node with role ris."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    message: MessageType = Field(default="ORM^O01", description="Message type. OMG^O19 and OMI^O23 need version 2.5.1.")
    version: Literal["2.3.1", "2.5.1"] = Field(default="2.3.1", description="HL7 version of the messages.")
    charset: Annotated[str, Field(max_length=100), AfterValidator(_charset)] = Field(
        default="UNICODE UTF-8",
        description="MSH-18: a set of HL7 table 0211, like 8859/1; repetitions are separated by `~`, like ~ISO IR87.",
    )
    events: tuple[EventName, ...] = Field(
        default=("arrived", "started", "partial", "completed", "discontinued", "cancelled", "reopened"),
        description="Events that are told.",
    )
    senders: tuple[Annotated[str, Field(max_length=400), AfterValidator(_sender)], ...] = Field(
        default=(), description="Only orders that came from these: APPLICATION or APPLICATION|FACILITY. Empty: all."
    )
    echo: bool = Field(default=False, description="true: the node is also told what its own messages did.")
    on_error: Policy = Field(
        default="retry",
        description='After AE or CE. "retry": send it again, up to `attempts` times. "hold": hold it for a person.',
    )
    on_reject: Policy = Field(default="hold", description="After AR or CR: the same choice.")
    attempts: int = Field(default=3, ge=1, le=5, description="Negative answers until a message is held.")
    timeout: float = Field(default=30, gt=0, le=600, description="Seconds for an answer.")

    @model_validator(mode="after")
    def _exists(self) -> Feedback:
        if self.version == "2.3.1" and self.message in _SINCE_2_4:
            raise ValueError(f"message: version 2.3.1 has no {self.message}")
        return self

    def takes_orders_of(self, source: str) -> bool:
        """Orders that came from `MSH-3|MSH-4` are among those it is for."""
        return not self.senders or source in self.senders or source.partition("|")[0] in self.senders
