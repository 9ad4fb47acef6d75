"""Case files: messages in, acknowledgements and worklist answers out.

A file has sections that begin with `== `. `message` (options `charset=` and `ends=`) is followed by its `answer`;
the last section, `worklist`, holds the answer documents of all steps with their status.
A line `mapping: NAME` before them chooses the profile of unclaimed senders beside the example mappings of `config`.
The times and ids that change (MSH-7, MSH-10 of the answer) are masked.
"""

from __future__ import annotations

import json
import re
import shutil
from datetime import datetime
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Connection
from support.loops import shortly

from broker.hl7.mllp.server import Peer
from broker.orders.core.context import StoryContext
from broker.orders.inbound.reception import Interface, Profiles
from broker.orders.listener import OrderDoor
from broker.orders.mapping.book import ProfileBook, built_in
from broker.orders.mapping.document import read
from broker.store.db.database import Database
from broker.store.orders import answers, reading

CASES = sorted((Path(__file__).parent / "hl7").glob("*.case"))
ZONE = ZoneInfo("Europe/Zurich")
ENDS = {"cr": "\r", "lf": "\n", "crlf": "\r\n"}


class FixedDoor(OrderDoor):
    """A door with a known clock and known random numbers."""

    count = 0

    def _context(self, peer: Peer) -> StoryContext:
        self.count += 1
        return StoryContext(UUID(int=self.count), datetime(2026, 3, 12, 8, 15, 44, tzinfo=ZONE), "UNASSIGNED")


def sections(text: str) -> list[tuple[str, str]]:
    """Headings with their text."""
    parts = re.split(r"^== (.*)\n", text, flags=re.M)
    return list(zip(parts[1::2], (part.rstrip("\n") for part in parts[2::2]), strict=True))


def mapping_of(title: str) -> Profiles:
    """How the profile of a message is chosen in a case."""
    named = re.search(r"^mapping: (\S+)$", title, flags=re.M)
    if named is None:
        return lambda header: built_in()
    files = sorted((Path(__file__).parents[2] / "config" / "mapping").glob("*.toml"))
    documents = [read(file.read_text(encoding="utf-8"), file.name) for file in files]
    book = ProfileBook({document["name"]: document for document in documents})
    return lambda header: book.choose(header, named[1])


def masked(answer: bytes | None, charset: str) -> str:
    """An acknowledgement as lines, without what changes."""
    if answer is None:
        return "(closed)"
    lines = answer.decode(charset).rstrip("\r").split("\r")
    mark = lines[0][3]
    fields = lines[0].split(mark)
    fields[6], fields[9] = "TIME", "ID"
    return "\n".join([mark.join(fields), *lines[1:]])


def worklist(connection: Connection) -> str:
    """All answers, as readable JSON."""
    rows = reading.order_rows(connection)
    found = [{"status": s, **answer} for row in rows for s, answer in answers.answers_of(connection, row)]
    return json.dumps(found, ensure_ascii=False, indent=1)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path, tmp_path: Path, sqlite_template: Path, pytestconfig: pytest.Config) -> None:
    text = path.read_text(encoding="utf-8")
    shutil.copyfile(sqlite_template, tmp_path / "broker.db")
    database = Database(f"sqlite:///{tmp_path / 'broker.db'}")
    profiles = mapping_of(text.split("== ", 1)[0])
    door = FixedDoor(database, Interface(name="test"), profiles, zone=ZONE, default_station="UNASSIGNED")
    expected = [body for name, body in sections(text) if not name.startswith("message")]
    came: list[str] = []
    out = text.split("== ", 1)[0]
    try:
        for name, body in sections(text):
            if not name.startswith("message"):
                continue
            options = dict(option.split("=") for option in name.split()[1:])
            charset, end = options.get("charset", "utf-8"), ENDS[options.get("ends", "cr")]
            raw = "".join(line + end for line in body.split("\n")).encode(charset)
            came.append(masked(shortly(door.handle(raw, Peer("127.0.0.1", 1))), charset))
            out += f"== {name}\n{body}\n\n== answer\n{came[-1]}\n\n"
        came.append(database.read(worklist).result())
    finally:
        database.close()
    if pytestconfig.getoption("--update-golden"):
        path.write_text(out + f"== worklist\n{came[-1]}\n", encoding="utf-8")
        return
    assert came == expected
