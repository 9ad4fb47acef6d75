"""Defines the table `s3` of a node that is a bucket: its name, the names in it, and who we are to its storage."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from broker.site.node_tls import File
from broker.site.tables.folder import Template


class S3(BaseModel):
    """`s3` of a node with kind s3: a bucket of S3-compatible storage. Its secret stands in a file, read at each use."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bucket: str = Field(
        min_length=3,
        max_length=63,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*[A-Za-z0-9]$",
        description="Name of the bucket. It must be there: the broker never makes it.",
    )
    region: str = Field(
        default="us-east-1",
        min_length=1,
        max_length=64,
        pattern=r"^[A-Za-z0-9-]+$",
        description="Region for which requests are signed. Most storage of one's own takes us-east-1.",
    )
    key: Template = Field(
        default="{PatientID|unknown}/{StudyInstanceUID}/{SeriesInstanceUID}/{SOPInstanceUID}.dcm",
        description="Name of an object in the bucket, literal beginnings included, as files.name of a folder node.",
    )
    existing: Literal["hold", "replace"] = Field(
        default="hold",
        description="Something else of this name is there. hold: a person decides; the keys must be allowed to read. "
        "replace: the new one takes its place, and nothing is asked before.",
    )
    access_key: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        pattern=r"^[!-~]+$",
        description="Access key. Left out: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN of the "
        "broker's environment.",
    )
    secret_key_file: File | None = Field(default=None, description="File with the secret key, on one line.")

    @model_validator(mode="after")
    def _pair(self) -> S3:
        if (self.access_key is None) != (self.secret_key_file is None):
            raise ValueError("access_key: comes together with secret_key_file")
        return self
