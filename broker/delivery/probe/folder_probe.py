"""Tests a folder node: a file is written into it, renamed and removed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from broker.delivery.folder.folder_sender import FolderCarrier, Folders
from broker.delivery.folder.landing import PARTS, Landing, NoLanding
from broker.delivery.probe.outcome import ProbeLog, StepOutcome
from broker.errors import PeerFault
from broker.model.wording import Sentence
from broker.site.nodes import Node

_ADVICE = {
    "folder-gone": Sentence("Make the folder, or mount its share; the broker never makes it. Is its marker there?"),
    "folder-full": Sentence("Make room on its disk, or raise the quota."),
    "folder-read-only": Sentence("Its file system is mounted read-only: look why, and mount it anew."),
    "folder-forbidden": Sentence("Let the user of the broker write there."),
    "folder-hangs": Sentence("Its server may be away: look at the mount."),
}


async def probe_folder(log: ProbeLog, node: Node, folders: Folders) -> None:
    """Test a folder node; the log says what was found."""
    path = folders.of(node)
    where = {"path": str(path)}

    def put(beat: Callable[[], object]) -> str:
        return _tried(path, node.files.marker, beat)

    log.begin()
    try:
        free = await FolderCarrier(folders).in_thread(node, put)
    except (PeerFault, NoLanding) as error:
        log.add(
            "folder",
            StepOutcome.BAD,
            Sentence("No file can be written into %(path)s: %(code)s", where | {"code": error.code}),
            _ADVICE.get(error.code, Sentence("Look at the log of the system, and at the file system of the folder.")),
        )
        return
    words = Sentence("A file was written into %(path)s, renamed and removed; %(free)s MiB are free", where)
    log.add("folder", StepOutcome.GOOD, Sentence(words.text, where | {"free": free}))


def _tried(path: Path, marker: str, beat: Callable[[], object]) -> str:
    """Put a file there as an object is put, and remove it; MiB that are free. Raises PeerFault, NoLanding."""
    name = f"{uuid4().hex}.test"
    Landing(path, marker).put((PARTS, name), (b"A test of the broker.\n",), "hold", beat)
    os.unlink(path / PARTS / name)
    room = os.statvfs(path)
    return str(room.f_bavail * room.f_frsize >> 20)
