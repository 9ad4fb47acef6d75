"""The keys of `[traces]`: where spans of the work go to (OpenTelemetry)."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema

from broker.settings.sections import Section

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")  # RFC 9110 5.1
_VALUE = re.compile(r"[!-~]([ -~]{0,4000}[!-~])?")


def _endpoint(value: str) -> str:
    """Check the address of a collector."""
    text = value.rstrip("/")
    if text and not re.fullmatch(
        r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?", text
    ):
        raise ValueError("an address like http://127.0.0.1:4318, without a name and a password, or empty")
    return text


def _headers(value: dict[str, str]) -> dict[str, str]:
    """Check header fields."""
    for name, text in value.items():
        if not _HEADER.fullmatch(name) or not _VALUE.fullmatch(text):
            raise ValueError("names and values of HTTP header fields, in printable ASCII characters")
    return value


Endpoint = Annotated[
    str,
    AfterValidator(_endpoint),
    WithJsonSchema({"type": "string", "format": "address like `http://127.0.0.1:4318`, or empty"}),
]


class TracesSection(Section):
    """`[traces]`: what the broker does, as spans for an OpenTelemetry collector. No patient data."""

    endpoint: Endpoint = Field(
        default="",
        description="Address of the collector (OTLP/HTTP); `/v1/traces` is added. Empty: no traces. Needs "
        "`pip install 'worklist-broker[traces]'`.",
    )
    share: float = Field(default=1.0, ge=0, le=1, description="Share of the messages, objects and requests to trace.")
    headers: Annotated[dict[str, str], AfterValidator(_headers)] = Field(
        default={}, description='Headers of requests to the collector, like `{ Authorization = "Bearer …" }`. Secret.'
    )
