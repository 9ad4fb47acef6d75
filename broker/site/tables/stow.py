"""Defines the table `stow` of a DICOMweb node: who we are to it. Secrets stand in files of their own."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from broker.site.node_tls import File
from broker.site.tables.web_address import WebAddress, place_of


def _https(value: str) -> str:
    if not place_of(value).tls:
        raise ValueError("a secret goes over https only")
    return value


class OAuth(BaseModel):
    """`stow.oauth`: a token is asked for by client credentials (RFC 6749 4.4), kept until it ends, and renewed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    token_url: Annotated[WebAddress, AfterValidator(_https)] = Field(
        description="Where tokens are asked for, by https."
    )
    client_id: str = Field(min_length=1, max_length=500, description="Who the broker is there.")
    client_secret_file: File = Field(description="File with its secret, on one line.")
    scope: str = Field(default="", max_length=1000, description="Scope that is asked for. Empty: none.")
    ca: File | None = Field(default=None, description="Authorities (PEM) of that server. Left out: the machine's.")


class Stow(BaseModel):
    """`stow` of a node with kind stow: how it knows who sends (PS3.18 8.2). Files are read at each use."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    token_file: File | None = Field(default=None, description="File with a bearer token (RFC 6750), on one line.")
    oauth: OAuth | None = Field(default=None, description="Client credentials with which a token is asked for.")

    @model_validator(mode="after")
    def _one(self) -> Stow:
        if self.token_file is not None and self.oauth is not None:
            raise ValueError("token_file: does not go with oauth")
        return self
