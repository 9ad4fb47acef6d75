r"""Reads and writes bytes of a character set, named as `labels.codec_of` does.

The whole message is decoded before it is split: trail bytes of Shift-JIS, Big5 and GB18030 and the
7-bit bytes of JIS X 0208 may equal separators.
"""

from __future__ import annotations

import codecs

from broker.hl7 import work
from broker.hl7.text import iso2022
from broker.hl7.text.labels import EXTENSIBLE, codec_of
from broker.hl7.text.piecewise import decode

LATIN_1 = "broker-latin-1"  # an error handler


def _as_latin_1(error: UnicodeError) -> tuple[str | bytes, int]:
    """Five bytes have no meaning in Windows-1252: they keep their Latin-1 one, in both directions."""
    if isinstance(error, UnicodeDecodeError):
        return error.object[error.start : error.end].decode("latin_1"), error.end
    if isinstance(error, UnicodeEncodeError):
        return error.object[error.start : error.end].encode("latin_1", "replace"), error.end
    raise error


codecs.register_error(LATIN_1, _as_latin_1)
_WINDOWS = bytes(range(256)).decode("cp1252", LATIN_1)


def windows(data: bytes) -> str:
    """Text in Windows-1252, whatever the bytes are. The handler of errors would be slow for many of them."""
    return "".join([codecs.charmap_decode(data[a:b], "strict", _WINDOWS)[0] for a, b in work.pieces(len(data))])


def extensible(codec: str) -> bool:
    """True if escapes may designate other sets in its text."""
    return "+" in codec or codec in EXTENSIBLE


def read(data: bytes, codec: str, errors: str = "strict") -> str:
    """Text of bytes. Raises UnicodeDecodeError."""
    return iso2022.decode(data, codec, errors) if extensible(codec) else decode(data, codec, errors)


def encode(text: str, codec: str) -> bytes:
    """Bytes of an answer in the sender's character set; what it cannot hold becomes `?`."""
    if codec == "cp1252":
        return text.encode(codec, LATIN_1)
    return iso2022.encode(text, codec) if "+" in codec else text.encode(codec or "ascii", "replace")


def holds(codec: str, text: str) -> bool:
    """True if the set has all characters of a text."""
    return read(encode(text, codec), codec or "ascii", "replace") == text


def limited(text: str, names: tuple[str, ...]) -> str:
    """Text for a message of ours that declares `names`: characters of no set among them become `?`.

    What is read as JIS may hold JIS X 0212 too; what we write holds it only where it is declared.
    """
    codec = codec_of(names)
    parts = [part for part in codec.split("+") if part]
    if "jis" in parts and not any("159" in name for name in names):
        parts[parts.index("jis")] = "iso2022_jp"
        return "".join(c if any(_holds(part, c) for part in parts) else "?" for c in text)
    return read(encode(text, codec), codec or "ascii", "replace")


def _holds(codec: str, character: str) -> bool:
    try:
        character.encode(codec)
    except UnicodeEncodeError:
        return False
    return True
