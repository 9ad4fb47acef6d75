"""A foreign program that is peer in both roles: requests to make come on its stdin, what came of them on its stdout.

Words of a line are separated by tabs; an answer is any number of lines and one with a dot.
"""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.peers.tools import ENVIRONMENT, free_port, tool


class Talker:
    """The program while it runs. Its provider's `port`; `folder` is where that keeps what it receives."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
        self.process, self.port, self.folder = process, port, folder
        self._waiting = b""

    def ask(self, *words: object, seconds: float = 30) -> list[list[str]]:
        """Have it do something; lines of its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write("\t".join(map(str, words)).encode() + b"\n")
        self.process.stdin.flush()
        deadline, lines = time.monotonic() + seconds, []
        while (line := self._line(deadline, str(words))) != ".":
            lines.append(line.split("\t"))
        return lines

    def kept(self) -> dict[str, Path]:
        """Files by SOP Instance UID of the objects that it holds."""
        return {line[0]: Path(line[1]) for line in self.ask("kept")}

    def _line(self, deadline: float, what: str) -> str:
        assert self.process.stdout is not None
        while b"\n" not in self._waiting:
            ready, _, _ = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))
            piece = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            if not piece:
                log = (self.folder.parent / f"{self.folder.name}.log").read_text(errors="replace")
                pytest.fail(f"no answer to {what}: {log[-2000:]}")
            self._waiting += piece
        line, _, self._waiting = self._waiting.partition(b"\n")
        return line.decode()


@contextmanager
def talker(folder: Path, command: Sequence[str | Path], *, more: dict[str, str] | None = None) -> Iterator[Talker]:
    """Run `command PORT FOLDER` until the end of the block; `more`: environment."""
    folder.mkdir(parents=True)
    port = free_port()
    words = [tool(str(command[0])), *map(str, command[1:]), str(port), str(folder)]
    with (folder.parent / f"{folder.name}.log").open("wb") as log:
        process = subprocess.Popen(
            words, env={**ENVIRONMENT, **(more or {})}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
        )
        try:
            running = Talker(process, port, folder)
            running.kept()  # it is up
            yield running
        finally:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.close()  # which tells it to end
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()
