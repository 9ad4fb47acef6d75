"""`broker import`: orders of files go to the running broker in chunks, or into its database while none runs."""

from __future__ import annotations

import json
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from broker.admin.api.batches import AT_ONCE, AWAY
from broker.cli.asking import control
from broker.cli.imports import dump, sheet
from broker.cli.imports import worklist_file as dataset
from broker.cli.imports.items import ImportItem
from broker.cli.views.send_view import printable
from broker.dicom.dataset import part10
from broker.errors import BadContent, PeerFault, StoreUnavailable
from broker.model.audit import LOCAL
from broker.model.modalities import known_modalities
from broker.orders.core.context import StoryContext
from broker.orders.importing import filing
from broker.orders.importing.filing import Filed, FiledOrder
from broker.service.control_socket import user_name
from broker.settings import Settings
from broker.store.db.database import Database
from broker.whole_files import files_below, read_whole
from broker.worklist.source.order_document import order

CHUNK = 200  # orders asked for at once
MOST_TOLD = 10_000  # findings that are named
CHUNK_BYTES = 512 * 1024
DATA_SETS = frozenset({".wl", ".dcm"})  # read as such without a header too
IN_FOLDERS = frozenset({".csv", ".tsv", ".wl", ".dcm", ".dump"})  # what is taken from folders


@dataclass(slots=True)
class Account:
    """What became of the orders of all files; `trouble` ended it."""

    total: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str, str]] = field(default_factory=list)  # place, accession number, reason
    ended: list[tuple[str, str, str]] = field(default_factory=list)  # place, accession number, outcome
    told: list[tuple[str, str, str]] = field(default_factory=list)  # place, accession number, finding
    warnings: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    trouble: str = ""

    @property
    def done(self) -> int:
        """Orders that have an outcome."""
        return self.counts.total()

    @property
    def good(self) -> bool:
        """There were orders and all of them are in the database now."""
        return self.done > 0 and not self.failures and not self.trouble

    def fail(self, place: str, reason: str, accession: str = "") -> None:
        """Note a file or an order that cannot be used."""
        self.counts["refused"] += 1
        self.failures.append((place, accession, reason))

    def note(self, item: ImportItem, result: dict[str, Any]) -> None:
        """Note the outcome of one order."""
        if result["outcome"] == "refused":
            details = [": ".join(filter(None, (one["path"], one["text"]))) for one in result["errors"]]
            self.fail(item.place, "; ".join(details[:5]) or result["detail"], item.accession)
            return
        self.counts[result["outcome"]] += 1
        if result["outcome"] == "unavailable":
            self.failures.append((item.place, item.accession, "not known to be in place: the database went away"))
            return
        if result["outcome"] not in filing.IN_PLACE:
            self.ended.append((item.place, item.accession, result["outcome"]))
        if not item.lenient:
            self.warnings.update(warning["text"] for warning in result["warnings"])
        else:
            texts = [": ".join(filter(None, (one["path"], one["text"]))) for one in result["warnings"]]
            self.told += [(item.place, item.accession, text) for text in texts if len(self.told) < MOST_TOLD]


def gather(paths: Iterable[Path], account: Account, encoding: str, *, skip_unknown: bool) -> list[ImportItem]:
    """Orders of files; of folders, with all below, those whose names say that they hold some."""
    items: list[ImportItem] = []
    for path in _files(list(paths), account):
        try:
            items += _read(path, account, encoding, skip_unknown)
        except (BadContent, OSError) as error:
            text = error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)
            account.fail(path.name, f"cannot be read: {text}")
    account.total = len(items) + account.done
    return items


def _files(paths: Sequence[Path], account: Account) -> Iterator[Path]:
    """Files that are named, and those in folders whose names say that they hold orders."""

    def missed(folder: str, reason: str) -> None:
        account.fail(folder, f"cannot be read: {reason}")

    named = set(paths)
    for path in map(Path, files_below(paths, missed)):
        if path in named or path.suffix.lower() in IN_FOLDERS:
            yield path


def _read(path: Path, account: Account, encoding: str, skip_unknown: bool) -> Iterable[ImportItem]:
    if not stat.S_ISREG(path.stat().st_mode):  # the reader of a named pipe might never come back
        raise BadContent("not a file", code="no-file")
    if part10.read(path, instance=False) is not None or path.suffix.lower() in DATA_SETS:
        return [ImportItem(path.name, order(dataset.read(path), account.left_out), lenient=True)]
    data = read_whole(path, sheet.MAX_FILE)
    if dump.looks_like(data):
        return [ImportItem(path.name, order(dump.read(data), account.left_out), lenient=True)]
    return sheet.read(path.name, data, encoding, skip_unknown=skip_unknown)


def place(settings: Settings, items: Sequence[ImportItem], account: Account, dry: bool) -> Iterator[None]:
    """Place orders; gives after each chunk. Raises ConfigurationError, BrokerError when it cannot go on."""
    with ExitStack() as stack:
        database: Database | None = None
        for chunk in _chunks(items, account):
            orders = [
                {"place": printable(item.place)[:1000], "order": item.document, "lenient": item.lenient}
                for item in chunk
            ]
            body = {"orders": orders, "dry_run": dry}
            answer = control.call(settings, "POST", "/api/v1/imports", body) if database is None else None
            if answer is None:
                database = database or stack.enter_context(control.alone(settings))
                results, noted = _alone(database, settings, chunk, dry)
            elif answer.good:
                results, noted = answer.body["results"], answer.body["noted"]
            else:
                raise PeerFault(f"the broker does not take orders: {answer.problem}")
            for item, result in zip(chunk, results, strict=True):
                account.note(item, result)
            yield
            if account.counts["unavailable"] or not noted:
                raise StoreUnavailable("the database went away: import the same files again")


def _chunks(items: Sequence[ImportItem], account: Account) -> Iterator[list[ImportItem]]:
    chunk: list[ImportItem] = []
    size = 0
    for item in items:
        if item.document is None:
            account.fail(item.place, item.error)
            continue
        length = len(json.dumps(item.document))
        if length > CHUNK_BYTES:
            account.fail(item.place, f"more than {CHUNK_BYTES} bytes in one order", item.accession)
            continue
        if chunk and (len(chunk) == CHUNK or size + length > CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(item)
        size += length
    if chunk:
        yield chunk


def _alone(
    database: Database, settings: Settings, chunk: Sequence[ImportItem], dry: bool
) -> tuple[list[dict[str, Any]], bool]:
    """The same as the running broker does with a chunk: what became of each order, and whether that is noted."""
    modalities = known_modalities(settings.worklist.modalities)

    def context() -> StoryContext:
        actor = f"cli:{user_name(os.getuid())}"
        station = settings.worklist.default_station
        return StoryContext(uuid4(), datetime.now(settings.zone()), station, actor, address=LOCAL)

    orders = [filing.read(item.place, item.document, modalities, lenient=item.lenient) for item in chunk]
    known: list[tuple[FiledOrder, Filed]] = []
    noted = False
    with suppress(StoreUnavailable):
        for first in range(0, len(orders), AT_ONCE):
            few = orders[first : first + AT_ONCE]
            begun = [database.submit(filing.take_in, order, context(), dry=dry) for order in few]
            known += [(order, one.result()) for order, one in zip(few, begun, strict=True)]
    with suppress(StoreUnavailable):
        if not dry:
            database.submit(filing.record, known, context()).result()
        noted = True
    return [filed.report(dry=dry) for _, filed in known] + [AWAY] * (len(orders) - len(known)), noted
