"""Items of other worklists, imported from a file and from a server: what becomes of each, is shown and is noted."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydicom import config
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag
from support.orders.hospital import Hospital, shows, texts
from support.orders.intake import ZONE, steps
from support.worklist.sources import day, node, worklist_server

from broker.cli.imports import dump
from broker.cli.imports.dump import Elements
from broker.dicom.association.user import Remote
from broker.model.modalities import MODALITIES
from broker.orders.core.context import StoryContext
from broker.orders.importing import filing
from broker.store.db.database import Database
from broker.store.orders import imported
from broker.worklist.source.order_document import order
from broker.worklist.source.source_import import SourceImport

FILE = Path(__file__).parent / "imports" / "cases.toml"
CASES = [pytest.param(case, id=case["id"]) for case in tomllib.loads(FILE.read_text(encoding="utf-8"))["case"]]


@dataclass(slots=True)
class Door:
    """One way in. `files` by `broker import`, else from a server."""

    database: Database
    files: bool
    port: int = 0
    number: int = 0

    def take(self, items: list[str], server: Any) -> list[str]:
        """Import these items at once; what became of each."""
        return sorted(map(self._file, items) if self.files else self._ask(items, server))

    def _file(self, item: str) -> str:
        self.number += 1
        at = datetime.now(ZONE)
        context = StoryContext(UUID(int=self.number), at, "UNASSIGNED", "cli:test")
        document = order(dump.read(item.encode("latin_1")), _Nothing())
        read = filing.read(f"{hashlib.sha256(item.encode()).hexdigest()}.dump", document, MODALITIES, lenient=True)
        done = self.database.submit(filing.take_in, read, context).result()
        self.database.submit(filing.record, [(read, done)], context).result()
        return done.outcome

    def _ask(self, items: list[str], server: Any) -> list[str]:
        server.items = [_dataset(dump.read(item.replace("20300115", day(1)).encode("latin_1"))) for item in items]
        remote = Remote("127.0.0.1", server.port, "WORKLIST", "BROKER", response_timeout=20)
        account = asyncio.run(SourceImport(self.database, node(server.port), remote, ZONE, "UNASSIGNED").run())
        assert account.complete
        return list(account.counts.elements())


class _Nothing(dict[str, int]):
    """Counts nothing."""

    def __missing__(self, key: str) -> int:
        return 0


def _dataset(elements: Elements) -> Dataset:
    found = Dataset()
    value: Any
    for element in elements.values():
        if element.vr == "SQ":
            found.add(DataElement(element.tag, "SQ", [_dataset(dict(item)) for item in element.items]))
        elif element.vr in ("DS", "IS"):  # as it stands, be it a number or not
            value = element.text.encode("latin_1") + b" " * (len(element.text) % 2)
            found[element.tag] = RawDataElement(BaseTag(element.tag), element.vr, len(value), value, 0, True, True)
        else:
            value = int(element.text) if element.vr == "US" else element.text
            found.add(DataElement(element.tag, element.vr, value, validation_mode=config.IGNORE))
    return found


@pytest.fixture(params=["file", "server"])
def door(request: pytest.FixtureRequest, tmp_path: Path, sqlite_template: Path) -> Iterator[Door]:
    shutil.copyfile(sqlite_template, tmp_path / "broker.db")
    database = Database(f"sqlite:///{tmp_path / 'broker.db'}")
    yield Door(database, request.param == "file")
    database.close()


@pytest.mark.parametrize("case", CASES)
def test_case(case: Mapping[str, Any], door: Door) -> None:
    with worklist_server() as server:
        judge(case, door, server)


def judge(case: Mapping[str, Any], door: Door, server: Any) -> None:
    """All that the case states holds."""
    if case.get("door") not in (None, "file" if door.files else "server"):
        return
    items = case["items"]
    rounds = [items] if case.get("together") else [[item] for item in items]
    rounds = [[items[number] for number in numbers] for numbers in case["rounds"]] if "rounds" in case else rounds
    outcomes = [outcome for items in rounds for outcome in door.take(items, server)]
    assert [outcome for outcome in outcomes if outcome != "missing"] == case["outcomes"]
    if "again" in case:
        assert [outcome for items in rounds for outcome in door.take(items, server)] == case["again"]
    status, found = Hospital(door.database).find()
    seen = [texts(item) for item in found]
    seen = [item for item in seen if item.get("PatientID", "").startswith(case["mark"])]
    assert (status, len(seen)) == (0, case["count"]), seen
    for wanted in case.get("shows", ()):
        assert any(shows(item, wanted) for item in seen), (wanted, seen)
    if "steps" in case:
        stored = {f"{step['step_id']} {step['status']}" for step in door.database.read(steps).result()}
        assert stored == set(case["steps"])
    notes = door.database.read(imported.find).result()
    told = [note for note in notes if all(path != "" or "beside" not in text for path, text in note.findings)]
    if not (door.files and case.get("together")):  # a step that came beside another is told, too
        last = {f"{note.accession} {note.outcome}" for note in told}
        assert set(case.get("noted", ())) <= last, notes
        if len(case["items"]) == 1:
            assert last == set(case.get("noted", ())), notes
    paths = [path for note in notes for path, _ in note.findings]
    for wanted in case.get("findings", ()):
        assert any(path.startswith(wanted) for path in paths), (wanted, paths)
