"""Conversations of senders with the HL7 door: frames, batches and noise, and what may be expected of the answers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

from fuzz import hl7_messages as messages
from fuzz.tree import havoc, pieces

VT, END = b"\x0b", b"\x1c\r"
BIG = 300_000  # bytes about which a large message has
LIMIT = 400_000  # bytes of a message at the door
_ID = re.compile(rb"[A-Za-z0-9-]{1,199}")
_CODE = re.compile(rb"(?:\A|\r)MSA\|([^|\r]*)\|([^|\r]*)")


@dataclass(frozen=True, slots=True)
class Talk:
    """What a sender says, in pieces as TCP brings them.

    `ids`: control ids that the answers must name, in this order, if no connection ends before; `taken`: those of orders
    that must be taken. `sound`: every frame is one, so that an order behind them is taken on the same connection.
    """

    says: tuple[bytes, ...]
    end: str
    ids: tuple[bytes, ...]
    taken: tuple[bytes, ...]
    sound: bool
    reads: int = 0


def talk(rng: Random, number: int) -> Talk:
    """A conversation of some frames."""
    said, ids, taken, sound = b"", [], [], True
    for place in range(rng.choice((1, 1, 1, 2, 2, 3, 6))):
        control = f"F{number}-{place}"
        payload, right = _payload(rng, number * 10 + place, control)
        frame, framed = _frame(rng, payload)
        framed = framed and not re.search(rb"[\x0b\x1c]", payload) and len(payload) <= LIMIT
        sound = sound and framed
        if sound and (named := expected(payload)) is not None:
            ids.append(named)
            taken += [named] if right else []
        if _closes(payload):
            sound = False
        said += frame
    end = rng.choice(("close", "close", "close", "silence", "reset"))
    reads = rng.choice((0,) * 20 + (1, 200))
    return Talk(tuple(pieces(rng, said)), end, tuple(ids), tuple(taken) if sound else (), sound and not reads, reads)


def alone(rng: Random, number: int) -> tuple[bytes, ...]:
    """One message, and the pieces in which its frame comes."""
    payload = _payload(rng, number, f"F{number}")[0]
    return (payload, *pieces(rng, _frame(rng, payload)[0]))


def expected(payload: bytes) -> bytes | None:
    """The control id that an answer to this message must have; None if it cannot be told, or silence is an answer.

    Written from HL7 2.5.1 §2.9 and §2.14 alone: an MSH in the usual separators, in plain characters, in original mode.
    """
    raw = payload.lstrip(b"\r\n\0 \t")
    line = re.split(rb"[\r\n]", raw, maxsplit=1)[0]
    if not line.startswith(b"MSH|^~\\&|") or len(line) > 4000 or not all(32 <= byte < 127 for byte in line):
        return None
    fields = line.split(b"|")
    fields += [b""] * (20 - len(fields))
    kind = fields[8].split(b"^")[0].split(b"~")[0].strip()
    if kind in (b"ACK", b"MCF") or fields[14].strip() or fields[15].strip() or not _ID.fullmatch(fields[9]):
        return None
    return fields[9] if fields[17].strip() in (b"", b"UNICODE UTF-8", b"8859/1", b"ASCII") else None


def answered(said: bytes) -> list[bytes]:
    """The answers in what a door said. Raises AssertionError for bytes that are no frames of HL7."""
    found = []
    position = 0
    while position < len(said):
        assert said[position : position + 1] == VT, "an answer without a start block"
        end = said.find(END, position)
        assert end > 0, "an answer without an end block"
        payload = said[position + 1 : end]
        assert payload[:3] in (b"MSH", b"FHS", b"BHS"), "an answer that is no message"
        assert VT not in payload, "an answer in an answer"
        found.append(payload)
        position = end + 2
    return found


def codes(answer: bytes) -> list[tuple[bytes, bytes]]:
    """MSA-1 and MSA-2 in an answer."""
    return _CODE.findall(answer)


def _closes(payload: bytes) -> bool:
    """Such bytes may end the connection: there is no MSH, so that nothing can be answered."""
    return not re.match(rb"[\xef\xbb\xbf\xff\xfe\r\n\0 \t]*(?:M|F|B)", payload)


def _payload(rng: Random, number: int, control: str) -> tuple[bytes, bool]:
    """A message or a batch, and whether it is an order that must be taken."""
    way = rng.randrange(20)
    if way < 3:
        return ("\r".join("|".join(line) for line in messages.good(number, control)) + "\r").encode(), True
    if way < 5:
        return _batch(rng, number, control), False
    segments = messages.sample(rng, control)
    if way == 5 and rng.randrange(12) == 0:
        return _big(rng, segments), False
    messages.mutate(rng, segments, rng.choice((0, 1, 1, 2, 3, 6, 15)))
    data = messages.encode(rng, segments)
    if way == 6:
        data = havoc(rng, data)
    elif way == 7:
        data = data[: rng.randrange(len(data) + 1)]
    elif way == 8:
        data = rng.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\0", b"\r\n", b"   ", b"MSH|", b"x")) + data
    return data, False


def _batch(rng: Random, number: int, control: str) -> bytes:
    """FHS {BHS {messages} BTS} FTS, or something that looks like it (HL7 2.5.1 §2.10.3)."""
    lines: list[bytes] = []
    head = b"|^~\\&|FUZZ|SITE|BROKER|RAD|2030||%s||B" + control.encode() + b"\r"
    if rng.randrange(2):
        lines.append(b"FHS" + head % rng.choice((b"", b"x" * 300, messages.CANARY.encode())))
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        lines.append(b"BHS" + head % b"")
        count = rng.choice((0, 1, 1, 2, 2, 12))
        for place in range(count):
            segments = messages.good(number * 100 + place, f"{control}-{place}") if rng.randrange(3) else None
            lines.append(messages.encode(rng, segments or messages.sample(rng, f"{control}-{place}")))
        lines.append(b"BTS|%d\r" % rng.choice((count, count, 0, -1, 10**12)))
    lines.append(
        rng.choice((b"FTS|1\r", b"FTS", b"", b"BTS\r", b"BHS|^~\\&\r" * 300, b"MSH|" * 3000, b"MSH|^~\\&|\r" * 1500))
    )
    if rng.randrange(4) == 0 and lines:
        lines.insert(rng.randint(0, len(lines)), lines[rng.randrange(len(lines))])
    data = b"".join(lines)
    return havoc(rng, data) if rng.randrange(5) == 0 else data


def _big(rng: Random, segments: messages.Segments) -> bytes:
    """Much of one thing."""
    unit = rng.choice((
        "NTE|1||" + "x" * 90 + "\r", "OBX|1|TX|A^B||x\r", "NTE|1||é\\.br\\\r", "OBR|1|A|B|C\r", "ORC|NW|1\r", "\r",
        "MSH|", "Z|\r",
        "PID|1||1^^^A~2^^^B\r", "|", "^", "~", "\\", "\\X41\\", "\x1b$B", "FHS|^~\\&\r", "x", "é", "山", "\n",
    ))  # fmt: skip
    text = "\r".join("|".join(line) for line in segments) + rng.choice(("\r", "", "\rNTE|1||", "\rZZZ|"))
    size = rng.choice((70_000, 100_000, BIG, BIG, LIMIT + 100_000))
    return (text + unit * (size // len(unit.encode()))).encode("utf-8", "replace")


def _frame(rng: Random, payload: bytes) -> tuple[bytes, bool]:
    """The bytes on the wire, and whether they are a frame as it should be."""
    way = rng.randrange(40)
    if way > 12 or not payload:
        return VT + payload + END, bool(payload)
    middle = rng.randrange(len(payload) + 1)
    return rng.choice((
        payload + END, VT + VT + payload + END, VT + payload + b"\x1c", VT + payload + b"\x1c\n",
        VT + payload + b"\x1c\x1c\r",
        VT + payload, b"noise" + VT + payload + END, b"\r\n" + VT + payload + END + b"\r\n", VT + END,
        VT + payload[:middle] + END + payload[middle:] + END, VT + payload[:middle] + b"\x1c" + payload[middle:] + END,
        VT + payload[:middle] + VT + payload[middle:] + END, havoc(rng, VT + payload + END), payload, rng.randbytes(30),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(40),
    )), False  # fmt: skip
