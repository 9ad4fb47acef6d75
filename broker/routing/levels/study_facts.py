"""Makes the facts of a series or study of those of its objects.

A field has the different values of all objects, in the order in which they came, so that a test of it is true if it is
for one of them, and `values = "all"` asks for each. Items of a sequence stay whole: those of all objects are the items
of one sequence. The time is that of the first object. The order is looked up once for each set of keys that objects
have, which is one in a study of one patient.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from broker.routing.order_facts import MATCHING_FIELDS, OF_ORDER
from broker.routing.rules.evaluate import FIRST_ITEM, Facts
from broker.routing.rules.ruleset import Fact
from broker.routing.rules.times import LOCAL_TIME

MOST = 10_000  # different values of a field, or items of a sequence
MOST_ORDERS = 20  # sets of keys for which an order is looked up
Found = dict[str, tuple[Fact, ...]]
_Item = tuple[tuple[str, tuple[Fact, ...]], ...]


class TooManyValues(ValueError):
    """A field has more values in a series or study than can be kept."""


class FactUnion:
    """Gathers the facts of objects, one after the other."""

    def __init__(self, fields: Collection[str], order: Callable[[Facts], Facts] | None = None) -> None:
        """`fields`: that rules test. `order` looks up the facts of the order of an object, if a rule asks for some."""
        self._fields = frozenset(fields)
        self._sequences = sorted({field.partition("[*]")[0] for field in fields if "[*]" in field})
        self._order = order
        self._orders: dict[tuple[tuple[Fact, ...], ...], Facts] = {}
        self._values: dict[str, dict[Fact, None]] = {}
        self._items: dict[str, dict[_Item, None]] = {sequence: {} for sequence in self._sequences}
        self._first: tuple[Fact, ...] = ()

    def add(self, facts: Facts) -> None:
        """The facts of the next object. Raises TooManyValues."""
        if not self._first:
            self._first = tuple(facts.get(LOCAL_TIME, ()))
        for name, values in facts.items():
            if name == LOCAL_TIME or name.startswith(OF_ORDER) or (self._in_item(name) and name not in self._fields):
                continue
            self._keep(name, values)
        for sequence in self._sequences:
            self._add_items(sequence, facts)
        self.order_of(facts)

    def order_of(self, facts: Facts) -> Facts:
        """The facts of the order of an object, looked up once for all that have the same keys. Raises TooManyValues."""
        if self._order is None:
            return {}
        key = tuple(tuple(facts.get(name, ())) for name in sorted(MATCHING_FIELDS))
        if key not in self._orders:
            if len(self._orders) >= MOST_ORDERS:
                raise TooManyValues("orders")
            self._orders[key] = self._order(facts)
        return self._orders[key]

    def facts(self) -> Found:
        """All of them together."""
        found: Found = {name: tuple(values) for name, values in self._values.items()}
        if self._first:
            found[LOCAL_TIME] = self._first
        for facts in self._orders.values():
            for name, values in facts.items():
                found[name] = tuple(dict.fromkeys((*found.get(name, ()), *values)))
        for sequence, items in self._items.items():
            if items:
                found[f"{sequence}[*]"] = (float(len(items)),)
            for number, item in enumerate(items, FIRST_ITEM):
                found.update({f"{sequence}[{number}]{rest}": values for rest, values in item})
        return found

    def _keep(self, name: str, values: Sequence[Fact]) -> None:
        kept = self._values.setdefault(name, {})
        kept.update(dict.fromkeys(values))
        if len(kept) > MOST:
            raise TooManyValues(name)

    def _in_item(self, name: str) -> bool:
        return any(name.startswith(f"{sequence}[") for sequence in self._sequences)

    def _add_items(self, sequence: str, facts: Facts) -> None:
        """The items of a sequence, each with all that is known of it; the same one again counts once."""
        items: dict[int, list[tuple[str, tuple[Fact, ...]]]] = {}
        counted = facts.get(sequence, ())
        for number in range(1, 1 + int(float(counted[0])) if counted else 1):
            items[number] = []
        start = f"{sequence}["
        for name, values in facts.items():
            if name.startswith(start):
                number_text, _, rest = name.removeprefix(start).partition("]")
                if number_text.isdecimal() and int(number_text) in items:
                    items[int(number_text)].append((rest, tuple(values)))
        kept = self._items[sequence]
        kept.update(dict.fromkeys(tuple(sorted(item)) for item in items.values()))
        if len(kept) > MOST:
            raise TooManyValues(sequence)


def counted(facts: Mapping[str, Sequence[Fact]], objects: int) -> Found:
    """What a complete study says of itself, of the facts of its objects."""
    series, modalities = (tuple(facts.get(name, ())) for name in ("tag.SeriesInstanceUID", "tag.Modality"))
    found: Found = {"study.instances": (float(objects),), "study.series": (float(len(series)),)}
    if modalities:
        found["study.modalities"] = modalities
    return found
