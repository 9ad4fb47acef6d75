"""How a device is served: the table `device` of a modality's node."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from broker.setting_types import AETitle
from broker.site.closing import Closing


class Device(BaseModel):
    """Profile of a device. `stations`: Scheduled Station AE Titles whose steps are its own; empty: its AE title.

    `max_answers` to one query, None for what the broker's settings say. `mpps`: what is wrong with its performed
    procedure steps is noted and forgiven where possible, or refused as the standard says; `first_completed`: it may
    create one that is completed or discontinued already.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    stations: tuple[AETitle, ...] = Field(default=(), max_length=64)
    max_answers: int | None = Field(default=None, ge=1, le=1_000_000)
    mpps: Literal["lenient", "strict"] = "lenient"
    first_completed: bool = False
    closing: Closing | None = None


DEFAULT = Device()
