"""Limits what one connection, one address and all of them may cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationLimits:
    """Counts, bytes and seconds; see `[limits]` of the configuration."""

    half_open_per_address: int = 20
    associations_per_address: int = 100
    associations: int = 1000
    association_request_timeout: float = 30  # the ARTIM timer of PS3.8 9.1.5
    pdu_timeout: float = 60
    idle_timeout: float = 600
    tls_handshake_timeout: float = 5
    response_timeout: float = 60
    max_pdu: int = 262_144
    max_object: int = 64 * 1024**3
    associations_per_second: float = 50  # that the address of a stranger asks for; see `AddressPace`
    open_bytes: int = 64 * 1024**2  # of unfinished PDUs of strangers
    operations: int = 1  # requests of one association served at the same time (PS3.7 D.3.3.3)
