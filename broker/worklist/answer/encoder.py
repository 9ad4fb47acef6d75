"""Encodes answers: a document and the return keys of a query become an identifier (PS3.4 K.4.1.3.2).

An answer holds only what was asked for, recursively, and exactly one item in the Scheduled Procedure Step Sequence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from broker.dicom import uids
from broker.dicom.dataset.charset import DEFAULT, lookup
from broker.dicom.dataset.write import DataSetWriter, ElementSpec
from broker.worklist.query.attributes import TIMEZONE
from broker.worklist.query.keys import Query
from broker.worklist.query.timezone import offset_text

_OFFSET = "TimezoneOffsetFromUTC"


class AnswerEncoder:
    """Encodes the answers of one query."""

    def __init__(
        self,
        query: Query,
        transfer_syntax: str,
        charset: str,
        fixed: Sequence[str] = (),
        lengths: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        """`charset`: the character set for answers that the request's own one cannot hold, or if it names none.

        `fixed`: the terms of the only one that this device is answered in. `lengths`: characters, by keyword.
        """
        specs, self._more = list(query.return_keys), {}
        if query.offset is not None:
            specs.append(ElementSpec(tag=TIMEZONE, vr="SH", keyword=_OFFSET))
            self._more[_OFFSET] = offset_text(query.offset)
        own = lookup(query.charset) if query.charset else None
        charsets = [own] if own is not None and own != DEFAULT else []
        charsets = [lookup(fixed) or DEFAULT] if fixed else [*charsets, lookup((charset,)) or DEFAULT]
        self._writer = DataSetWriter(specs, charsets, implicit=transfer_syntax == uids.IMPLICIT_LE, lengths=lengths)

    def encode(self, document: Mapping[str, Any]) -> bytes:
        """The identifier of one answer, in the transfer syntax and a character set that holds it."""
        return self._writer.encode({**document, **self._more} if self._more else document)
