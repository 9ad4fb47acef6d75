"""Holds what is read from files: orders as documents with the place they come from, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass

from broker.model.order import Document


@dataclass(frozen=True, slots=True)
class ImportItem:
    """An order of a file. `place` names file and rows for people; without a document `error` says why."""

    place: str
    document: Document | None = None
    error: str = ""
