"""Says in which character set a device is answered, and which texts of a step that set does not hold. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydicom.datadict import dictionary_VR

from broker.dicom.dataset import charset
from broker.dicom.dataset.charset import Charset
from broker.dicom.dataset.encoding import TEXT_VRS
from broker.dicom.dataset.transliterate import name_to_ascii, to_ascii
from broker.worklist.explain.conditions import Check, ShownCondition
from broker.worklist.query.matcher import Document

_SHOWN = 3  # attributes that are named


def written(document: Document, asked: Sequence[str], fixed: Sequence[str], default: str) -> Check:
    """In which set the answer goes out: `fixed` for the device, else that of the query (`asked`), else the default.

    What does not fit the last of them is transliterated, which hides nothing but may leave a text empty
    (`dicom.dataset.write`).
    """
    terms = tuple(fixed or asked or (default,))
    lacking = _lacking(document, terms)
    if not lacking:
        said = "all texts fit"
    elif asked and not fixed:
        said = f"{_named(lacking)} not in this set: {default} instead"
        lacking = _lacking(document, (default,))
        said += f", and {_plainly(lacking)}" if lacking else ""
    else:
        said = _plainly(lacking)
    return Check(ShownCondition.CHARSET, True, "\\".join(terms), said)


def _plainly(lacking: Mapping[str, str]) -> str:
    """What becomes of texts that do not fit, by what is left of them."""
    empty = {keyword: plain for keyword, plain in lacking.items() if not plain.strip("^= ")}
    rest = {keyword: plain for keyword, plain in lacking.items() if keyword not in empty}
    said = [f"{_named(rest)} written in plain letters, a name by its alphabetic writing"] if rest else []
    if empty:
        said.append(f"{_named(empty)} sent empty, as no letter of it can be written")
    return "; ".join(said)


def _named(keywords: Mapping[str, str]) -> str:
    names = list(keywords)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more} {'is' if len(names) == 1 else 'are'}"


def _lacking(document: Document, terms: Sequence[str]) -> dict[str, str]:
    """Attributes whose text is not in a set, with what is left of it in plain letters."""
    used = charset.lookup(terms) or charset.DEFAULT
    return {
        keyword: _plain(text, used, name=vr == "PN")
        for keyword, vr, text in _texts(document)
        if not text.isascii() and not _holds(used, text, name=vr == "PN")
    }


def _plain(text: str, used: Charset, *, name: bool) -> str:
    if name and (alphabetic := text.partition("=")[0]).strip("^ ") and _holds(used, alphabetic, name=True):
        return alphabetic
    return name_to_ascii(text) if name else to_ascii(text)


def _holds(used: Charset, text: str, *, name: bool) -> bool:
    try:
        used.encode(text, name=name)
    except UnicodeEncodeError:
        return False
    return True


def _texts(document: Mapping[str, object]) -> Iterator[tuple[str, str, str]]:
    """Keyword, VR and text of all attributes whose text depends on the character set, items included."""
    for keyword, value in document.items():
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, Mapping):
                yield from _texts(part)
            elif isinstance(part, str) and (vr := dictionary_VR(keyword)) in TEXT_VRS:
                yield keyword, vr, part
