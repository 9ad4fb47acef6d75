"""A pynetdicom that waits until its reading thread stands still; import this before an association is made.

Its `send_*` clear an event and go on as soon as the reading thread says that it is paused. The thread says so before it
waits, and takes it back after: between the two it may still take the answer off the queue ("Received unexpected N-GET
service message"), and the sender waits for it in vain.
"""

from __future__ import annotations

import threading
from typing import Any

from pynetdicom.association import Association


class _Checkpoint(threading.Event):
    """Where the reading thread stands still while the event is clear."""

    def __init__(self, association: Association) -> None:
        super().__init__()
        self.association = association

    def clear(self) -> None:
        """What the thread said earlier does not count, unless it is the one that sends."""
        super().clear()
        if threading.current_thread() is not self.association:
            self.association._is_paused = False

    def wait(self, timeout: float | None = None) -> bool:
        """Whoever waits here says so himself, as `clear` may have taken it back."""
        while not self.is_set():
            self.association._is_paused = True
            super().wait(0.001)
        return True


_made = Association.__init__


def _make(self: Association, *args: Any, **kwargs: Any) -> None:
    _made(self, *args, **kwargs)
    self._reactor_checkpoint = _Checkpoint(self)
    self._reactor_checkpoint.set()


Association.__init__ = _make  # type: ignore[method-assign]
