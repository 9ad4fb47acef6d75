"""What trying a message says is what the door does: the same bytes, whatever the message, on both databases.

`BROKER_FULL=1` tries 10,000 messages on each, else 200.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.loops import shortly
from support.orders.intake import PEER, ZONE
from support.scale import FULL

from broker.hl7.mllp.server import Peer
from broker.hl7.tolerance import Tolerance
from broker.orders.core.context import StoryContext
from broker.orders.inbound.reception import AnswerKind, Interface
from broker.orders.listener import OrderDoor
from broker.orders.mapping.book import ProfileBook
from broker.orders.mapping.document import read
from broker.orders.mapping.profile import Profile
from broker.orders.trying import preview
from broker.store.db.database import Database
from broker.store.db.engine import savepoint

EXAMPLES = 10_000 if FULL else 200
PROFILES = {
    "plain": "",
    "lenient": """
[reading]
control_id = "made"
long_identifiers = "short"
unusable_uid = "make"
unusable_station = "default"
[policy]
start_missing = "unscheduled"
unknown_appointment = "create"
[[ignore]]
when = { type = "OML*" }
[[ignore]]
when = { "OBR-24.1" = "LAB" }
""",
}  # fmt: skip
INTERFACES = [
    Interface(name="usual"),
    Interface(name="orders", answers=AnswerKind.ORDER, processing_ids=frozenset({"P", "T"})),
    Interface(name="known", known=lambda application, facility: application == "RIS"),
    Interface(name="ours", receiving=frozenset({"BROKER"}), optional_fields=frozenset()),
    Interface(name="strict", tolerance=Tolerance(strict=True, charset="8859/1")),
    Interface(name="replaces", tolerance=Tolerance(replace=True, version="2.3")),
]
ORM = (
    "MSH|^~\\&|RIS|SITE|BROKER|RAD|20300101080000||ORM^O01|C1|P|2.3\nPID|1||PAT1^^^AUTH||TEST^ANNA||19700101|F\n"
    "PV1|1|O|WARD\nORC|NW|P1^RIS|F1^RIS||SC||1^^^20300115090000^^R||20300101080000\n"
    "OBR|1|P1^RIS|F1^RIS|CT1^CT ONE^99L||||||||||||||A1|R1|S1||||CT\nZDS|2.999.7.1^RIS^Application^DICOM"
)
OMI = (
    "MSH|^~\\&|RIS|SITE|BROKER|RAD|20300101080000||OMI^O23^OMI_O23|C2|P|2.5.1||||||UNICODE UTF-8\n"
    "PID|1||PAT1^^^AUTH^MR||MÜLLER^ZOÉ||19700101|F\nORC|NW|P1^RIS|F1^RIS||SC||||20300101080000\n"
    "TQ1|1||||||20300115090000||R\nOBR|1|P1^RIS|F1^RIS|CT1^CT ONE^99L\n"
    "IPC|A1|R1|2.999.7.1.1|S1|CT|PR1^PROTOCOL^99L|ROOM|LOC|CT01\nIPC|A1|R1|2.999.7.1.1|S2|MR|PR2^P^99L|ROOM|LOC|MR01"
)
MSH = "MSH|^~\\&|RIS|SITE|BROKER|RAD|20300101100000||{}|C3|P|2.5.1\n"
PID = "PID|1||PAT1^^^AUTH||TEST^ANNA||19700101|F\n"
ADT = MSH.replace("{}", "ADT^{}") + "EVN||20300101090000\n" + PID + "MRG|PAT2^^^AUTH\nPV1|1|I|WARD"
SIU = (
    MSH.replace("{}", "SIU^{}")
    + "SCH|T1^RIS||||||||||^^^20300118080000|"
    + "|" * 14
    + "Booked|P1^RIS|F1^RIS\n"
    + PID
    + "AIS|1||CT1^CT^99L|20300117101500\nAIG|1||E1^^L|CT\nAIL|1||R^L9"
)
ORU = MSH.format("ORU^R01") + PID + "OBR|1|P1^RIS|F1^RIS|CT1" + "|" * 21 + "F"
OML = MSH.format("OML^O21") + PID + "ORC|NW|P1\nOBR|1|P1||GLU" + "|" * 20 + "LAB"
SEVERAL = ORM + "\nORC|NW|P2\nOBR|2|P2||X\nOBR|3|P2||Y" + "|" * 20 + "LAB"
BASES = [
    *(ORM.replace("ORC|NW", f"ORC|{control}") for control in ("NW", "CA", "SC")),
    *(OMI.replace("ORC|NW", f"ORC|{control}") for control in ("NW", "XO")),
    *(ADT.format(event) for event in ("A08", "A40", "A01", "A04")),
    *(SIU.format(event) for event in ("S12", "S14", "S15")),
    *(OML, ORU, SEVERAL, MSH.format("ACK") + "MSA|AA|1"),
]
WORDS = [
    *(
        "",
        " ",
        '""',
        "AL",
        "NE",
        "ER",
        "SU",
        "al",
        "X",
        "T",
        "D",
        "2.2",
        "1.0",
        "2.5",
        "8859/1",
        "ASCII",
        "UNICODE UTF-8",
    ),
    *("MARTIAN", "GB18030", "~ISO IR87", "19700000", "20300230", "99999999999999999", "A" * 20, "A" * 70, "A" * 300),
    *("a^b&c~d", "\\F\\", "\\X41\\", "é", "Ж", "測試", "NW", "CA", "XO", "SC", "ZZ", "CT", "LAB", "not a uid", "1.2.3"),
    *("PAT1^^^AUTH~PAT9^^^OTHER", "\t", "\xa0"),
]
CODECS = ["utf-8", "cp1252", "gb18030", "shift_jis", "utf-16"]


class FixedDoor(OrderDoor):
    """A door with the clock and the random numbers of a preview."""

    at: datetime

    def _context(self, peer: Peer) -> StoryContext:
        return StoryContext(UUID(int=0), self.at, "UNASSIGNED")


class Undone:
    """A database that keeps nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def submit(self, unit: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        def run(connection: Any) -> Any:
            with savepoint(connection) as undo:
                result = unit(connection, *args, **kwargs)
                undo()
            return result

        return self._database.submit(run)


@cache
def profile(name: str) -> Profile:
    text = f'name = "{name}"\nextends = "ihe"\n{PROFILES[name]}'
    return ProfileBook({name: read(text, "test")}).named(name)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A message of a RIS with some of its fields, segments and bytes changed."""
    lines = draw(st.sampled_from(BASES)).split("\n")
    for _ in range(draw(st.integers(0, 4))):
        number = draw(st.integers(0, len(lines) - 1))
        kind = draw(st.sampled_from(["field", "field", "field", "drop", "again", "blank", "cut"]))
        if kind == "field":
            fields = lines[number].split("|")
            at = draw(st.integers(1, 18 if number == 0 else 24))
            fields += [""] * (at + 1 - len(fields))
            fields[at] = draw(st.sampled_from(WORDS))
            lines[number] = "|".join(fields)
        elif kind == "drop" and len(lines) > 1:
            del lines[number]
        elif kind == "again":
            lines.insert(number, lines[number])
        elif kind == "blank":
            lines[number] = " " + lines[number]
        else:
            lines[number] = lines[number][: draw(st.integers(0, len(lines[number])))]
    raw = (draw(st.sampled_from(["\r", "\r", "\r", "\n", "\r\n"])).join(lines) + "\r").encode(
        draw(st.sampled_from(CODECS + ["utf-8"] * 4)), "replace"
    )
    if draw(st.integers(0, 5)) == 0:
        at = draw(st.integers(0, len(raw)))
        raw = raw[:at] + draw(st.binary(max_size=4)) + raw[at + draw(st.integers(0, 3)) :]
    return draw(st.sampled_from([b"", b"", b"", b"\xef\xbb\xbf", b"\r\n", b" "])) + raw


def both(database: Database, raw: bytes, interface: Interface, used: Profile) -> tuple[bytes | None, bytes | None]:
    """What the door sends on an empty database, and what trying says that it sends."""
    tried = preview.preview(raw, used, ZONE, interface=interface)
    door = FixedDoor(
        Undone(database),
        interface,
        lambda _: used,
        zone=ZONE,
        default_station="UNASSIGNED",  # type: ignore[arg-type]
    )
    door.at = preview.moment(raw, interface, used, ZONE)
    return shortly(door.handle(raw, PEER)), tried.answer


@pytest.mark.timeout(7200)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(messages(), st.sampled_from(INTERFACES), st.sampled_from(sorted(PROFILES)))
@example(ORM.replace("\n", "\r").encode(), INTERFACES[1], "plain")
@example(OMI.replace("|P|", "|T|").replace("\n", "\r").encode(), INTERFACES[0], "plain")
def test_the_same_bytes(database: Database, raw: bytes, interface: Interface, name: str) -> None:
    if raw.lstrip(b"\xef\xbb\xbf\r\n\0 \t")[:3] in (b"FHS", b"BHS"):
        return
    sent, tried = both(database, raw, interface, profile(name))
    assert sent == tried


# the cases of `hl7 test`: processing id, character sets, blanks before segments, MSH-15, a byte order mark
@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (OMI.replace("|P|2.5", "|T|2.5").encode(), b"AR"),
        (OMI.replace("UNICODE UTF-8", "ASCII").encode(), b"A"),
        (OMI.replace("UNICODE UTF-8", "8859/1").encode(), b"AA"),
        (OMI.replace("\n", "\n ").encode(), b"AE"),
        (OMI.replace("|P|2.5.1|||", "|P|2.5.1||| |").encode(), b"AA"),
        (b"\xef\xbb\xbf" + OMI.encode(), b"AA"),
        (OMI.replace("|P|2.5.1|||", "|P|2.5.1|||AL|NE").encode(), b"CA"),
    ],
)
def test_a_file_is_read_as_its_bytes(database: Database, raw: bytes, code: bytes) -> None:
    (message,) = preview.messages_of(raw)
    sent, tried = both(database, message, INTERFACES[0], profile("plain"))
    assert sent == tried
    assert b"\rMSA|" + code in (sent or b"")


def test_a_file_of_frames_and_one_of_lines_hold_the_same_messages() -> None:
    framed = b"".join(b"\x0b" + text.replace("\n", "\r").encode() + b"\r\x1c\r" for text in BASES[:3])
    lines = "\n\n".join(BASES[:3]).encode()
    assert preview.messages_of(framed) == preview.messages_of(lines)
    assert preview.messages_of(b"nothing") == []
