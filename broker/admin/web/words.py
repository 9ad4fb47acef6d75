"""Speaks the languages of the pages: sentences by gettext; numbers and times by the rules of Unicode CLDR.

English text is the msgid. French stands in `locale/fr/*.po`, one file for each page, which are read once at the start.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from gettext import c2py
from pathlib import Path

from babel import Locale
from babel.dates import format_datetime, format_timedelta
from babel.messages.pofile import read_po
from babel.numbers import format_decimal

from broker.model.wording import Instant, Lasting, units
from broker.model.wording import Sentence as Sentence  # pages take it from here

LOCALES = {"en": "en_GB", "fr": "fr_FR"}  # language of a page: the rules of its numbers and dates; both count to 24 h
_CATALOGUES = Path(__file__).parents[1] / "locale"
_PREFERENCES = 20  # of a browser that are looked at
_JUST_NOW = 5.0  # seconds


def counted(one: str, many: str, n: int, **values: object) -> Sentence:
    """A sentence that depends on a number `n`, in its singular and its plural."""
    return Sentence(one, {"n": n, **values}, many)


class Language:
    """What templates need to speak one language, with times in the zone of the site."""

    def __init__(self, code: str, zone: tzinfo) -> None:
        """`code`: a key of LOCALES."""
        self.code = code
        self._locale = Locale.parse(LOCALES[code])
        self._zone = zone
        self._texts: dict[str, tuple[str, ...]] = {}
        self._plural: Callable[[int], int] = c2py("n != 1")
        for file in sorted((_CATALOGUES / code).glob("*.po")):
            self._read(file)

    def _read(self, file: Path) -> None:
        with file.open("rb") as opened:
            catalogue = read_po(opened, locale=self.code)
        self._plural = c2py(catalogue.plural_expr)
        for entry in catalogue:
            if entry.id:
                texts = (entry.string,) if isinstance(entry.string, str) else tuple(entry.string or ())
                self._texts[entry.id if isinstance(entry.id, str) else entry.id[0]] = texts

    def gettext(self, text: str) -> str:
        """A text in this language, or as it is."""
        return self._texts.get(text, (text,))[0] or text

    def ngettext(self, one: str, many: str, n: int) -> str:
        """The text that goes with a number `n`."""
        texts = self._texts.get(one, (one, many) if self.code == "en" else ())
        return texts[self._plural(n)] if texts else many

    def say(self, sentence: Sentence) -> str:
        """A sentence with its values, each as this language writes it."""
        values = {key: self._value(value) for key, value in sentence.values.items()}
        if not sentence.many:
            return self.gettext(sentence.text) % values
        return self.ngettext(sentence.text, sentence.many, int(str(sentence.values["n"]))) % values

    def _value(self, value: object) -> object:
        """A value in a sentence: whole numbers are grouped, times stand on the clock of the site."""
        match value:
            case int():
                return self.number(value)
            case Sentence():
                return self.say(value)
            case Instant():
                return self.clock(value.at)
            case Lasting():
                return self.span(value.seconds)
        return value

    def number(self, value: float) -> str:
        """A number with its digits in groups."""
        return str(format_decimal(value, locale=self._locale))

    def moment(self, at: float) -> str:
        """Date and time of day of `at`, s since the epoch."""
        return str(format_datetime(self._local(at), "d MMM y, HH:mm:ss", locale=self._locale))

    def clock(self, at: float, now: float | None = None) -> str:
        """The time of day of `at`, s since the epoch; with the date if it is not that of today."""
        local, today = self._local(at), self._local(time.time() if now is None else now)
        pattern = "HH:mm" if local.date() == today.date() else "d MMM HH:mm"
        return str(format_datetime(local, pattern, locale=self._locale))

    def iso(self, at: float) -> str:
        """`at`, s since the epoch, for programs (ISO 8601, with the zone's offset)."""
        return self._local(at).isoformat(timespec="seconds")

    def ago(self, at: float, now: float | None = None) -> str:
        """How long ago (or in how long) `at` is, s since the epoch, in the largest unit that fits: `3 min ago`."""
        span = at - (time.time() if now is None else now)
        if abs(span) < _JUST_NOW:
            return self.gettext("just now")
        return str(
            format_timedelta(
                timedelta(seconds=span), add_direction=True, format="short", threshold=1, locale=self._locale
            )
        )

    def span(self, seconds: float) -> str:
        """A length of time: `38 min`, `2 h 5 min`, `12 d`."""
        days = self.gettext("d")
        return " ".join(f"{value} {days if unit == 'd' else unit}" for value, unit in units(seconds))

    def size(self, count: float) -> str:
        """A number of bytes in a unit that people read, in powers of 1000 as disks are sold."""
        units = (self.gettext("bytes"), self.gettext("kB"), self.gettext("MB"), self.gettext("GB"), self.gettext("TB"))
        power = 0
        while abs(count) >= 1000 and power < len(units) - 1:
            count, power = count / 1000, power + 1
        return f"{format_decimal(count, '#,##0.#' if power > 3 else '#,##0', locale=self._locale)} {units[power]}"

    def _local(self, at: float) -> datetime:
        return datetime.fromtimestamp(at, UTC).astimezone(self._zone)


def preferred(accept: str, known: Sequence[str] = tuple(LOCALES)) -> str:
    """The first language of an Accept-Language header (RFC 9110 12.5.4) that is known; else English."""
    wishes = []
    for place, wish in enumerate(accept.split(",")[:_PREFERENCES]):
        tag, _, quality = wish.partition(";")
        wishes.append((-_quality(quality), place, tag.strip().lower().partition("-")[0]))
    return next((code for weight, _, code in sorted(wishes) if code in known and weight), "en")


def _quality(text: str) -> float:
    """The weight of a wish, 0 to 1: `q=0.5`."""
    name, _, value = text.strip().partition("=")
    if not name:
        return 1.0
    try:
        return min(1.0, max(0.0, float(value))) if name.strip() == "q" else 1.0
    except ValueError:
        return 0.0
