"""What a RIS wants to hear of its orders, and in which form: the table `feedback` of an hl7 node."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from broker.hl7 import charset
from broker.hl7.findings import MalformedMessage

MessageType = Literal["ORM^O01", "OMG^O19", "OMI^O23", "ORU^R01"]
EventName = Literal[
    "arrived", "started", "partial", "completed", "discontinued", "cancelled", "reopened", "images"
]  # fmt: skip
Policy = Literal["hold", "retry"]
_SINCE_2_4 = ("OMG^O19", "OMI^O23")


def _charset(value: str) -> str:
    """MSH-18 as it is sent: names of HL7 table 0211, repetitions separated by `~`."""
    try:
        charset.codec_of(tuple(value.split("~")))
    except MalformedMessage:
        raise ValueError("a character set of HL7 table 0211, like 8859/1, UNICODE UTF-8 or ~ISO IR87") from None
    return value


def _sender(value: str) -> str:
    """`APPLICATION` or `APPLICATION|FACILITY`, as in MSH-3 and MSH-4."""
    if not value.partition("|")[0]:
        raise ValueError("APPLICATION or APPLICATION|FACILITY")
    return value


class Feedback(BaseModel):
    """`feedback` of a node. `timeout`: seconds for an answer; `attempts`: how often what is refused is sent.

    `senders` limits it to orders that came from these (`MSH-3` or `MSH-3|MSH-4`), `echo` tells the node also of what
    its own messages did.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    message: MessageType = "ORM^O01"
    version: Literal["2.3.1", "2.5.1"] = "2.3.1"
    charset: Annotated[str, Field(max_length=100), AfterValidator(_charset)] = "UNICODE UTF-8"
    events: tuple[EventName, ...] = (
        "arrived", "started", "partial", "completed", "discontinued", "cancelled", "reopened",
    )  # fmt: skip
    senders: tuple[Annotated[str, Field(max_length=400), AfterValidator(_sender)], ...] = ()
    echo: bool = False
    on_error: Policy = "retry"
    on_reject: Policy = "hold"
    attempts: int = Field(default=3, ge=1, le=5)
    timeout: float = Field(default=30, gt=0, le=600)

    @model_validator(mode="after")
    def _exists(self) -> Feedback:
        if self.version == "2.3.1" and self.message in _SINCE_2_4:
            raise ValueError(f"message: version 2.3.1 has no {self.message}")
        return self

    def takes_orders_of(self, source: str) -> bool:
        """Orders that came from `MSH-3|MSH-4` are among those it is for."""
        return not self.senders or source in self.senders or source.partition("|")[0] in self.senders
