"""Defines the table `closing` of `[node.device]`: what ends the steps of a modality that does not say so by MPPS."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from broker.settings.types import Hours

Sign = Literal["images", "result", "time"]
Overdue = Literal["list", "discontinue"]


class Closing(BaseModel):
    """`closing` of a device. Its MPPS always counts; `by` lists what counts besides."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: tuple[Sign, ...] = Field(
        default=("result",),
        description='What ends steps besides MPPS. "images": images of the study. "result": a final result, if '
        'the mapping says so. "time": the clock.',
    )
    images_minimum: int = Field(default=1, ge=1, le=100_000, description="So many images of the study start the step.")
    images_quiet: float = Field(
        default=900, ge=1, le=7 * 86_400, description="So many seconds after the last image the step is completed."
    )
    after: float = Field(
        default=12, gt=0, le=87_600, description='With "time": so many hours after its start the step is over.'
    )
    unseen: Literal["completed", "no-show"] = Field(
        default="completed", description='With "time": how a step ends of which there is no image and no MPPS.'
    )
    no_show_after: Hours | None = Field(
        default=None, description="As in `[worklist]`, for this device. Left out: that of `[worklist]`. 0: never."
    )
    expire_after: Hours | None = Field(
        default=None, description="As in `[worklist]`, for this device. Left out: that of `[worklist]`. 0: never."
    )
    mpps_after: Hours | None = Field(
        default=None, description="As in `[worklist]`, for this device. Left out: that of `[worklist]`. 0: never."
    )
    mpps_overdue: Overdue | None = Field(
        default=None, description="As in `[worklist]`, for this device. Left out: that of `[worklist]`."
    )
