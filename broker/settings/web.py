"""The table `[web]` of `broker.toml` with `tls` and `oidc`: the door for people and programs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field

from broker.settings.sections import Section
from broker.settings.types import IssuerUrl, Network, Port, Seconds, Token, WebUrl

RoleName = Literal["viewer", "operator", "integrator", "admin", "auditor"]


class WebTlsSection(Section):
    """`[web.tls]`: HTTPS on the port of the web, in place of plain HTTP."""

    certificate: Path = Field(description="Own certificate (PEM) with its chain. It is read again when it changes.")
    key: Path = Field(description="Own private key (PEM), without passphrase.")


class OidcRolesSection(Section):
    """`[web.oidc.roles]`: values of the claim that give a role. Who has several gets the first one of this order."""

    admin: tuple[str, ...] = Field(default=(), description="Values that make an admin.")
    integrator: tuple[str, ...] = Field(default=(), description="Values that make an integrator.")
    operator: tuple[str, ...] = Field(default=(), description="Values that make an operator.")
    auditor: tuple[str, ...] = Field(default=(), description="Values that make an auditor.")
    viewer: tuple[str, ...] = Field(default=(), description="Values that make a viewer.")


class OidcSection(Section):
    """`[web.oidc]`: people sign in at an OpenID Connect issuer, which sends them back to `/sign-in/oidc/back`."""

    issuer: IssuerUrl = Field(description="Address of the issuer, exactly as its metadata names it.")
    client_id: str = Field(min_length=1, description="Name of the broker at the issuer.")
    client_secret: str = Field(default="", description="Secret of the broker at the issuer. Empty: PKCE alone.")
    scopes: tuple[str, ...] = Field(default=("openid", "profile"), description="Scopes to ask for.")
    role_claim: str = Field(
        default="groups", description="Claim of the ID token that gives the role; dots lead into a claim."
    )
    name_claim: str = Field(default="preferred_username", description="Claim that names a new user.")
    ca: Path | None = Field(
        default=None, description="Authorities (PEM) of the issuer's certificate. Left out: those of the machine."
    )
    roles: OidcRolesSection = Field(default=OidcRolesSection(), description="Values of the claim, by role.")


class WebSection(Section):
    """`[web]`: health, metrics, REST and pages."""

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: Port = Field(default=8080, description="Port of the web server. 0: any free one.")
    admin_token: Token = Field(
        default="",
        description="Bearer token with the admin role, for scripts. Empty: none. People sign in, programs have tokens "
        "of their own.",
    )
    url: WebUrl = Field(
        default="",
        description="Address by which browsers reach the web, such as `https://broker.hospital.example`. Links to set "
        "a password and OpenID Connect use it. Empty: made of `host` and `port`.",
    )
    proxy: tuple[Network, ...] = Field(
        default=(),
        description="Addresses of proxies before the web; their `X-Forwarded-For` and `X-Forwarded-Proto` count.",
    )
    session_idle: Seconds = Field(
        default=1800, description="Seconds without a request after which a person must sign in again."
    )
    session_lifetime: Seconds = Field(
        default=43_200, description="Seconds after which a person must sign in again in any case."
    )
    second_factor: tuple[RoleName, ...] = Field(
        default=(),
        description="Roles whose local accounts must have a second factor (an app with codes), such as `admin`. Others "
        "may have one. With OpenID Connect the issuer asks for it.",
    )
    breached_passwords: Path | None = Field(
        default=None,
        description="File of passwords that nobody may take: their SHA-1 in order, as Have I Been Pwned has it. "
        "Left out: only the 30,000 commonest, also with something added.",
    )
    tls: WebTlsSection | None = Field(default=None, description="HTTPS. Left out: plain HTTP.")
    oidc: OidcSection | None = Field(default=None, description="OpenID Connect. Left out: names and passwords alone.")

    def address(self, port: int = 0) -> str:
        """The address by which browsers reach the web, without a slash at its end; `port`: where it listens."""
        if self.url:
            return self.url
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host)  # noqa: S104
        return f"{'http' if self.tls is None else 'https'}://{f'[{host}]' if ':' in host else host}:{port or self.port}"

    def place(self) -> str:
        """How the app of a second factor names this broker: by its host, if that is told."""
        return f"Worklist broker {urlsplit(self.url).hostname or ''}".strip()
