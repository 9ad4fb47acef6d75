"""Makes safe path parts of the values of an object.

Different values give different parts: what has no place in a name is written as %XX, and a long value ends with its
hash. No value can leave its part, begin with a dot, or be a name that Windows reserves.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from hashlib import sha256

from broker.delivery.object_sender import checked
from broker.delivery.object_source import CHUNK, ObjectSource
from broker.dicom import uids
from broker.dicom.conversion.inflating import inflated
from broker.dicom.dataset.scan import DataSetScan, scan_beginning
from broker.errors import BadContent
from broker.routing.elements import ElementReader
from broker.routing.header import tags_of
from broker.site.tables.folder import PLACE, keywords

LONGEST_VALUE = 100  # bytes of a value in a name
LONGEST_PART = 255  # bytes of a name (NAME_MAX)
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)
_PLAIN = frozenset("-_=+@,()^ .#~")


class NoPath(BadContent):
    """The values of an object make no path."""

    code = "folder-no-path"


def parts_of(template: str, source: ObjectSource) -> tuple[str, ...]:
    """The names below the folder for an object; the last is that of its file. Blocks.

    Raises NoPath for a value that is not there and has nothing in its place; SpoiledObject.
    """
    values = _values(template, source)
    parts = tuple(_part(part, values) for part in template.split("/"))
    if any(len(part.encode()) > LONGEST_PART for part in parts):
        raise NoPath(code="folder-long-path")
    return parts


def _part(text: str, values: dict[str, str]) -> str:
    def put(found: re.Match[str]) -> str:
        if not (value := safe(values.get(found[1], "")) or found[2] or ""):
            raise NoPath
        return value

    part = PLACE.sub(put, text)
    if part[0] == "." or _RESERVED.match(part):
        part = f"%{ord(part[0]):02X}{part[1:]}"
    return part[:-1] + f"%{ord(part[-1]):02X}" if part[-1] in ". " else part


def safe(value: str) -> str:
    """A value as a part of a name; empty for one that is empty."""
    value = unicodedata.normalize("NFC", value.strip())
    made = "".join(one if one.isalnum() or one in _PLAIN else _escaped(one) for one in value)
    if len(made.encode()) <= LONGEST_VALUE:
        return made
    digest = sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return made.encode()[: LONGEST_VALUE - 20].decode("utf-8", "ignore") + f"%~{digest}"


def _escaped(one: str) -> str:
    return "".join(f"%{byte:02X}" for byte in one.encode("utf-8", "surrogatepass"))


def _values(template: str, source: ObjectSource) -> dict[str, str]:
    """The values of the attributes that a template names, several of one joined by a plus."""
    names = [name for name in keywords(template) if name != "SOPInstanceUID"]
    fields = [f"tag.{name}" for name in names]
    found = {"SOPInstanceUID": source.item.sop_instance_uid}
    if fields:
        reader = ElementReader(_beginning(source, tags_of(fields)))
        for field in fields:
            for name, values in reader.read(field):
                found[name.removeprefix("tag.")] = "+".join(map(str, values))
    return found


def _beginning(source: ObjectSource, tags: frozenset[int]) -> DataSetScan:
    """The wanted elements among the first bytes of an object."""
    syntax = source.item.transfer_syntax_uid
    try:
        if syntax in uids.DEFLATED_SYNTAXES:  # Explicit VR Little Endian when inflated (PS3.5 A.5)
            return scan_beginning(_first(inflated(checked(source), source.item.data_length)), uids.EXPLICIT_LE, tags)
        return scan_beginning(_first(checked(source)), syntax, tags)
    except BadContent:
        raise NoPath from None


def _first(pieces: Iterator[bytes]) -> bytes:
    data = bytearray()
    for piece in pieces:
        data += piece
        if len(data) >= CHUNK:
            break
    return bytes(data)
