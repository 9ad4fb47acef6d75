"""Defines the table `mail` of a mail node: who sends its notices, who gets them, and how they are encrypted."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*")


def _mailbox(value: str) -> str:
    """An address without a display name, in ASCII (RFC 5321 4.1.2, dot-string)."""
    local = value.partition("@")[0]
    if len(value) > 254 or not _ADDRESS.fullmatch(value) or ".." in local or local[0] == "." or local[-1] == ".":
        raise ValueError("an address like it@hospital.example, without a name")
    return value


def one_or_more(value: Any) -> Any:
    """A list: a text alone is one of it."""
    return [value] if isinstance(value, str) else value


Address = Annotated[str, AfterValidator(_mailbox), WithJsonSchema({"type": "string", "format": "address"})]


class Mail(BaseModel):
    """`mail` of a node with kind mail: how notices go by SMTP (RFC 5321) to `host` and `port`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sender: Address = Field(description="Address that the notices come from.")
    to: Annotated[
        tuple[Address, ...],
        BeforeValidator(one_or_more),
        Field(min_length=1, max_length=20),
        WithJsonSchema({"type": "string", "format": "address, or list of 1 to 20"}),
    ] = Field(description="Addresses that get them.")
    security: Literal["starttls", "implicit", "none"] = Field(
        default="starttls",
        description="starttls: TLS after EHLO (RFC 3207); a server that does not offer it gets nothing. implicit: TLS "
        "from the first byte (RFC 8314), mostly port 465. none: in clear.",
    )
