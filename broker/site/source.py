"""Defines the table `source` of a node with role worklist: what is imported from that server, and how often."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from broker.settings.types import AETitle, Code

SourceCharset = Literal[
    "", "ISO_IR 100", "ISO_IR 101", "ISO_IR 109", "ISO_IR 110", "ISO_IR 144", "ISO_IR 127", "ISO_IR 126",
    "ISO_IR 138", "ISO_IR 148", "ISO_IR 13", "ISO_IR 166", "ISO_IR 192", "GB18030", "GBK",
]  # fmt: skip


class Source(BaseModel):
    """`source` of a node: times in seconds, the asked days counted from today with both ends included."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    every: float = Field(default=300, ge=1, le=86_400, description="Seconds between two imports.")
    days_back: int = Field(default=1, ge=0, le=366, description="First day that is asked for: so many before today.")
    days_ahead: int = Field(default=14, ge=0, le=366, description="Last day that is asked for: so many after today.")
    stations: tuple[AETitle, ...] = Field(
        default=(), max_length=64, description="Scheduled Station AE Titles, one query for each. Empty: all."
    )
    modalities: tuple[Code, ...] = Field(
        default=(), max_length=16, description="Modalities, one query for each. Empty: all."
    )
    calling_ae: AETitle | None = Field(
        default=None, description="Calling AE title of the broker there. Left out: that of `[dicom]`."
    )
    charset: SourceCharset = Field(default="", description="Character set of answers that name none. Empty: ASCII.")
    issuer: str = Field(default="", max_length=64, description="Issuer of Patient ID of patients who have none.")
    missing: Literal["keep", "cancel"] = Field(
        default="keep",
        description='Steps that the server no longer has. "cancel": they are cancelled after two complete '
        "imports and a query of their own keys.",
    )
    max_items: int = Field(default=10_000, ge=1, le=100_000, description="Answers to one import.")
    timeout: float = Field(default=60, gt=0, le=600, description="Seconds for one answer.")
    deadline: float = Field(default=300, gt=0, le=3600, description="Seconds for one import.")


DEFAULT = Source()
