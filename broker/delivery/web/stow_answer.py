"""Says what the answer to a STOW-RS request with one object means for its job (PS3.18 10.5.3, annex I).

An object counts as stored only if the answer names it as such. Failure reasons are judged as the statuses of C-STORE
(`delivery.outcome`). What a status of HTTP means where no reason is given:

    object: held           406, 409, 413, 415, 422 and others of 4xx that are not below
    object or destination  400, 500 and others of 5xx; an answer that does not name the object; none in time
    destination: waits     3xx, 401, 403, 404, 405, 408, 410, 429, 502, 503, 504, 507
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from xml.parsers import expat

from broker.delivery.object_sender import CarryEnding
from broker.delivery.outcome import JobVerdict, RequestKind, verdict
from broker.dicom.dimse import status as st

ANSWER_MOST = 1024 * 1024  # bytes of an answer: it is about one object
AWAY = frozenset({401, 403, 404, 405, 408, 410, 429, 502, 503, 504, 507})
EXISTS = 0xB00E  # a server says so in FailedSOPSequence of an object that it has: 45070
_DEEPEST = 20  # elements of XML in one another
_FAILED, _STORED, _OTHER = "00081198", "00081199", "0008119A"
_INSTANCE, _REASON, _WARNING = "00081155", "00081197", "00081196"
Item = dict[str, Any]


def is_away(status: int) -> bool:
    """A status of HTTP that says something of the destination, and nothing of the object."""
    return status in AWAY or 300 <= status < 400


def ending_of(status: int, content_type: str, body: bytes | None, instance: str, *, again: bool) -> CarryEnding:
    """What an answer means for the job of an object; `body`: None for one that is too long or packed.

    `again`: an earlier request of the job may have arrived.
    """
    module = _module(content_type, body) if body and (status in (200, 202) or status >= 400) else None
    if module is not None and (found := _found(module, instance, again=again)) is not None:
        return found
    if 200 <= status < 300:
        return CarryEnding(JobVerdict.BUSY, "stow-unclear")
    if status == 400 or status >= 500 or status < 200:
        return CarryEnding(JobVerdict.BUSY, f"stow-{status}")
    return CarryEnding(JobVerdict.REFUSED, f"stow-{status}")


def _found(module: Item, instance: str, *, again: bool) -> CarryEnding | None:
    """What a module says of an object; None for nothing. A failure counts, whatever else is said."""
    for item in [*_items(module, _FAILED), *_items(module, _OTHER)]:
        if _value(item, _INSTANCE) in (instance, None):
            return _failed(_number(item, _REASON), again=again)
    for item in _items(module, _STORED):
        if _value(item, _INSTANCE) == instance:
            warning = _number(item, _WARNING)
            warned = st.is_store_warning(warning)
            return CarryEnding(JobVerdict.DONE, f"status-{warning:04X}" if warned else "", warning if warned else 0)
    return None


def _failed(reason: int, *, again: bool) -> CarryEnding:
    if reason == EXISTS and again:
        return CarryEnding(JobVerdict.DONE)
    code = f"status-{reason:04X}" if reason else "stow-failed"
    if st.is_success_or_warning(reason):  # as a reason of a failure it is none of success
        return CarryEnding(JobVerdict.REFUSED, code)
    return CarryEnding(verdict(RequestKind.STORE, reason, again=again), code)


def _module(content_type: str, body: bytes) -> Item | None:
    """The Store Instances Response Module as a DICOM JSON object; None for what is none."""
    kind = content_type.partition(";")[0].strip().lower()
    try:
        found = _xml(body) if kind.endswith("xml") else json.loads(body)
    except (ValueError, RecursionError, expat.ExpatError):
        return None
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    return found if isinstance(found, dict) else None


def _items(module: Item, tag: str) -> Iterator[Item]:
    attribute = module.get(tag)
    values = attribute.get("Value") if isinstance(attribute, Mapping) else None
    for item in values if isinstance(values, list) else ():
        if isinstance(item, dict):
            yield item


def _value(item: Item, tag: str) -> Any:
    attribute = item.get(tag)
    values = attribute.get("Value") if isinstance(attribute, Mapping) else None
    return values[0] if isinstance(values, list) and values else None


def _number(item: Item, tag: str) -> int:
    """A status, 0 for none."""
    value = _value(item, tag)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 5:
        value = int(value)
    return value if isinstance(value, int) and 0 < value <= 0xFFFF else 0


def _xml(body: bytes) -> Item:
    """The Native DICOM Model (PS3.19 A.1) as a DICOM JSON object. Raises ValueError, ExpatError."""
    reader = _XmlReader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler, parser.EndElementHandler = reader.begin, reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = _declared
    parser.Parse(body, True)
    return reader.root


def _declared(*parts: object) -> None:
    raise ValueError("a document that declares something")


class _XmlReader:
    """Collects attributes and items, the innermost last."""

    def __init__(self) -> None:
        self.root: Item = {}
        self._within: list[Any] = []
        self._text = ""

    def begin(self, name: str, attributes: Mapping[str, str]) -> None:
        if len(self._within) >= _DEEPEST:
            raise ValueError("too deep")
        self._text = ""
        plain = name.rpartition(" ")[2]
        holder = next((one for one in reversed(self._within) if one is not None), self.root)
        made: Any = None
        if plain == "DicomAttribute" and isinstance(holder, dict):
            values: list[Any] = []
            holder[attributes.get("tag", "").upper()] = {"Value": values}
            made = values
        elif plain == "Item" and isinstance(holder, list):
            made = {}
            holder.append(made)
        self._within.append(made)

    def end(self, name: str) -> None:
        self._within.pop()
        if name.rpartition(" ")[2] == "Value":
            holder = next((one for one in reversed(self._within) if one is not None), None)
            if isinstance(holder, list):
                holder.append(self._text.strip())

    def text(self, text: str) -> None:
        self._text += text
