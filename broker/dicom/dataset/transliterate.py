"""Writes text in plain ASCII for devices whose character set cannot hold it.

Latin letters lose their marks (NFKD, `LETTERS`); Greek and Cyrillic follow the machine-readable travel documents
(ICAO 9303 part 3, tables for transliteration). What has no ASCII form is left out, never replaced by `?`.
"""

from __future__ import annotations

import unicodedata

# small letters of Latin script that have no decomposition, and what stands for each where it cannot be written
_LATIN = {"ß": "ss", "æ": "ae", "œ": "oe", "þ": "th"} | {
    letter: plain
    for plain, letters in {
        "a": "ⱥ", "b": "ƀɓƃ", "c": "ȼƈ", "d": "đðɖɗƌ", "e": "ɇəǝɛ", "f": "ƒ", "g": "ǥɠ", "h": "ħɦⱨ", "i": "ıɨ",
        "j": "ɉȷ", "k": "ƙĸ", "l": "łƚⱡ", "n": "ŋɲƞ", "o": "øɵɔ", "p": "ƥᵽ", "r": "ɍɽ", "s": "ʂ", "t": "ŧƭʈⱦ", "u": "ʉ",
        "v": "ʋ", "w": "ⱳ", "y": "ƴɏ", "z": "ƶȥ",
    }.items()
    for letter in letters
}  # fmt: skip
LETTERS = str.maketrans(_LATIN)
_PUNCTUATION = {"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "‐": "-", "•": "-"}
# signs that NFKD makes delimiters of, or the contrary
_SIGNS = str.maketrans({
    "＼": "/", "﹨": "/", "＾": " ", "＝": "-", "﹦": "-", "⁼": "-", "₌": "-", "≠": "!=",
})  # fmt: skip
_GREEK = {
    "α": "a", "β": "v", "γ": "g", "δ": "d", "ε": "e", "ζ": "z", "η": "i", "θ": "th", "ι": "i", "κ": "k", "λ": "l",
    "μ": "m", "ν": "n", "ξ": "x", "ο": "o", "π": "p", "ρ": "r", "σ": "s", "ς": "s", "τ": "t", "υ": "y", "φ": "f",
    "χ": "ch", "ψ": "ps", "ω": "o",
}  # fmt: skip
_CYRILLIC = {
    "а": "a", "б": "b", "в": "v", "г": "g", "д": "d", "е": "e", "ж": "zh", "з": "z", "и": "i", "к": "k", "л": "l",
    "м": "m", "н": "n", "о": "o", "п": "p", "р": "r", "с": "s", "т": "t", "у": "u", "ф": "f", "х": "kh", "ц": "ts",
    "ч": "ch", "ш": "sh", "щ": "shch", "ъ": "ie", "ы": "y", "э": "e", "ю": "iu", "я": "ia", "і": "i", "є": "ie",
    "ґ": "g", "љ": "lj", "њ": "nj", "ђ": "d", "ћ": "c", "џ": "dz", "ј": "j", "ѕ": "dz", "ь": "",
}  # fmt: skip

_TABLE: dict[str, str] = {**_PUNCTUATION}
for _small, _ascii in {**_LATIN, **_GREEK, **_CYRILLIC}.items():
    _TABLE[_small] = _ascii
    if len(_small.upper()) == 1:
        _TABLE.setdefault(_small.upper(), _ascii.capitalize())


def to_ascii(value: str) -> str:
    """`value` in ASCII; may be empty when nothing of it has an ASCII form (ideographs)."""
    if value.isascii():
        return value
    plain = "".join(_TABLE.get(c, c) for c in unicodedata.normalize("NFKD", value.translate(_SIGNS)))
    return plain.encode("ascii", "ignore").decode("ascii")


def name_to_ascii(value: str) -> str:
    """A person name in ASCII: the alphabetic component group, or the first group of which something is left."""
    for group in value.split("="):
        plain = to_ascii(group)
        if plain.strip("^ "):
            return plain
    return ""
