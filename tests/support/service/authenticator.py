"""An authenticator app of a person, for tests at the true clock."""

from __future__ import annotations

import base64
import re
import time

from broker.accounts.second_factor import totp


class Authenticator:
    """Shows codes that were not used yet. At most two in quick succession are good: of now, and of half a minute later.

    Each stays good for at least half a minute after it was asked for.
    """

    def __init__(self, secret: str) -> None:
        """`secret`: as a page shows it."""
        self.secret = base64.b32decode(secret)
        self._last = 0

    @classmethod
    def scanning(cls, page: str) -> Authenticator:
        """The app after a page was shown to it."""
        found = re.search(r'id="secret">([A-Z2-7]+)<', page)
        assert found is not None
        return cls(found[1])

    def code(self) -> str:
        """The next code."""
        self._last = max(self._last + 1, int(time.time() // totp.STEP))
        return totp.code_at(self.secret, self._last)
