"""HL-01 to HL-10, HL-17 to HL-20, HL-22: what comes through the MLLP door, and what is answered."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.request
from collections.abc import Callable

import pytest
from support.loops import SOON
from support.peers.tools import wait_until
from support.scale import scaled
from support.service.abuse import State
from support.service.site import FS, VT, Mllp, Site, order

MIB = 1024**2
FRAME = scaled(1, 60)  # seconds, the deadline of a frame
Answer = dict[str, list[list[str]]]


def orm(
    number: int, *, charset: str = "", version: str = "2.3.1", name: bytes = b"DOE^JANE", more: bytes = b""
) -> bytes:
    """An ORM^O01 in bytes, with a field of free content and more segments at its end."""
    msh = f"MSH|^~\\&|RIS|SITE|BROKER|RAD|20300312||ORM^O01|H{number}|P|{version}||||||{charset}\r"
    obr = f"OBR|1|HP{number}||CHEST^Chest||||||||||||||HA{number}||||||CR\r"
    pid = f"PID|||P{number}||".encode() + name + b"\r"
    return msh.encode() + pid + f"ORC|NW|HP{number}|||||^^^20300312100000\r{obr}".encode() + more


def code(answer: Answer) -> str:
    return answer["MSA"][0][1]


def errors(answer: Answer) -> list[str]:
    """Location and code of each ERR, before and since version 2.5."""
    found = []
    for fields in answer.get("ERR", []):
        if fields[1]:
            found += [re.sub(r"\^?(\d+)&.*", r":\1", part) for part in fields[1].split("~")]
        else:
            found.append(f"{fields[2]}:{fields[3].split('^')[0]}")
    return found


def taken(site: Site, number: int, *, prefix: str = "HA") -> int:
    """Steps on the worklist of an order."""
    return int(site.rows("select count(*) from scheduled_step where accession = ?", f"{prefix}{number}")[0][0])


def document(site: Site, number: int, prefix: str = "HA") -> dict[str, object]:
    """The worklist answer of an order."""
    found = site.rows("select answer from scheduled_step where accession = ?", f"{prefix}{number}")
    assert len(found) == 1
    return dict(json.loads(found[0][0]))


def metric(site: Site, line: str) -> float:
    with urllib.request.urlopen(site.web + "/metrics", timeout=10) as answer:
        found = re.search(rf"^{re.escape(line)} (\S+)$", answer.read().decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def exchange(site: Site, message: bytes | str) -> Answer:
    with Mllp(site.hl7) as ris:
        return ris.exchange(message)


# --- framing ---------------------------------------------------------------------------------------------


def test_hl01_no_end_block_then_silence(site: Site) -> None:
    line = 'broker_hl7_connections_closed_total{reason="frame-timeout"}'
    before = metric(site, line)
    with Mllp(site.hl7, FRAME + 20) as silent:
        silent.socket.sendall(VT + orm(100))
        assert code(exchange(site, orm(101))) == "AA"  # others go on meanwhile
        assert silent.receive() == b""
    assert (taken(site, 100), taken(site, 101)) == (0, 1)
    assert metric(site, line) == before + 1


def test_hl02_endless_message(site: Site) -> None:
    """Cut at the limit of 10 MiB. The contract wants an answer: AE comes before the connection ends."""
    before, started = State.of(site), time.monotonic()
    chunk = b"x" * MIB
    with Mllp(site.hl7) as ris:
        ris.socket.sendall(VT + orm(200) + b"NTE|1||")
        try:
            for _ in range(scaled(64, 1024)):
                ris.socket.sendall(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        spent = time.monotonic() - started
        assert before.growth() < 48 * MIB
    assert spent < 20
    with Mllp(site.hl7) as ris:  # who stops soon enough reads the answer
        ris.socket.sendall(VT + orm(201) + b"NTE|1||" + chunk * 12)
        assert b"\rMSA|AE|H201" in ris.receive()
    assert (taken(site, 200), taken(site, 201)) == (0, 0)


def test_hl03_a_byte_now_and_then_does_not_move_the_deadline(site: Site) -> None:
    pause, started = threading.Event(), time.monotonic()
    with Mllp(site.hl7, FRAME + 20) as ris:
        ris.socket.sendall(VT)
        ris.socket.settimeout(scaled(0.05, 1))
        for byte in orm(300) * 10:
            try:
                ris.socket.sendall(bytes([byte]))
                if ris.socket.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                break
            pause.wait(0.001)
    assert FRAME * 0.9 < time.monotonic() - started < FRAME + 5
    assert taken(site, 300) == 0


def test_hl04_many_messages_on_one_connection_in_any_pieces(site: Site) -> None:
    with Mllp(site.hl7) as ris:
        for number in range(400, 500):
            answer = ris.exchange(orm(number))
            assert answer["MSA"][0][1:3] == ["AA", f"H{number}"]
        ris.socket.sendall(b"".join(VT + orm(number) + FS + b"\r" for number in (500, 501, 502)))
        data = b""
        while data.count(FS) < 3:
            data += ris.socket.recv(65536)
        assert re.findall(rb"\rMSA\|AA\|(H\d+)", data) == [b"H500", b"H501", b"H502"]
        frame = VT + orm(503) + FS + b"\r"
        answers = set()
        for at in range(1, len(frame)):
            ris.socket.sendall(frame[:at])
            ris.socket.sendall(frame[at:])
            answers.add(ris.receive())
        assert len(answers) == 1
        assert b"\rMSA|AA|H503" in answers.pop()
    assert taken(site, 503) == 1


NOISE = {
    "noise": (b"\r\n\0" + VT, FS + b"\r"), "doubled-start": (VT + VT, FS + b"\r"), "end-without-cr": (VT, FS),
    "lf-after-end": (VT, FS + b"\n"), "crlf": (VT, FS + b"\r\n"),
}  # fmt: skip


@pytest.mark.parametrize("fault", NOISE)
def test_hl05_faults_of_framing_are_forgiven_and_logged(site: Site, fault: str) -> None:
    number = 510 + list(NOISE).index(fault)
    before, after = NOISE[fault]
    line = f'broker_hl7_tolerated_total{{what="{"noise" if fault == "crlf" else fault}"}}'
    count = metric(site, line)
    with Mllp(site.hl7) as ris:
        for _ in range(2):
            ris.socket.sendall(before + orm(number) + after)
            assert b"\rMSA|AA|" in ris.receive()
    assert taken(site, number) == 1
    wait_until(lambda: metric(site, line) == count + 1, 5, "once for the connection")
    assert "hl7.tolerated" in site.logged()


def test_hl05_a_strict_listener_closes_instead(own_site: Callable[..., Site]) -> None:
    site = own_site(hl7={"strict": True})
    assert code(exchange(site, orm(520))) == "AA"
    for number, (fault, (before, after)) in enumerate(NOISE.items(), 521):
        with Mllp(site.hl7) as ris:
            ris.socket.sendall(before + orm(number) + after + (VT if fault == "crlf" else b""))
            answer = ris.receive()
        assert b"MSA" not in answer or fault == "crlf", fault  # there the message came before the fault
        assert taken(site, number) == (1 if b"MSA" in answer else 0)
    for number, message in enumerate((orm(530).replace(b"\r", b"\n"), orm(531).replace(b"\r", b"\r\r")), 530):
        answer = exchange(site, message)
        assert (code(answer), taken(site, number)) == ("AE", 0)
        assert errors(answer) == ["MSH^1^:100"]


def test_hl06_an_end_block_inside_a_message_is_no_positive_answer(site: Site) -> None:
    cut = orm(600, more=b"NTE|1||first" + FS + b"\rsecond\rNTE|2||third\r")
    with Mllp(site.hl7) as ris:
        answer = ris.exchange(cut)
        assert (code(answer), errors(answer)) == ("AE", ["MSH^1^:100"])
        assert code(ris.exchange(orm(601))) == "AA"
    assert (taken(site, 600), taken(site, 601)) == (0, 1)
    assert site.rows("select accepted from message where control_id = 'H600'") == [(0,)]  # kept as it came


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_hl07_line_feeds_end_segments(site: Site, own_site: Callable[..., Site], end: bytes) -> None:
    number = 700 + len(end)
    two = orm(number, more=f"ORC|NW|HQ{number}\rOBR|2|HQ{number}||HEAD^Head||||||||||||||HB{number}||||||CT\r".encode())
    assert code(exchange(site, two.replace(b"\r", end))) == "AA"
    assert (taken(site, number), taken(site, number, prefix="HB")) == (1, 1)
    exact = own_site(hl7={"segment_ends": "cr"})
    assert code(exchange(exact, two.replace(b"\r", end))) == "AE"
    assert taken(exact, number) == 0


def test_hl08_blank_segments_are_skipped(site: Site) -> None:
    for number, blank in enumerate((b"\r\r", b"\r \r", b"\r\t\r\r"), 800):
        assert code(exchange(site, orm(number).replace(b"\r", blank))) == "AA"
        assert taken(site, number) == 1


# --- text ------------------------------------------------------------------------------------------------

TEXTS: list[tuple[str, bytes, str, str | None]] = [  # MSH-18, bytes, code, the name on the worklist
    ("", b"LEF\xc8VRE^ZO\xc9", "AA", "LEFÈVRE^ZOÉ"), ("", "ZOÉ".encode(), "AA", "ZOÉ"),
    ("8859/1", b"ZO\xc9", "AA", "ZOÉ"), ("8859/15", b"\xa4^A", "AA", "€^A"), ("8859/2", b"\xa3\xf3d\xbc", "AA", "Łódź"),
    ("UNICODE UTF-8", "山田^太郎".encode(), "AA", "=山田^太郎"), ("UNICODE UTF-8", b"ZO\xc9", "AE", None),
    ("ASCII", b"ZO\xc9", "AE", None), ("KS X 1001", b"\xff\xff", "AE", None),
    ("8859/1", "ZOÉ".encode(), "AA", "ZOÉ"),
    ("~ISO IR87", b"YAMADA^TARO^^^^^L^A~\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B^^^^^L^I", "AA", "YAMADA^TARO=山田^太郎"),
    ("ISO IR14~ISO IR87", b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3", "AA", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
    ("~KS X 1001", b"HONG^A^^^^^L^A~\x1b$)C\xc8\xab^\xb1\xe6\xb5\xbf^^^^^L^I", "AA", "HONG^A=홍^길동"),
    ("GB 18030-2000", "王^小东".encode("gb18030"), "AA", "=王^小东"),
    ("BIG-5", "許^功蓋".encode("big5"), "AA", "=許^功蓋"),
    ("UNICODE UTF-16", b"DOE", "AE", None), ("EBCDIC", b"DOE", "AE", None),
]  # fmt: skip


@pytest.mark.parametrize(("number", "row"), list(enumerate(TEXTS, 900)))
def test_hl09_text_is_read_as_declared_or_refused_and_kept(
    site: Site, number: int, row: tuple[str, bytes, str, str | None]
) -> None:
    """UTF-8 under the name 8859/1 cannot be told from Latin-1 for sure: it is taken, and the answer warns."""
    charset, name, expected, stored = row
    raw = orm(number, charset=charset, name=name, version="2.5.1")
    answer = exchange(site, raw)
    assert code(answer) == expected
    assert site.rows("select raw from message where control_id = ?", f"H{number}") == [(raw,)]
    if stored is None:
        assert [error for error in errors(answer) if error.startswith("MSH^1^18:")] != []
        assert taken(site, number) == 0
        return
    found = document(site, number)["PatientName"]
    if charset == "8859/1" and name.isascii() is False and "Ã" in stored:
        assert "MSH^1^18:102" in errors(answer)
        assert [fields[4] for fields in answer["ERR"] if fields[2] == "MSH^1^18"] == ["W"]
    assert str(found).strip("=") == stored.strip("=")


def test_hl09_a_listener_that_assumes_and_replaces(own_site: Callable[..., Site]) -> None:
    site = own_site(hl7={"charset": "8859/5", "charset_errors": "replace"})
    assert code(exchange(site, orm(950, name="ИВАН".encode("iso8859_5")))) == "AA"
    assert document(site, 950)["PatientName"] == "ИВАН"
    answer = exchange(site, orm(951, charset="UNICODE UTF-8", name=b"ZO\xc9", version="2.5.1"))
    assert (code(answer), "MSH^1^18:102" in errors(answer)) == ("AA", True)
    assert document(site, 951)["PatientName"] == "ZO\ufffd"


def test_hl09_utf_16_is_refused(site: Site) -> None:
    with Mllp(site.hl7) as ris:
        ris.send(orm(952).decode().encode("utf-16-be"))
        assert b"\rMSA|AA" not in ris.receive()
    assert taken(site, 952) == 0


# --- the header ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "version", "expected"),
    [(1000, "2.9", "AA"), (1001, "2.5^USA", "AA"), (1002, "2.8.2", "AA"), (1003, "", "AR"), (1004, "3.0", "AR"),
     (1005, "abc", "AR"), (1006, "2.5.1^DEU&x", "AA")],
)  # fmt: skip
def test_hl10_versions(site: Site, number: int, version: str, expected: str) -> None:
    """A higher version with the same structure is taken (HL7 2.5.1 §2.8)."""
    answer = exchange(site, orm(number, version=version))
    assert (code(answer), taken(site, number)) == (expected, int(expected == "AA"))
    assert ("MSH^1^12:203" in errors(answer)) == (expected == "AR")


def test_hl10_separators_of_the_message(site: Site) -> None:
    odd = orm(1010).replace(b"|", b"#").replace(b"^", b"*").replace(b"&", b"$").replace(b"~", b"!").replace(b"\\", b"?")
    with Mllp(site.hl7) as ris:
        ris.send(odd)
        assert b"\rMSA#AA#H1010" in ris.receive()
    assert document(site, 1010)["PatientName"] == "DOE^JANE"
    for number, short in ((1011, b"MSH|^|"), (1012, b"MSH|^~|"), (1013, b"MSH|^~\\|")):
        assert code(exchange(site, orm(number).replace(b"MSH|^~\\&|", short))) == "AA"
        assert taken(site, number) == 1
    for useless in (b"MSH|^^^^|", b"MSH|ABCD|", b"MSH|^|~&|"):
        with Mllp(site.hl7) as ris:
            ris.send(orm(1014).replace(b"MSH|^~\\&|", useless))
            assert b"MSA|AA" not in ris.receive()
    assert taken(site, 1014) == 0


def test_hl10_fields_that_a_site_lets_out_or_wants(own_site: Callable[..., Site]) -> None:
    site = own_site(hl7={"optional_fields": ["MSH-4", "MSH-12"], "default_version": "2.5.1"})
    answer = exchange(site, orm(1020, version=""))
    assert (code(answer), answer["MSH"][0][11]) == ("AA", "2.5.1")
    missing = exchange(site, orm(1021).replace(b"|20300312||ORM", b"|||ORM"))
    assert (code(missing), errors(missing)) == ("AE", ["MSH^1^7:101"])
    assert code(exchange(site, orm(1022).replace(b"|SITE|", b"||"))) == "AA"


# --- size ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "more", "expected"),
    [
        (1700, b"".join(b"NTE|%d||%s\r" % (n, b"text" * 5) for n in range(20_000)), "AA"),
        (1701, b"ZZZ|" + b"~" * 100_000 + b"\r", "AE"), (1702, b"ZZZ|" + b"a~" * 9_000 + b"\r", "AA"),
        (1703, b"NTE|1||" + b"x" * 65_536 + b"\r", "AA"), (1704, b"ZZZ" + b"|" * 100_000 + b"\r", "AE"),
        (1705, b"NTE|1\r" * 60_000, "AE"),
    ],
)  # fmt: skip
def test_hl17_large_messages_soon_have_their_answer(site: Site, number: int, more: bytes, expected: str) -> None:
    started = time.monotonic()
    assert code(exchange(site, orm(number, more=more))) == expected
    assert time.monotonic() - started < SOON  # the catalogue's second, on a machine that others use too
    assert taken(site, number) == int(expected == "AA")


# --- who sends what to whom ------------------------------------------------------------------------------


def test_hl18_test_messages_and_messages_for_others(site: Site, own_site: Callable[..., Site]) -> None:
    """Which names are ours only the site knows: without `receiving`, MSH-5 and MSH-6 may be any."""
    for number, processing in enumerate("TDX", 1800):
        answer = exchange(site, orm(number).replace(b"|P|2.3.1", f"|{processing}|2.3.1".encode()))
        assert (code(answer), errors(answer), taken(site, number)) == ("AR", ["MSH^1^11:202"], 0)
    assert code(exchange(site, orm(1804).replace(b"|BROKER|RAD|", b"|X|Y|"))) == "AA"
    ours = own_site(hl7={"receiving": ["BROKER|RAD", "OTHER"], "processing_ids": ["P", "T"]})
    for number, to, expected in (
        (1810, b"BROKER|RAD", "AA"), (1811, b"BROKER|LAB", "AR"), (1812, b"OTHER|ANY", "AA"), (1813, b"|", "AR"),
    ):  # fmt: skip
        answer = exchange(ours, orm(number).replace(b"|BROKER|RAD|", b"|" + to + b"|"))
        assert (code(answer), taken(ours, number)) == (expected, int(expected == "AA"))
    assert code(exchange(ours, orm(1814).replace(b"|P|2.3.1", b"|T|2.3.1"))) == "AA"


MODES = {  # by MSH-15 and MSH-16: answers to a good message, to one with an error
    ("AL", "NE"): ("CA", "CE"), ("NE", "AL"): ("AA", "AE"), ("AL", "AL"): ("CA AA", "CA AE"), ("NE", "NE"): ("", ""),
    ("ER", "NE"): ("", "CE"), ("SU", "NE"): ("CA", ""), ("NE", "ER"): ("", "AE"), ("NE", "SU"): ("AA", ""),
    ("AL", "ER"): ("CA", "CA AE"), ("AL", "SU"): ("CA AA", "CE"), ("ER", "ER"): ("", "AE"), ("SU", "SU"): ("CA AA", ""),
    ("ER", "SU"): ("AA", "CE"), ("SU", "ER"): ("CA", "CA AE"), ("ER", "AL"): ("AA", "AE"),
    ("SU", "AL"): ("CA AA", "CA AE"),
}  # fmt: skip


def answers(ris: Mllp, message: bytes, last: int) -> bytes:
    """All that is sent for a message, up to the answer to the message behind it, which wants one."""
    ris.socket.sendall(VT + message + FS + b"\r" + VT + orm(last) + FS + b"\r")
    data = b""
    while b"|AA|H%d\r" % last not in data or not data.endswith(FS + b"\r"):
        piece = ris.socket.recv(65536)
        assert piece
        data += piece
    return data[: data.rindex(VT)]


def test_hl19_answers_in_all_modes_also_to_a_repeat(site: Site) -> None:
    with Mllp(site.hl7) as ris:
        for number, ((accept, application), expected) in enumerate(MODES.items(), 1900):
            good = orm(number).replace(b"|2.3.1|||", f"|2.3.1|||{accept}|{application}".encode())
            bad = good.replace(b"|H", b"|B").replace(b"|||P%d" % number, b"|||")
            for message, wanted in zip((good, bad), expected, strict=True):
                first = answers(ris, message, 1999)
                sent = " ".join(found.decode() for found in re.findall(rb"\rMSA\|(..)\|", first))
                assert sent == wanted, (accept, application)
                assert message != good or answers(ris, message, 1999) == first
            assert taken(site, number) == 1
        assert answers(ris, b"MSH|^~\\&|RIS|S|B|R|2030||ACK^O01|A1|P|2.5|||AL|AL\rMSA|AA|1\r", 1999) == b""


def test_hl20_escapes_are_undone_once_and_make_no_segments(site: Site) -> None:
    text = rb"a\X0D\MSH\F\b\.br\c\E\F\E\d\X0B1C\e\Zxx\f\ "
    answer = exchange(site, orm(2000, name=rb"O\S\NEIL\X0D\PID^J\R\ ", more=b"NTE|1||" + text + b"\r", version="2.5.1"))
    assert code(answer) == "AA"
    found = document(site, 2000)
    assert found["PatientName"] == "O NEIL PID^J~"
    assert str(found["RequestedProcedureComments"]).rstrip() == "a\rMSH|b\r\nc\\F\\de\\Zxx\\f\\"
    odd = b"H\\X0D\\MSA\\F\\AA\\"
    with Mllp(site.hl7) as ris:
        ris.send(orm(2001).replace(b"|H2001|", b"|" + odd + b"|"))
        raw = ris.receive()
    assert raw.count(b"\rMSA|") == 1
    assert b"\rMSA|AA|" + odd in raw


def test_hl22_senders_that_do_not_wait_for_the_answer(site: Site) -> None:
    lines = len(site.logged().splitlines())
    for _ in range(50):
        with Mllp(site.hl7) as ris:
            ris.send(orm(2200))
    wait_until(lambda: len(site.rows("select id from message where control_id = 'H2200'")) == 1, 10, "it is taken")
    assert code(exchange(site, orm(2200))) == "AA"  # the repeat that the sender owes itself
    assert len(site.rows("select id from message where control_id = 'H2200'")) == 1
    assert taken(site, 2200) == 1
    assert len(site.logged().splitlines()) - lines < 4 * 51


# --- batches ---------------------------------------------------------------------------------------------


def test_a_batch_is_answered_by_a_batch(site: Site) -> None:
    bhs = b"BHS|^~\\&|RIS|SITE|BROKER|RAD|2030||||B1\r"
    bad = orm(2301).replace(b"|||P2301", b"|||")
    with Mllp(site.hl7) as ris:
        ris.send(bhs + orm(2300) + bad + orm(2302) + b"BTS|3\r")
        answer = ris.receive().split(b"\r")
        assert [line[:3] for line in answer if line[:3] in (b"BHS", b"MSA", b"BTS")] == [b"BHS", *[b"MSA"] * 3, b"BTS"]
        assert [line.split(b"|")[1:3] for line in answer if line.startswith(b"MSA")] == [
            [b"AA", b"H2300"], [b"AE", b"H2301"], [b"AA", b"H2302"],
        ]  # fmt: skip
        assert b"BTS|3" in answer
        ris.send(bhs + orm(2300) + b"BTS|7\r")
        answer = ris.receive().split(b"\r")
        assert b"BTS|1|count of messages is wrong" in answer
        ris.send(bhs + b"MSH|^~\\&|\r" * 1001 + b"BTS|1001\r")
        assert b"\rMSA|AR|B1" in ris.receive()
        assert code(ris.exchange(orm(2303))) == "AA"
    assert [taken(site, number) for number in (2300, 2301, 2302)] == [1, 0, 1]
    assert "hl7.batch" in site.logged()


def test_a_reused_control_id_is_a_warning_or_refused(site: Site, own_site: Callable[..., Site]) -> None:
    first, second = order(2400, control_id="R1"), order(2401, control_id="R1")
    assert code(exchange(site, first)) == "AA"
    answer = exchange(site, second)
    assert (code(answer), errors(answer), answer["ERR"][0][4]) == ("AA", ["MSH^1^10:205"], "W")
    assert taken(site, 2401, prefix="A") == 1
    strict = own_site(hl7={"duplicates": "refuse"})
    assert code(exchange(strict, first)) == "AA"
    answer = exchange(strict, second)
    assert (code(answer), errors(answer), answer["ERR"][0][4]) == ("AE", ["MSH^1^10:205"], "E")
    assert code(exchange(strict, first)) == "AA"
    assert taken(strict, 2401, prefix="A") == 0
