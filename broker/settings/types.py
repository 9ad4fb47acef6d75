"""Types of the values in `broker.toml` and `site.toml`. Each refuses a wrong value with a sentence."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=31_536_000)]
Hours = Annotated[float, Field(ge=0, le=87_600)]  # 0: never
Days = Annotated[float, Field(ge=0, le=36_500)]  # 0: never
Count = Annotated[int, Field(ge=1)]
Code = Annotated[str, Field(pattern=r"^[A-Z0-9_ ]{1,16}$")]  # a DICOM CS


def _ae_title(value: str) -> str:
    """Check an AE title: 1 to 16 printable ASCII characters, no backslash (PS3.5 6.2)."""
    text = value.strip(" ")
    if not 1 <= len(text) <= 16 or not all(" " <= c <= "~" and c != "\\" for c in text):
        raise ValueError("an AE title is 1 to 16 printable ASCII characters without backslash")
    return text


AETitle = Annotated[str, AfterValidator(_ae_title), WithJsonSchema({"type": "string", "format": "AE title"})]


def _storage_uid(value: str) -> str:
    """Check a UID (PS3.5 9.1) that can name a storage SOP class: private, or under the arc of the standard's own."""
    if not 3 <= len(value) <= 64 or not re.fullmatch(r"[0-2](\.(0|[1-9][0-9]*))+", value):
        raise ValueError("a UID is numbers without leading zeros, joined by dots, 64 characters at most")
    if value.startswith("1.2.840.10008.") and not value.startswith("1.2.840.10008.5.1.4.1.1."):
        raise ValueError("not a storage SOP class")
    return value


StorageUID = Annotated[str, AfterValidator(_storage_uid), WithJsonSchema({"type": "string", "format": "UID"})]


def _local_entity(value: str) -> str:
    """Check an Issuer of Patient ID (LO, PS3.5 6.2)."""
    if len(value) > 64 or "\\" in value or not value.isprintable():
        raise ValueError("at most 64 printable characters without backslash")
    return value.strip(" ")


LocalEntity = Annotated[
    str,
    AfterValidator(_local_entity),
    WithJsonSchema({"type": "string", "format": "text of at most 64 characters without backslash"}),
]


def _token(value: str) -> str:
    """Check a bearer token (RFC 6750 2.1): long enough that nobody guesses it, or empty."""
    if value and not re.fullmatch(r"[A-Za-z0-9._~+/-]{16,}=*", value):
        raise ValueError("at least 16 letters, digits and ._~+/-, or empty")
    return value


Token = Annotated[
    str,
    AfterValidator(_token),
    WithJsonSchema({"type": "string", "format": "text of at least 16 letters, digits and `._~+/-`, or empty"}),
]


def _listener_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]{0,40}", value):
        raise ValueError("at most 40 letters, digits, dots, hyphens and underscores")
    return value


ListenerName = Annotated[
    str,
    AfterValidator(_listener_name),
    WithJsonSchema({"type": "string", "format": "text of at most 40 letters, digits and `._-`"}),
]


def _hl7_version(value: str) -> str:
    if not re.fullmatch(r"2\.[0-9](\.[0-9])?", value):
        raise ValueError("an HL7 version such as 2.3.1")
    return value


Hl7Version = Annotated[
    str, AfterValidator(_hl7_version), WithJsonSchema({"type": "string", "format": "HL7 version, like `2.5.1`"})
]


def _network(value: str) -> str:
    """Check an address or a network of addresses."""
    try:
        return str(ipaddress.ip_network(value.strip()))
    except ValueError:
        raise ValueError("an address like 10.1.2.3, or a network like 10.1.2.0/24") from None


Network = Annotated[
    str,
    AfterValidator(_network),
    WithJsonSchema({"type": "string", "format": "address or network, like `10.1.2.0/24`"}),
]


def _web_url(value: str) -> str:
    """Check the address of a web server: scheme and host, no path."""
    text = value.rstrip("/")
    if text and not re.fullmatch(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?", text):
        raise ValueError("an address like https://broker.hospital.example, without a path, or empty")
    return text


def _issuer_url(value: str) -> str:
    """Check the address of an OpenID Connect issuer: HTTPS, or plain HTTP on this machine."""
    if not re.fullmatch(r"https://[^\s?#]+|http://(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?(/[^\s?#]*)?", value):
        raise ValueError("an address like https://login.hospital.example/realms/staff")
    return value


IssuerUrl = Annotated[
    str,
    AfterValidator(_issuer_url),
    WithJsonSchema({"type": "string", "format": "address like `https://login.hospital.example`"}),
]
WebUrl = Annotated[
    str,
    AfterValidator(_web_url),
    WithJsonSchema({"type": "string", "format": "address like `https://broker.hospital.example`, or empty"}),
]
