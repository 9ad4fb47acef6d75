"""Defines the table `tls` of a node: with which files the broker connects to it, and whose certificate it expects."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


def certificate_name(value: str) -> str:
    """What a TLS library takes for a name in a certificate: printable ASCII, labels of 63 characters at most."""
    labels = value.rstrip(".").split(".")
    if not re.fullmatch(r"[!-~]( ?[!-~])*", value) or not all(1 <= len(label) <= 63 for label in labels):
        raise ValueError("a name is printable ASCII with 1 to 63 characters between two dots")
    return value


Name = Annotated[str, Field(min_length=1, max_length=253), AfterValidator(certificate_name)]
File = Annotated[str, Field(min_length=1, max_length=4096)]


class NodeTls(BaseModel):
    """`tls` of a node that the broker connects to. Files left out are those of `[dicom.tls]` or `[hl7.tls]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    certificate: File | None = Field(default=None, description="Own certificate (PEM) for this node, with its chain.")
    key: File | None = Field(default=None, description="Own private key (PEM). Comes together with `certificate`.")
    ca: File | None = Field(
        default=None, description="Authorities (PEM) that may have signed the certificate of the node."
    )
    crl: File | None = Field(default=None, description="Revoked certificates (PEM).")
    server_name: Name | None = Field(default=None, description="Name that its certificate must have. Left out: `host`.")

    @model_validator(mode="after")
    def _pair(self) -> NodeTls:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key come together")
        return self
