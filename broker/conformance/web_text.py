"""Writes a conformance statement as HTML: the body for a page, or a file that needs nothing else. Pure.

All text is escaped: it may hold what the configuration says, such as AE titles. A code span of Markdown becomes `code`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape

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

_CODE = re.compile(r"`([^`]+)`")
_LONG = 8  # rows that fit on a screen
_STYLE = """
:root { color-scheme: light dark; --ink: #14211f; --quiet: #55635f; --line: #dee4e0; --ground: #fff; --head: #eef1ee; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e5eeec; --quiet: #9db1ae; --line: #243434; --ground: #131e1e; --head: #1b2929; }
}
body { margin: 0 auto; padding: 2rem 1rem; max-width: 68rem; color: var(--ink); background: var(--ground);
  font: 1rem/1.5 system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
h1, h2, h3, h4, h5, h6 { line-height: 1.25; margin: 2em 0 .5em; } h1 { margin-top: 0; }
p, li { max-width: 48rem; } .quiet { color: var(--quiet); } .contents { list-style: none; padding: 0; }
.contents a { color: inherit; } .scroll { overflow-x: auto; margin: .5rem 0 1rem; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { border: 1px solid var(--line); padding: .3rem .6rem; text-align: left; vertical-align: top; }
th { background: var(--head); } pre { overflow-x: auto; }
@media print { body { max-width: none; padding: 0; } .scroll { overflow: visible; } tr { break-inside: avoid; } }
"""


def write(statement: ConformanceStatement) -> str:
    """The statement as a file."""
    title = f"DICOM Conformance Statement: {escape(statement.product)} {escape(statement.version)}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>DICOM Conformance Statement</h1>\n"
        f"{cover(statement)}\n{body(statement)}\n</body>\n</html>\n"
    )


def cover(statement: ConformanceStatement) -> str:
    """What stands on the cover page but for the title."""
    return (
        f"<p>{escape(statement.product)}, version {escape(statement.version)}, AE title "
        f"{escape(statement.ae_title)}</p>\n"
        f'<p class="quiet">Document {escape(statement.number)}, made on {escape(statement.made_on)}</p>'
    )


def body(statement: ConformanceStatement, *, folded: bool = False) -> str:
    """All sections, whose chapters have headings of the second level. `folded`: long tables are closed at first."""
    lines = (line for section in statement.sections for line in _section(section, statement, folded=folded))
    return "\n".join(lines)


def _section(section: StatementSection, statement: ConformanceStatement, *, folded: bool) -> Iterator[str]:
    level = min(section.level + 1, 6)
    yield f'<h{level} id="{section.anchor}">{section.path} {escape(section.title)}</h{level}>'
    for block in section.blocks:
        yield from _block(block, statement, folded=folded)
    for inner in section.sections:
        yield from _section(inner, statement, folded=folded)


def _block(block: Block, statement: ConformanceStatement, *, folded: bool) -> Iterator[str]:
    match block:
        case TextBlock():
            yield f"<p>{_marked(block.text)}</p>"
        case ListBlock():
            yield "<ul>" + "".join(f"<li>{_marked(item)}</li>" for item in block.items) + "</ul>"
        case DrawingBlock():
            yield f'<pre tabindex="0">{escape(block.text)}</pre>'
        case TableBlock():
            yield from _table(block, folded=folded and len(block.rows) > _LONG)
        case ContentsBlock():
            links = (
                f'<li><a href="#{section.anchor}">{section.path} {escape(section.title)}</a></li>'
                for section in statement.all_sections()
                if section.level <= 3
            )
            yield f'<ul class="contents">{"".join(links)}</ul>'


def _table(block: TableBlock, *, folded: bool) -> Iterator[str]:
    """A table below its title, which stands outside of what scrolls: a narrow screen shows all of it."""
    title = f"<b>{escape(block.title)}</b>"
    if not block.rows:
        yield f"<p>{title}</p><p>None.</p>"
        return
    yield f"<details><summary>{title}, {len(block.rows)} rows</summary>" if folded else f"<p>{title}</p>"
    yield f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(block.title)}"><table>'
    heads = "".join(f'<th scope="col">{escape(column)}</th>' for column in block.columns)
    yield f"<thead><tr>{heads}</tr></thead><tbody>"
    yield from (f"<tr>{''.join(f'<td>{_marked(cell)}</td>' for cell in row)}</tr>" for row in block.rows)
    yield "</tbody></table></div>" + ("</details>" if folded else "")


def _marked(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(text))
