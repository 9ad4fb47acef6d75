"""Watches the event loop from a thread: when one handler holds it, everybody waits. The log names which one."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from broker import telemetry

BEAT = 0.1  # seconds between two signs of life of the loop
LIMIT = 0.25  # seconds without one, beyond a beat, that are a stall
_LOOK = 0.05  # seconds between two looks
_ROOT = str(Path(__file__).parents[1])
_OUTSIDE = str(Path(__file__).with_name("loop.py"))  # what called it holds no loop


class StallWatch:
    """A context in which stalls of a loop are logged, counted and measured. Enter it in the thread of the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = threading.get_ident()
        self._last = time.monotonic()
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="stall-watch", daemon=True)

    def __enter__(self) -> Self:
        self._beat()
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._watcher.join()

    def _beat(self) -> None:
        self._last = time.monotonic()
        if not self._ended.is_set():
            self._loop.call_later(BEAT, self._beat)

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK):
            last = self._last
            if time.monotonic() - last < BEAT + LIMIT:
                continue
            handler = holder(sys._current_frames().get(self._thread))
            while self._last == last and not self._ended.wait(_LOOK / 10):
                pass
            seconds = time.monotonic() - last - BEAT
            telemetry.LOOP_STALLS.observe(seconds)
            telemetry.logger().warning("loop.stalled", seconds=round(seconds, 2), handler=handler)


def holder(frame: FrameType | None) -> str:
    """Our function that runs in a stack, the deepest one, as `module.function`.

    `none`: the loop waits, so that it was the process or the machine that stood still.
    """
    while frame is not None and (file := frame.f_code.co_filename) != _OUTSIDE:
        if file.startswith(_ROOT) and file != __file__:
            module = Path(file).relative_to(_ROOT).with_suffix("").as_posix().replace("/", ".")
            return f"{module}.{frame.f_code.co_qualname}"
        frame = frame.f_back
    return "none"
