"""How a device is served: the table `device` of a modality's node."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from broker.setting_types import AETitle
from broker.site.closing import Closing


class Device(BaseModel):
    """Profile of a device. `stations`: Scheduled Station AE Titles whose steps are its own; empty: its AE title.

    `max_answers` to one query, None for what the broker's settings say.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    stations: tuple[AETitle, ...] = Field(default=(), max_length=64)
    max_answers: int | None = Field(default=None, ge=1, le=1_000_000)
    closing: Closing | None = None


DEFAULT = Device()
