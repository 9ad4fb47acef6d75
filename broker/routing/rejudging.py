"""Judges objects that are kept once more, by other rules than those that they met.

Association and times are those of the reception: they are facts that were kept. Elements are read from the bytes again,
since other rules may test other ones. The order is that of today.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from broker.dicom.dataset.scan import scan, scan_beginning
from broker.dicom.dataset.walk import Buffer
from broker.errors import BadContent
from broker.routing import header
from broker.routing.elements import ElementReader
from broker.routing.order_facts import MATCHING_FIELDS, needs_order, order_facts
from broker.routing.rules.evaluate import Facts, RoutingDecision, decide
from broker.routing.rules.ruleset import Fact, RuleSet, fields_of
from broker.routing.rules.tag_paths import PREFIX
from broker.store.db.database import Database
from broker.store.images import held_objects, instances
from broker.store.images.held_objects import HeldObject
from broker.store.images.instances import StoredObject

RECEPTION = ("assoc.", "time.")  # facts of the reception, which are always kept


class KeptObject(Protocol):
    """An object that is kept: its row, and what rules saw of it (JSON)."""

    @property
    def id(self) -> int:
        """Its row."""

    @property
    def facts(self) -> str:
        """As JSON."""


Kept = TypeVar("Kept", bound=KeptObject)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """An object with what rules decide of it now; `decision` is None if its bytes are not there."""

    held: HeldObject
    facts: Facts
    decision: RoutingDecision | None


class FactReader:
    """Reads the facts of objects that are kept, as far as rules with these fields ask for them."""

    def __init__(self, database: Database, files: Path, fields: frozenset[str]) -> None:
        """`files`: the spool folder."""
        self._database = database
        self._files = files
        self._of_order = needs_order(fields)
        self._fields = fields | set(header.BASE_FIELDS) | (MATCHING_FIELDS if self._of_order else frozenset())

    def read(self, objects: Sequence[Kept]) -> Iterator[tuple[Kept, Facts, bool]]:
        """Each object with its facts, and whether its bytes could be read (blocking). Raises StoreUnavailable.

        Where they could not be, the facts are those that were kept at its reception.
        """
        bodies = self._database.read(instances.stored, [one.id for one in objects]).result()
        for held in objects:
            kept: dict[str, Any] = json.loads(held.facts or "{}")
            facts: dict[str, Sequence[Fact]] = {name: kept[name] for name in kept if name.startswith(RECEPTION)}
            try:
                facts |= _elements(self._files, bodies.get(held.id), self._fields)
            except (BadContent, OSError, ValueError):
                yield held, kept, False
                continue
            if self._of_order:  # the order of today: it may have come after the image
                facts |= self._database.read(order_facts, facts).result()
            yield held, facts, True


def judge_again(database: Database, files: Path, rules: RuleSet, ids: Sequence[int]) -> list[Judged]:
    """Judge those of some rows that are held or discarded (blocking). `files`: the spool folder.

    Raises StoreUnavailable.
    """
    held = database.read(held_objects.load, ids).result()
    return [
        Judged(held=one, facts=facts, decision=decide(rules, facts) if read else None)
        for one, facts, read in FactReader(database, files, fields_of(rules)).read(held)
    ]


def _elements(files: Path, body: StoredObject | None, fields: frozenset[str]) -> dict[str, Sequence[Fact]]:
    """The facts of elements in the bytes of an object. Raises BadContent, OSError, ValueError for what is not there."""
    if body is None:
        raise BadContent("no bytes", code="no-instance")
    if body.content is not None:
        return element_facts(body.content, body.transfer_syntax_uid, fields)
    with (
        open(files / body.path, "rb") as file,
        mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as whole,
        memoryview(whole) as view,
        view[body.data_offset : body.data_offset + body.data_length] as data,
    ):
        return element_facts(data, body.transfer_syntax_uid, fields)


def element_facts(
    data: Buffer, transfer_syntax: str, fields: frozenset[str], *, beginning: bool = False
) -> dict[str, Sequence[Fact]]:
    """The facts of elements in an encoded data set, or in the `beginning` of one.

    Raises BadContent for one that is not well formed.
    """
    wanted = [name for name in fields if name.startswith(PREFIX)]
    read = scan_beginning if beginning else scan
    reader = ElementReader(read(data, transfer_syntax, header.tags_of(wanted)))
    found: dict[str, Sequence[Fact]] = {}
    for name in wanted:
        found.update(reader.read(name))
    return found
