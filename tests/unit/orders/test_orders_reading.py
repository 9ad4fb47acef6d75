"""`[reading]` of a profile: by which character set and version the messages of its senders are read."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from broker.errors import ConfigurationError
from broker.hl7 import acknowledgement
from broker.hl7.message import parse
from broker.hl7.tolerance import Tolerance
from broker.orders.inbound import reception
from broker.orders.inbound.reception import Examined, Interface
from broker.orders.mapping.book import ProfileBook
from broker.orders.mapping.document import read
from broker.orders.trying import examples, preview

INTERFACE = Interface(name="test")
PROFILE = """
name = "clinic"
extends = "ihe"
[senders]
match = [{{ application = "CLINIC" }}]
[reading]
{reading}
"""
EXAMPLE = r"""
[[example]]
name = "a name in the character set of the sender"
message = '''
MSH|^~\&|CLINIC|SITE|BROKER|RAD|202603120800||ORM^O01|E1|P|2.3||||||8859/1
PID|||12345||测试^小明
ORC|NW|P1
OBR|1|P1||CHEST^Chest||||||||||||||||||||CR
'''
[example.expect]
PatientName = "测试^小明"
"""


def book(reading: str, more: str = "") -> ProfileBook:
    """The built-in profiles and one that claims the sender CLINIC."""
    return ProfileBook({"clinic": read(PROFILE.format(reading=reading) + more, "test")})


def message(name: bytes, *, declared: str, sender: str = "CLINIC", version: str = "2.5.1") -> bytes:
    """An order in the bytes of `name`."""
    head = rf"MSH|^~\&|{sender}|SITE|BROKER|RAD|202603120800||ORM^O01|1|P|{version}||||||{declared}".encode()
    rest = b"PID|||12345||%s\rORC|NW|P1\rOBR|1|P1||CHEST^Chest||||||||||||||||||||CR\r" % name
    return head + b"\r" + rest


def examined(raw: bytes, profiles: ProfileBook, interface: Interface = INTERFACE) -> Examined:
    """What the door makes of a message."""
    found = reception.examine(raw, interface, profiles.choose, UTC)
    assert found is not None
    return found


def name_of(found: Examined) -> str:
    """The name of the patient of an accepted order."""
    assert found.code == "", found.conversion.findings
    return str(found.conversion.changes[0].patient.attributes["PatientName"])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("codec", "declared", "stated"),
    [
        ("gbk", "UNICODE UTF-8", "GB18030"), ("latin_1", "ASCII", "8859/1"), ("utf-8", "ASCII", "UNICODE UTF-8"),
        ("utf-8", "8859/1", "UNICODE UTF-8"), ("iso2022_jp", "8859/1", "~ISO IR87"), ("gbk", "", "GB18030"),
        ("gbk", "KLINGON", "GB18030"),
    ],
)  # fmt: skip
def test_a_profile_overrides_the_character_set_of_its_senders(codec: str, declared: str, stated: str) -> None:
    name = {"latin_1": "GARCÍA^JOSÉ", "utf-8": "MÜLLER^ZOÉ", "iso2022_jp": "試験^太郎"}.get(codec, "测试^小明")
    found = examined(message(name.encode(codec), declared=declared), book(f'charset = "{stated}"'))
    assert name_of(found).strip("=") == name
    assert not found.conversion.findings


def test_the_answer_is_in_the_set_of_the_profile_and_repeats_the_label_of_the_sender() -> None:
    raw = message("山".encode("gbk"), declared="8859/1").replace(b"|SITE|", "|医院|".encode("gbk"))
    found = examined(raw, book('charset = "GB18030"'))
    answer = acknowledgement.build(found.header, "AA", token=UUID(int=1), at=datetime(2026, 3, 12, tzinfo=UTC))
    assert "|医院|".encode("gbk") in answer
    assert parse(answer, Tolerance(override_charset="GB18030")).get("MSH-18") == "8859/1"


def test_other_senders_are_read_as_they_say_or_as_the_listener_does() -> None:
    profiles = book('charset = "GB18030"')
    raw = message("é".encode("latin_1"), declared="8859/1", sender="OTHER")
    assert name_of(examined(raw, profiles)) == "é"
    listener = replace(INTERFACE, tolerance=Tolerance(override_charset="8859/5"))
    assert name_of(examined(raw, profiles, listener)) == "щ"
    assert name_of(examined(message("山".encode("gbk"), declared="8859/1"), profiles, listener)).strip("=") == "山"


def test_what_does_not_fit_the_overriding_set_is_refused() -> None:
    found = examined(message(b"\xff\xff", declared="8859/1"), book('charset = "GB18030"'))
    assert (found.code, found.conversion.findings[0].location) == ("AE", "MSH^1^18")


def test_a_profile_overrides_the_version_of_its_senders() -> None:
    raw = message(b"DOE", declared="", version="1.0")
    assert examined(raw, book("")).code == "AR"
    found = examined(raw, book('version = "2.3"'))
    assert (found.code, found.header.version) == ("", (2, 3))


def test_a_profile_inherits_what_it_does_not_state() -> None:
    base = read(PROFILE.format(reading='charset = "GB18030"\nversion = "2.3"'), "test")
    own = read('name = "own"\nextends = "clinic"\n[reading]\nversion = "2.4"\n', "test")
    reading = ProfileBook({"clinic": base, "own": own}).named("own").reading
    assert (reading.charset, reading.version) == ("GB18030", "2.4")


@pytest.mark.parametrize(
    ("reading", "fault"),
    [
        ('charset = "KLINGON"', "reading: charset: KLINGON is no character set that is read"),
        ('version = "3.0"', "reading: version: a version of HL7 like 2.3.1 is needed"),
        ('encoding = "x"', "reading: unknown key encoding"),
        ("charset = 1", "reading: charset: texts is needed"),
    ],
)
def test_what_cannot_be_read_is_refused(reading: str, fault: str) -> None:
    with pytest.raises(ConfigurationError, match=fault):
        book(reading)


def test_an_example_is_text_that_the_sender_would_write_in_its_set() -> None:
    profiles = book('charset = "GB18030"', EXAMPLE)
    document = read(PROFILE.format(reading='charset = "GB18030"') + EXAMPLE, "test")
    assert not examples.run(examples.parse(document), profiles.named("clinic"))


def test_pasted_text_that_its_set_does_not_hold_stays_whole() -> None:
    text = message("山".encode(), declared="8859/1").decode()
    assert preview.as_bytes(text).decode("utf-8").split() == text.split()
