"""Lists rows: filters, sorting, paging by seek and counts up to a limit; the same for every table.

A page declares its `Table` once. For a request `table.ask(query)` gives what is asked, the store answers with at most
`size + 1` rows behind the key `after`, and `asked.filled(rows, …)` is what `parts/listing.html` draws. Nothing is
counted beyond CAP, and no page is found by its number: the millionth row costs as little as the first (the key of the
last row of each page before stands in the address). Keys and filters stand in addresses: they never name a patient.
A filter that may is `private`. Its value is sent in a body and stands in addresses sealed (`kept.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from types import MappingProxyType
from typing import Generic, Literal, TypeVar
from urllib.parse import urlencode

from broker.admin.web.forms import FieldErrors, FormFields
from broker.admin.web.words import Sentence

CAP = 10_000  # rows that are counted
LONGEST = 200  # characters of a filter
MOST_PICKED = 1000  # rows of one page
TRAIL = 25  # pages that "Previous" leads back
_FAR = 2.5e11  # s since the epoch, in the year 9892
SEALED = "find"  # the name under which private filters stand in addresses
_NONE: Mapping[str, str] = MappingProxyType({})
_KEY = re.compile(r"[A-Za-z0-9._:-]{1,80}\Z")
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """A field above a table. `choices` of a kind `choice`: values and their words. `private`: it may name a patient.

    `any`: the word of no choice, if that is not any. `groups` of a kind `group`: choices under their titles. Links may
    lead to other values too.
    A `hidden` one comes by links only.
    """

    name: str
    title: Sentence
    kind: Literal["search", "text", "date", "choice", "group", "hidden"] = "text"
    choices: tuple[tuple[str, Sentence], ...] = ()
    any: Sentence | None = None
    groups: Sequence[tuple[Sentence, Sequence[tuple[str, Sentence]]]] = ()
    hint: Sentence | None = None
    private: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column: its name counts where it can be sorted by."""

    name: str
    title: Sentence
    sortable: bool = False
    numeric: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of a page. `region` is what a filter replaces. `sort`: a column, `-` before it for the largest first.

    `finds`: where the filters are sent in a body, of a table that has private ones.
    """

    path: str
    region: str
    title: Sentence
    columns: tuple[Column, ...]
    filters: tuple[Filter, ...] = ()
    sort: str = ""
    size: int = 50
    finds: str = ""

    def picked(self, form: FormFields, asked: Asked) -> Picked:
        """The rows that a person picked in a form of this table. `asked`: its filters, in the address of the form."""
        every = form.get("every")
        return Picked(
            keys=tuple(key for key in form.all("row")[:MOST_PICKED] if _KEY.match(key)),
            expected=int(every) if re.fullmatch(r"\d{1,5}", every) else None,
            values=asked.values,
        )

    def ask(self, query: Mapping[str, str], private: Mapping[str, str] = _NONE, sealed: str = "") -> Asked:
        """What a query asks for. What cannot be used is told beside its filter and filters nothing.

        `private`: the values of private filters, and how they stand `sealed` in addresses.
        """
        values, errors = dict[str, str](), dict[str, Sentence]()
        for one in self.filters:
            value = (private if one.private else query).get(one.name, "").strip()
            wrong = _mistake(one, value)
            if wrong is not None:
                errors[one.name] = wrong
            elif value:
                values[one.name] = value
        sorts = {f"{sign}{column.name}" for column in self.columns if column.sortable for sign in ("", "-")}
        sort = query.get("sort", "")
        trail = tuple(query.get("after", "").split(","))[-TRAIL:]
        return Asked(
            table=self,
            values=values,
            errors=errors,
            sort=sort if sort in sorts else self.sort,
            trail=trail if all(map(_KEY.match, trail)) else (),
            sealed=sealed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a request asks of a table. `values` of the filters that are set; `trail`: keys of the pages before."""

    table: Table
    values: Mapping[str, str]
    errors: FieldErrors
    sort: str
    trail: tuple[str, ...]
    sealed: str = ""  # the values of private filters

    @property
    def open_values(self) -> dict[str, str]:
        """The filters as they stand in addresses."""
        private = {one.name for one in self.table.filters if one.private}
        values = {name: value for name, value in self.values.items() if name not in private}
        return {**values, SEALED: self.sealed} if self.sealed else values

    @property
    def after(self) -> str:
        """The key of the row behind which the rows begin; empty for the first page."""
        return self.trail[-1] if self.trail else ""

    def link(self, *, sort: str = "", trail: Sequence[str] = ()) -> str:
        """The address of the same rows in another order, or of another page of them."""
        order = sort or self.sort
        query = {**self.open_values, "sort": order if order != self.table.sort else "", "after": ",".join(trail)}
        text = urlencode({name: value for name, value in query.items() if value})
        return f"{self.table.path}?{text}" if text else self.table.path

    def action(self, path: str) -> str:
        """The address of a change of picked rows: it carries the filters."""
        return f"{path}?{urlencode(self.open_values)}" if self.open_values else path

    def turned(self, column: str) -> str:
        """The address of the same rows sorted by a column, or by the same one the other way round."""
        return self.link(sort=f"-{column}" if self.sort == column else column)

    def direction(self, column: str) -> str:
        """How the rows are sorted by a column, as `aria-sort` says it; empty for not at all."""
        return {column: "ascending", f"-{column}": "descending"}.get(self.sort, "")

    def filled(self, rows: Sequence[Row], total: int, key: Callable[[Row], str]) -> Listing[Row]:
        """The answer: at most `size + 1` rows of which the last only tells that there are more.

        `total`: rows that match, at most CAP + 1. `key` of a row: for the page behind it.
        """
        shown = rows[: self.table.size]
        more = len(rows) > self.table.size
        return Listing(asked=self, rows=shown, total=total, next_key=key(shown[-1]) if more else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """Rows by their keys; or all that match the filters `values`, which were `expected` when the person saw them.

    The change counts them again in its transaction, and does nothing if they are not as many any more.
    """

    keys: tuple[str, ...]
    expected: int | None
    values: Mapping[str, str]

    @property
    def is_empty(self) -> bool:
        """No row is picked."""
        return self.expected is None and not self.keys


NOTHING = Picked(keys=(), expected=None, values={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(Generic[Row]):
    """The rows of one page of a table."""

    asked: Asked
    rows: Sequence[Row]
    total: int
    next_key: str
    uncounted: bool = False  # there may be more than were counted

    @property
    def counted(self) -> int:
        """Rows that match, as far as they are counted."""
        return min(self.total, CAP)

    @property
    def capped(self) -> bool:
        """There are more rows than were counted."""
        return self.total > CAP or self.uncounted

    @property
    def whole(self) -> bool:
        """All rows that match are shown."""
        return not self.asked.trail and not self.next_key

    @property
    def previous(self) -> str:
        """The address of the page before; empty on the first one."""
        return self.asked.link(trail=self.asked.trail[:-1]) if self.asked.trail else ""

    @property
    def following(self) -> str:
        """The address of the next page; empty on the last one."""
        return self.asked.link(trail=(*self.asked.trail, self.next_key)[-TRAIL:]) if self.next_key else ""


def midnight(zone: tzinfo, day: str, more: int = 0) -> float | None:
    """The beginning of a day that a filter names, `more` days later, in s since the epoch; None for no day."""
    if not day:
        return None
    if not "1970-01-02" < day < "9999":  # no clock of this program was ever there
        return 0.0 if day < "9" else _FAR
    start = datetime.fromisoformat(day) + timedelta(days=more)
    return start.replace(tzinfo=zone).timestamp()


def _mistake(field: Filter, value: str) -> Sentence | None:
    """What is wrong with the value of a filter; None for nothing."""
    if len(value) > LONGEST:
        return Sentence("At most %(n)s characters.", {"n": LONGEST})
    if field.kind == "choice" and value and value not in {choice for choice, _ in field.choices}:
        return Sentence("Choose one of the list.")
    if field.kind == "date" and value:
        try:
            date.fromisoformat(value)
        except ValueError:
            return Sentence("Type a date like 2026-12-31.")
    return None
