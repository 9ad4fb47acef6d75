"""Limits tries to sign in, so that nobody can guess a password, and nobody can keep a user out.

Each try fills a bucket, which leaks with time; a full bucket makes the next try wait. There are three: for the address
(all accounts), for an account from an address from which its user has signed in before, and for an account from all
other addresses together. A stranger who tries without end fills the third one only: the user still comes in from the
usual places, as with OWASP's device cookies, and `broker users link` on the machine helps everywhere.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from sqlalchemy import Connection

from broker.store.accounts import tries as store

KNOWN = 90 * 86_400.0  # seconds for which an address from which a user signed in counts as known
FORGOTTEN = 86_400.0  # seconds after which a source is forgotten: its bucket is empty by then


@dataclass(frozen=True, slots=True)
class Bucket:
    """How many tries a source has at once, and in how many seconds it gets another one."""

    size: int
    seconds: float


Buckets = dict[str, Bucket]  # by source
ADDRESS, ACCOUNT = Bucket(20, 30.0), Bucket(10, 60.0)


def sources(secret: bytes, name: str, address: str, known: bool) -> Buckets:
    """The buckets of a try. `address`: an IPv4 address or a /64; `known`: the user has signed in from there.

    A name is kept as a keyed hash: people type passwords into the wrong field.
    """
    account = hmac.new(secret, name.encode(), hashlib.sha256).hexdigest()[:32]
    return {f"address {address}": ADDRESS, f"account {account} {address if known else 'elsewhere'}": ACCOUNT}


def begin(connection: Connection, buckets: Buckets, at: float) -> float:
    """Count a try; the seconds to wait if there have been too many, and then nothing is counted."""
    store.forget(connection, at - FORGOTTEN)
    levels = {}
    wait = 0.0
    for source, bucket in sorted(buckets.items()):
        level, since = store.level(connection, source, at)
        levels[source] = max(0.0, level - max(0.0, at - since) / bucket.seconds) + 1
        wait = max(wait, (levels[source] - bucket.size) * bucket.seconds)
    if wait > 0:
        return wait
    for source, level in levels.items():
        store.change(connection, source, level, at)
    return 0.0


def succeeded(connection: Connection, buckets: Buckets, at: float) -> None:
    """A try was right: it does not count, and the account begins anew from this address."""
    for source, bucket in sorted(buckets.items()):
        level, since = store.level(connection, source, at)
        left = 0.0 if bucket is ACCOUNT else max(0.0, level - max(0.0, at - since) / bucket.seconds - 1)
        store.change(connection, source, left, at)
