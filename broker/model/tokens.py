"""Makes random tokens: what a transaction makes identifiers from."""

from __future__ import annotations

import hashlib
import itertools
import os
from uuid import UUID

# asking the system for each token would hand the interpreter to another thread each time
_secret = os.urandom(32)
_numbers = itertools.count()


def _renew() -> None:
    """Take another secret: a process that was forked must not make the tokens of its parent."""
    global _secret
    _secret = os.urandom(32)


os.register_at_fork(after_in_child=_renew)


def random_token() -> UUID:
    """A version 4 UUID that no other message of any process has."""
    number = next(_numbers).to_bytes(8, "big")
    return UUID(bytes=hashlib.blake2b(number, key=_secret, digest_size=16).digest(), version=4)
