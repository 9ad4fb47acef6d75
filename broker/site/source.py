"""What is taken over from another worklist server, and how often: the table `source` of a node with role worklist."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from broker.setting_types import AETitle

Code = Annotated[str, Field(pattern=r"^[A-Z0-9_ ]{1,16}$")]


class Source(BaseModel):
    """`source` of a node. Times in seconds; the window is counted in days from today, both ends included.

    `calling_ae` is what we call ourselves there, `charset` what answers are read by that name none, `issuer` that of
    patients who have none. `missing`: what becomes of an item that the server has no more. `deadline` is for one
    import, `timeout` for one answer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    every: float = Field(default=300, ge=1, le=86_400)
    days_back: int = Field(default=1, ge=0, le=366)
    days_ahead: int = Field(default=14, ge=0, le=366)
    stations: tuple[AETitle, ...] = Field(default=(), max_length=64)
    modalities: tuple[Code, ...] = Field(default=(), max_length=16)
    calling_ae: AETitle | None = None
    charset: Literal[
        "", "ISO_IR 100", "ISO_IR 101", "ISO_IR 109", "ISO_IR 110", "ISO_IR 144", "ISO_IR 127", "ISO_IR 126",
        "ISO_IR 138", "ISO_IR 148", "ISO_IR 13", "ISO_IR 166", "ISO_IR 192", "GB18030", "GBK",
    ] = ""  # fmt: skip
    issuer: str = Field(default="", max_length=64)
    missing: Literal["keep", "cancel"] = "keep"
    max_items: int = Field(default=10_000, ge=1, le=100_000)
    timeout: float = Field(default=60, gt=0, le=600)
    deadline: float = Field(default=300, gt=0, le=3600)


DEFAULT = Source()
