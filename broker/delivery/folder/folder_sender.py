"""Brings objects into a folder as files. The folder may hang, as a share whose server is away does.

So each file is written by a thread of its own. One that makes no progress for the time of the node is left behind, and
as long as such a thread lives the folder counts as away.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from broker.delivery.folder.landing import Landing, NoLanding
from broker.delivery.folder.naming import NoPath, parts_of
from broker.delivery.object_sender import CarryEnding, checked, file_header
from broker.delivery.object_source import ObjectSource
from broker.delivery.outcome import JobVerdict
from broker.errors import ConfigurationError, PeerFault
from broker.site.nodes import Node
from broker.store.jobs import Job

LOOK = 1.0  # seconds between two looks whether a thread gets on


class Folders:
    """Says where the folders of nodes are. None may be in the broker's own data, or hold that."""

    def __init__(self, base: Path, data: Path) -> None:
        """Relative paths count from `base`; `data` is the folder of the broker."""
        self.base, self._data = base, data

    def prepare(self, nodes: Iterable[Node]) -> None:
        """Raises ConfigurationError for a folder in the broker's own data."""
        data = self._data.resolve()
        for node in nodes:
            if node.kind == "folder":
                path = self.of(node).resolve()
                if path == data or data in path.parents or path in data.parents:
                    raise ConfigurationError(f"node {node.name!r}: path: not where the broker keeps its own data")

    def of(self, node: Node) -> Path:
        """The folder of a node."""
        return self.base / node.path


class FolderCarrier:
    """Brings objects to nodes of kind folder."""

    kind = "folder"

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._landings: dict[str, tuple[Node, Landing]] = {}
        self._stuck: dict[str, threading.Thread] = {}  # by node: one that got on no more

    async def carry(self, node: Node, job: Job, source: ObjectSource) -> CarryEnding:
        """Write the file of an object. Raises PeerFault, SpoiledObject, SpoolUnavailable."""
        landing = self._landing(node)

        def put(beat: Callable[[], object]) -> str:
            parts = parts_of(node.files.name, source)
            pieces = itertools.chain((file_header(source.item),), checked(source))
            return landing.put(parts, _paced(source, pieces), node.files.existing, beat)

        try:
            return CarryEnding(JobVerdict.DONE, await self.in_thread(node, put))
        except (NoPath, NoLanding) as error:
            return CarryEnding(JobVerdict.REFUSED, error.code)

    async def in_thread(self, node: Node, work: Callable[[Callable[[], object]], str]) -> str:
        """Run what may hang; it is given a function to call when it gets on. Raises PeerFault, and what `work` does."""
        stuck = self._stuck.get(node.name)
        if stuck is not None and stuck.is_alive():
            raise PeerFault("the folder does not answer", code="folder-hangs")
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[str] = loop.create_future()
        last = time.monotonic()

        def beat() -> None:
            nonlocal last
            last = time.monotonic()

        def end(result: str, error: BaseException | None) -> None:
            if not outcome.done():
                outcome.set_exception(error) if error is not None else outcome.set_result(result)

        def run() -> None:
            result, error = "", None
            try:
                result = work(beat)
            except BaseException as raised:
                error = raised
            try:
                loop.call_soon_threadsafe(end, result, error)
            except RuntimeError:  # the loop is closed: nobody waits
                return

        thread = threading.Thread(target=run, name=f"folder-{node.name}", daemon=True)
        thread.start()
        while not (await asyncio.wait({outcome}, timeout=LOOK))[0]:
            if time.monotonic() - last > node.answer_timeout:
                self._stuck[node.name] = thread
                raise PeerFault("the folder does not answer", code="folder-hangs")
        return outcome.result()

    def _landing(self, node: Node) -> Landing:
        before, landing = self._landings.get(node.name, (None, None))
        if landing is None or before != node:
            landing = Landing(self._folders.of(node), node.files.marker)
            self._landings[node.name] = node, landing
        return landing


def _paced(source: ObjectSource, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Pieces no faster than the node allows, in a thread of their own."""
    for piece in pieces:
        for chunk, wait in source.paced(piece):
            time.sleep(wait)
            yield chunk
