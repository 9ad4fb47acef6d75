"""Says what a conformance statement is: numbered sections of paragraphs, lists, tables and drawings. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

NOT_APPLICABLE = "N/A"


@dataclass(frozen=True, slots=True)
class TextBlock:
    """A paragraph."""

    text: str
    kind: Literal["text"] = "text"


@dataclass(frozen=True, slots=True)
class ListBlock:
    """Points, each a sentence or more."""

    items: tuple[str, ...]
    kind: Literal["list"] = "list"


@dataclass(frozen=True, slots=True)
class TableBlock:
    """A table with a title. Each row has as many cells as there are columns."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    kind: Literal["table"] = "table"


@dataclass(frozen=True, slots=True)
class DrawingBlock:
    """A drawing of characters, all of one width."""

    text: str
    kind: Literal["drawing"] = "drawing"


@dataclass(frozen=True, slots=True)
class ContentsBlock:
    """The place of the table of contents: who writes the statement fills it in."""

    kind: Literal["contents"] = "contents"


Block = TextBlock | ListBlock | TableBlock | DrawingBlock | ContentsBlock
CONTENTS = ContentsBlock()


@dataclass(frozen=True, slots=True)
class StatementSection:
    """A section by its number in the outline, with what stands in it and below it. `path`: `5.2.1`."""

    path: str
    title: str
    blocks: tuple[Block, ...] = ()
    sections: tuple[StatementSection, ...] = ()

    @property
    def anchor(self) -> str:
        """The name by which links find it."""
        return "section-" + self.path.lower().replace(".", "-")

    @property
    def level(self) -> int:
        """1 for a chapter, one more for each number."""
        return self.path.count(".") + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ConformanceStatement:
    """The statement of one broker. `made_on` is a date (ISO 8601) and no part of what it states."""

    product: str
    version: str
    ae_title: str
    made_on: str
    sections: tuple[StatementSection, ...]

    @property
    def number(self) -> str:
        """The document number: another one as soon as anything that is stated changes."""
        stated = json.dumps([self.product, self.version, [asdict(section) for section in self.sections]])
        return f"WLB-{self.version}-{hashlib.sha256(stated.encode()).hexdigest()[:12]}"

    def document(self) -> dict[str, Any]:
        """The statement as JSON, with its number."""
        stated = asdict(self)
        return {**stated, "number": self.number}

    def all_sections(self) -> Iterator[StatementSection]:
        """Every section, in the order in which they are read."""
        yield from _below(self.sections)

    def section(self, path: str) -> StatementSection:
        """A section by its number. Raises KeyError."""
        for one in self.all_sections():
            if one.path == path:
                return one
        raise KeyError(path)


def _below(sections: Sequence[StatementSection]) -> Iterator[StatementSection]:
    for one in sections:
        yield one
        yield from _below(one.sections)


def section(path: str, title: str, *content: Block | str | StatementSection) -> StatementSection:
    """A section of paragraphs (plain text), other blocks, and sections below it. Without any it is not applicable."""
    blocks: list[Block] = []
    inner: list[StatementSection] = []
    for one in content or (NOT_APPLICABLE,):
        if isinstance(one, StatementSection):
            inner.append(one)
        else:
            blocks.append(TextBlock(one) if isinstance(one, str) else one)
    return StatementSection(path, title, tuple(blocks), tuple(inner))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> TableBlock:
    """A table. Raises ValueError for a row that does not fit."""
    if any(len(row) != len(columns) for row in rows):
        raise ValueError(f"a row of the table {title!r} has not {len(columns)} cells")
    return TableBlock(title, tuple(columns), tuple(tuple(row) for row in rows))


def points(*items: str) -> ListBlock:
    """A list of points."""
    return ListBlock(items)
