"""Defines the table `repository` of a syslog node: how an audit repository wants its messages."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Repository(BaseModel):
    """`repository` of a node with role audit: how it is sent the audit trail (PS3.15 A.5, IHE ITI-20)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    transport: Literal["tcp", "udp"] = Field(
        default="tcp",
        description="tcp: RFC 6587 with octet counting, with `tls` RFC 5425. udp: RFC 5426; what gets lost is lost.",
    )
    message_id: Annotated[str, Field(min_length=1, max_length=32, pattern=r"^[!-~]+$")] = Field(
        default="DICOM+RFC3881", description="MSGID of the syslog header. IHE repositories may ask for IHE+RFC-3881."
    )
    codes: Literal["dicom", "rfc3881"] = Field(
        default="dicom", description="dicom: codes have the attribute `csd-code` of PS3.15; rfc3881: `code`."
    )
    patient_names: bool = Field(default=False, description="Send the names of patients beside their identifiers.")
