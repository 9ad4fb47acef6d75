"""Bounds what the journal keeps of refused messages of strangers, so that nobody fills the disk with them."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from broker.store.orders.messages import HEAD


class Allowance:
    """Bytes an hour that the journal keeps of refused messages of strangers, for each address."""

    ROW = 512  # bytes of a row besides the message

    def __init__(self, most: int, share: Callable[[str], str]) -> None:
        """`most`: bytes an hour; `share` says of an address whose they are."""
        self._most, self._share = most, share
        self._hour, self._used = 0, Counter[str]()

    def spent(self, address: str) -> bool:
        """Nothing more is kept of this address in this hour."""
        if (hour := int(time.monotonic() // 3600)) != self._hour:
            self._hour, self._used = hour, Counter()
        return self._used[self._share(address)] >= self._most

    def take(self, address: str, size: int) -> None:
        """A message of so many bytes was refused, of which the head was kept."""
        self._used[self._share(address)] += min(size, HEAD) + self.ROW
