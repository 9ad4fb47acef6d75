"""Holds what is read from files: orders as documents with the place they come from, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass

from broker.model.order import Document


@dataclass(frozen=True, slots=True)
class ImportItem:
    """An order of a file. `place` names file and rows for people; without a document `error` says why.

    `lenient`: it is an item of a worklist of before, which nobody corrects any more.
    """

    place: str
    document: Document | None = None
    error: str = ""
    lenient: bool = False

    @property
    def accession(self) -> str:
        """Its accession number as it is written; empty for none."""
        request = (self.document or {}).get("request") or {}
        return str(request.get("AccessionNumber") or "")
