"""HL7 messages of every kind the broker takes, and how they go wrong: fields, segments, escapes, character sets.

They are those of the golden cases, so dialects of many makers, and orders of our own that are always right.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from random import Random

GOLDEN = Path(__file__).parents[1] / "golden" / "hl7"
CANARY = "Canary"
LONG = 100_000  # characters
Segments = list[list[str]]  # fields of each segment; MSH has its separators in fields 0 and 1, as `split` leaves them
OTHERS = (
    "ACK^A01",
    "MDM^T02",
    "DFT^P03",
    "QRY^A19",
    "ORM^O02",
    "ADT^A99",
    "SIU^S99",
    "^",
    "ORM",
    "",
    "ORM^O01^ORM^O01",
)
VALUES = (
    "", '""', " ", "0", "-1", "20260312", "20260230", "19700000", "00000000", "202603121060",
    "20260312103000.123456+0100",
    "20260312+9999", "99991231235959", "1e9", "M", "X", "CT", "CT~MR", "CT^", "^", "^^^^^^^^", "~", "~~~", "&", "&&&",
    "A&B&C",
    "NW", "CA", "XO", "DC", "SC", "CM", "RE", "OK", "HD", "RP", "IP", "A", "S", "STAT", "URG", "TS10",
    "1.2.840.10008.1",
    "1.2..3", "2.999." + "9" * 70, "Müller^Käthe", "山田^太郎", "Иванова^Анна", f"{CANARY}^Zoë", "x" * 17, "x" * 65,
    "x" * 251,
    "<script>alert(1)</script>", "=1+1", "%s%n{{7*7}}", "\u202eABC", "\u0000", "a\tb", "62,5|kg", "1\\.sk2\\20", "true",
    "10.0.0.1", "../../etc/passwd", "a" * 1000, "\\F\\\\S\\\\T\\\\R\\\\E\\", "\\X0D\\", "\\X1C0D\\", "\\X0d4d5348\\",
    "\\.br\\",
    "\\.sp99\\", "\\.sk99999999\\", "\\.in-5\\", "\\H\\b\\N\\", "\\Zx\\", "\\C2842\\", "\\MC6FCD4\\", "\\", "\\\\\\",
    "\\X", "\\XZZ\\", "\\X4\\",
)  # fmt: skip
CODECS = {
    "": "latin_1", "UNICODE UTF-8": "utf_8", "8859/1": "latin_1", "8859/2": "iso8859_2", "8859/5": "iso8859_5",
    "8859/15": "iso8859_15", "GB 18030-2000": "gb18030", "ISO IR87": "iso2022_jp", "ISO IR14": "shift_jis",
    "KS X 1001": "euc_kr",
    "UNICODE": "utf_16", "UNICODE UTF-16": "utf_16_le", "ASCII": "ascii", "BIG-5": "big5", "CNS 11643-1992": "big5",
    "WIN-1252": "cp1252",
    "~ISO IR87": "iso2022_jp", "8859/1~8859/5": "iso8859_5", "NONSENSE": "cp437",
}  # fmt: skip


@cache
def templates() -> tuple[str, ...]:
    """Messages of the golden cases, one segment on each line."""
    found = []
    for file in sorted(GOLDEN.glob("*.case")):
        parts = re.split(r"^== (.*)\n", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
        found += [
            text.strip("\n")
            for head, text in zip(parts[1::2], parts[2::2], strict=True)
            if head.startswith("message") and text.startswith("MSH|")
        ]
    return tuple(found)


def good(number: int, control: str) -> Segments:
    """An order that is taken: its numbers and its patient are its own."""
    text = (
        f"MSH|^~\\&|FUZZ|SITE|BROKER|RAD|20300312080000||ORM^O01|{control}|P|2.5||||||UNICODE UTF-8\n"
        f"PID|1||QZ{number}^^^SITE||{CANARY}^Zoë||19760229|F\n"
        f"ORC|NW|F{number}^FZ|||SC||^^^20300312103000\n"
        f"OBR|1|F{number}^FZ||THX^Thorax^99LOC||||||||||||||||||||CT"
    )
    return split(text)


def split(text: str) -> Segments:
    """A message in its fields."""
    return [line.split("|") for line in text.split("\n")]


def sample(rng: Random, control: str) -> Segments:
    """A message of a golden case under another control id."""
    segments = split(rng.choice(templates()))
    head = segments[0]
    head += [""] * (12 - len(head))
    head[9] = control
    if rng.randrange(2):
        for line in segments:
            if line[0] == "PID" and len(line) > 5:
                line[5] = f"{CANARY}^Zoë"
    return segments


def _value(rng: Random, segments: Segments) -> None:
    line = rng.choice(segments)
    first = 2 if line[0] == "MSH" else 1
    place = rng.randint(first, max(first, len(line) + 2))
    line += [""] * (place + 1 - len(line))
    value = rng.choice(VALUES)
    line[place] = value if line[0] != "MSH" else _of_sender(value)


def _of_sender(value: str) -> str:
    """A value without a patient's name: who sends a message stands in the log."""
    return value.replace(CANARY, "RIS").replace("Müller^Käthe", "RÖ^ßIS")


