"""Writes a conformance statement as Markdown with tables (CommonMark and the tables of GitHub). Pure.

Texts may hold what the configuration says, such as AE titles: what Markdown or HTML would read as markup is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from broker.conformance.statement import (
    Block,
    ConformanceStatement,
    ContentsBlock,
    DrawingBlock,
    ListBlock,
    StatementSection,
    TableBlock,
    TextBlock,
)

_CODE = re.compile(r"(`[^`]+`)")
_MARKUP = re.compile(r"[\\*\[\]<|~]|(?<!\w)_|_(?!\w)|&(?=#?\w+;)")


def write(statement: ConformanceStatement) -> str:
    """The statement as a file."""
    head = [
        "# DICOM Conformance Statement",
        "",
        f"{_plain(statement.product)}, version {_plain(statement.version)}, AE title {_plain(statement.ae_title)}",
        "",
        f"Document {statement.number}, made on {statement.made_on}",
    ]
    body = (line for section in statement.sections for line in _section(section, statement))
    return "\n".join([*head, *body]) + "\n"


def _section(section: StatementSection, statement: ConformanceStatement) -> Iterator[str]:
    yield ""
    yield f"{'#' * min(section.level + 1, 6)} {section.path} {_plain(section.title)}"
    for block in section.blocks:
        yield ""
        yield from _block(block, statement)
    for inner in section.sections:
        yield from _section(inner, statement)


def _block(block: Block, statement: ConformanceStatement) -> Iterator[str]:
    match block:
        case TextBlock():
            yield escaped(block.text)
        case ListBlock():
            yield from (f"- {escaped(item)}" for item in block.items)
        case DrawingBlock():
            yield from ("```text", block.text.replace("```", "'''"), "```")
        case TableBlock():
            yield from _table(block)
        case ContentsBlock():
            for section in statement.all_sections():
                yield f"{'  ' * (section.level - 1)}- [{section.path} {_plain(section.title)}](#{_anchor(section)})"


def _anchor(section: StatementSection) -> str:
    """The name that GitHub and others give to a heading."""
    return re.sub(r"[^\w\- ]", "", f"{section.path} {section.title}").strip().lower().replace(" ", "-")


def _table(block: TableBlock) -> Iterator[str]:
    yield f"**{_plain(block.title)}**"
    yield ""
    if not block.rows:
        yield "None."
        return
    yield _row(block.columns)
    yield _row(["---"] * len(block.columns))
    yield from (_row([escaped(cell) for cell in row]) for row in block.rows)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def escaped(text: str) -> str:
    """A text whose code spans stay and whose other signs are no markup."""
    parts = _CODE.split(" ".join(text.split()))
    return "".join(
        part.replace("|", "\\|") if _CODE.fullmatch(part) else _plain(part.replace("`", "'")) for part in parts
    )


def _plain(text: str) -> str:
    return _MARKUP.sub(lambda found: "\\" + found[0], text)
