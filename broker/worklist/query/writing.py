"""Writes the identifier of a query: keys with values, and all that a worklist may tell as return keys. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.dicom import uids
from broker.dicom.dataset.charset import UTF_8
from broker.dicom.dataset.write import DataSetWriter, ElementSpec
from broker.model.order import Document
from broker.worklist.query.attributes import WORKLIST, WorklistAttribute


def identifier(keys: Document, transfer_syntax: str) -> bytes:
    """The identifier of a query: these keys, and all that a worklist may tell as return keys."""
    return _WRITERS[transfer_syntax].encode(_itemised(keys, WORKLIST))


def _everything(table: Mapping[int, WorklistAttribute]) -> tuple[ElementSpec, ...]:
    return tuple(
        ElementSpec(tag=key.tag, vr=key.vr, keyword=key.keyword, children=_everything(key.children))
        for key in table.values()
    )


_WRITERS = {
    syntax: DataSetWriter(_everything(WORKLIST), [UTF_8], implicit=syntax == uids.IMPLICIT_LE)
    for syntax in (uids.EXPLICIT_LE, uids.IMPLICIT_LE)
}


def _itemised(given: Document, table: Mapping[int, WorklistAttribute]) -> dict[str, Any]:
    """With one item in each sequence that has none: what is in it is asked for (PS3.4 C.2.2.2.6)."""
    filled = dict(given)
    for key in table.values():
        if key.vr == "SQ":
            items: list[Any] = filled.get(key.keyword) or [{}]
            filled[key.keyword] = [_itemised(item, key.children) for item in items]
    return filled