def _component(rng: Random, segments: Segments) -> None:
    line = rng.choice(segments)
    if len(line) > 3:
        place = rng.randrange(2 if line[0] == "MSH" else 1, len(line))
        parts = re.split(r"([~^&])", line[place])
        parts.insert(rng.randint(0, len(parts)), _of_sender(rng.choice((*VALUES, "^", "~", "&"))))
        line[place] = "".join(parts)


def _repeat(rng: Random, segments: Segments) -> None:
    line = rng.choice(segments)
    place = rng.randrange(len(line))
    if place and line[place] and line[0] != "MSH":
        line[place] = "~".join([line[place]] * rng.choice((2, 2, 2, 2, 3, 3, 3, 5, 20, 300)))


def _drop(rng: Random, segments: Segments) -> None:
    if len(segments) > 1:
        del segments[rng.randrange(len(segments))]


def _again(rng: Random, segments: Segments) -> None:
    line = rng.choice(segments)
    for _ in range(rng.choice((1, 1, 1, 1, 1, 1, 2, 2, 10, 60))):
        segments.insert(rng.randint(1, len(segments)), list(line))


def _swap(rng: Random, segments: Segments) -> None:
    one, other = rng.randrange(len(segments)), rng.randrange(len(segments))
    segments[one], segments[other] = segments[other], segments[one]


def _name(rng: Random, segments: Segments) -> None:
    rng.choice(segments)[0] = rng.choice(
        ("PID", "ORC", "OBR", "ZDS", "ZZZ", "MSH", "FHS", "BHS", "", "pid", "P", "MRG", "SCH", "AIS")
    )


def _cut(rng: Random, segments: Segments) -> None:
    line = rng.choice(segments)
    del line[rng.randint(1, len(line)) :]


def _long(rng: Random, segments: Segments) -> None:
    line = rng.choice(segments)
    size = rng.choice((300, 3000, 10_000))
    line.append(rng.choice(("x", "é", "\\F\\", "^", "~", "&", "^a~b", "\\X41\\", "\\")) * size)


def _head(rng: Random, segments: Segments) -> None:
    head = segments[0]
    head += [""] * (20 - len(head))
    place, values = rng.choice((
        (1, ("^~\\&", "^~\\", "^", "", "^~\\&#", "^^^^", "abcd", "~^\\&")), (8, OTHERS), (10, ("T", "D", "", "P^T",
        "X")),
        (11, ("", "2.1", "2.3.1", "2.5.1", "2.9", "3.0", "2", "2.5^USA", "v2.5")), (14, ("AL", "NE", "SU", "ER", " ",
        '""', "X")),
        (15, ("AL", "NE", "SU", "ER", " ", "x")), (17, tuple(CODECS)), (9, ("", " ", "x" * 20, "x" * 200, "a^b", "é",
        "\\F\\")),
        (2, ("", "x" * 250, "a^b^c")), (6, ("", "x")), (7, ("secret",)), (12, ("-1",)), (19, ("x" * 9000,)),
    ))  # fmt: skip
    head[place] = rng.choice(values)


MUTATIONS = (
    _value,
    _value,
    _value,
    _component,
    _component,
    _repeat,
    _drop,
    _again,
    _swap,
    _name,
    _cut,
    _long,
    _head,
    _head,
)


def mutate(rng: Random, segments: Segments, times: int) -> None:
    """Break a message in place; one that has grown long is not multiplied further."""
    for _ in range(times):
        if segments and sum(len(field) for line in segments for field in line) < LONG:
            rng.choice(MUTATIONS)(rng, segments)


def encode(rng: Random, segments: Segments) -> bytes:
    """The bytes: in the character set that MSH-18 names, or in another one; segments end by CR,
    or as some senders do."""
    end = rng.choice(("\r",) * 8 + ("\n", "\r\n", "\r\r"))
    text = end.join("|".join(line) for line in segments) + rng.choice((end,) * 4 + ("",))
    head = segments[0] if segments else []
    named = head[17] if len(head) > 17 else ""
    codec = CODECS.get(named, "utf_8") if rng.randrange(6) else rng.choice(tuple(CODECS.values()))
    return text.encode(codec, "replace")
