"""UL-11, UL-14, UL-16, UL-18 to UL-20, UL-23: who knocks, how often, and how many stay."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psutil
import pytest
from support.dicom.raw import IMPLICIT, VERIFICATION, WORKLIST, RawScu
from support.loops import SOON
from support.peers.tools import wait_until
from support.scale import FULL, scaled
from support.service.abuse import echo_time
from support.service.site import Site

VERIFY = [(VERIFICATION, IMPLICIT)]
NODE = '[[node]]\nname = "good"\nkind = "dicom"\nae_title = "GOOD"\n'
ABORT, CLOSED = 7, 0

NEVER = [
    b" " * 16,
    b"\0" * 16,
    b"A\x1b[31mB",
    b"A\nB",
    b"A\r\nfake line",
    b"M\xfcnchen",
    b"A\\B",
    b"A\0B",
    b"\x7f",
]
MARKUP = b"<b>CT1</b>"  # PS3.5 6.2 allows it: it is remembered
UNKNOWN = [MARKUP, b"'; drop table x;", b"%s%s%n", b"{{7*7}}", b"../../etc/passwd"]


def told(site: Site, word: str) -> int:
    """Lines of the log with this word."""
    return sum(word in line for line in site.logged().splitlines())


@pytest.mark.parametrize("calling", [*NEVER, MARKUP])
def test_ul11_a_calling_ae_title_that_cannot_be_is_rejected(site: Site, calling: bytes) -> None:
    """Here everybody may call (`accept = "any"`), but not under markup or a name that PS3.5 6.2 does not allow."""
    lines = len(site.logged().splitlines())
    with RawScu(site.dicom) as stranger:
        assert stranger.associate(VERIFY, calling=calling) == (3, b"\0\1\1\3")
        assert stranger.pdu() == (CLOSED, b"")
    fresh = site.logged().splitlines()[lines:]
    assert [line for line in fresh if not line.isprintable() or "fake line" in line[:10]] == []


def test_ul11_unknown_titles_are_rejected_and_shown_inert(own_site: Callable[..., Site]) -> None:
    """Code of many languages is a valid AE title (any printable ASCII but the backslash): `accept = "any"` takes it.

    With `accept = "known"`, the default, it is rejected. Wherever it is shown it is text. Markup never enters, unless
    a node of the site is named so; it is remembered as any other.
    """
    site = own_site(NODE, dicom={"accept": "known"})
    for calling in (*UNKNOWN, *NEVER):
        with RawScu(site.dicom) as stranger:
            assert stranger.associate(VERIFY, calling=calling) == (3, b"\0\1\1\3"), calling
    assert echo_time(site.dicom) < SOON
    names = [(name,) for name in sorted(name.decode() for name in UNKNOWN)]
    wait_until(lambda: site.rows("select ae_title from knock order by 1") == names, 5, "the admin can see them")
    for page in ("/", "/nodes/knocking", "/api/v1/status", "/metrics"):
        answer = site.asked(page)
        assert (answer.status_code, "<b>CT1" in answer.text) == (200, False), page
    assert "&lt;b&gt;CT1&lt;/b&gt;" in site.asked("/nodes/knocking").text


@pytest.mark.parametrize(
    "called",
    [b"WRONG", b"", b"broker", b"../other", b"..\\other", b"BROKER\0X", b"BROKER2", b"BROKER/../x", b"*", b"\xff"],
)
def test_ul14_a_wrong_called_ae_title_is_rejected(site: Site, called: bytes) -> None:
    """There is one worklist, behind one AE title that is compared byte by byte: no name leads to another area."""
    with RawScu(site.dicom) as stranger:
        assert stranger.associate([(WORKLIST, IMPLICIT)], called=called) == (3, b"\0\1\1\7")
        assert stranger.pdu() == (CLOSED, b"")


def test_ul16_300_half_open_sockets_of_one_address_keep_nobody_else_out(own_site: Callable[..., Site]) -> None:
    site = own_site(association_request_timeout=30)
    assert site.process is not None
    process = psutil.Process(site.process.pid)
    files = process.num_fds()
    crowd = [RawScu(site.dicom) for _ in range(300)]
    for _ in range(5):
        assert echo_time(site.dicom, source="127.0.0.2") < 1
    assert process.num_fds() <= files + 20 + 10
    for peer in crowd:
        peer.close()
    wait_until(lambda: process.num_fds() <= files + 4, 10, "the door is free again")
    assert echo_time(site.dicom) < SOON


def knock_for(site: Site, seconds: float, source: str) -> list[int]:
    """An association request every 5 ms; the answers."""
    answers: list[int] = []
    until = time.monotonic() + seconds
    due = time.monotonic()
    pause = threading.Event()
    while (now := time.monotonic()) < until:
        with RawScu(site.dicom, source=source) as scanner:
            answers.append(scanner.associate(VERIFY, calling=b"SCANNER")[0])
        due += 0.005
        pause.wait(max(0.0, due - now))
    return answers


def test_ul18_a_scanner_is_held_off_and_others_do_not_notice(own_site: Callable[..., Site]) -> None:
    """Beyond the rate it waits, then hears of a temporary congestion (A-ASSOCIATE-RJ 2,3,1), with one line in the log.

    A rejection, and no silence: an honest device in a hurry learns that it may come again.
    """
    seconds = scaled(4, 60)
    site = own_site(associations_per_second=20)
    answers: list[int] = []
    scanners = [  # ten may wait at that rate
        threading.Thread(target=lambda: answers.extend(knock_for(site, seconds, "127.0.0.66"))) for _ in range(15)
    ]
    for scanner in scanners:
        scanner.start()
    times = []
    while any(scanner.is_alive() for scanner in scanners):
        times.append(echo_time(site.dicom, source="127.0.0.2"))
        scanners[0].join(0.2)
    for scanner in scanners:
        scanner.join()
    assert max(times) < 1
    taken, refused = answers.count(2), answers.count(3)
    assert taken <= 100 + 20 * (seconds + 2)
    assert refused > 100
    assert len(answers) == taken + refused
    assert told(site, "congestion") <= 1 + seconds // 60
    with RawScu(site.dicom, source="127.0.0.66") as scanner_again:
        kind, body = scanner_again.associate(VERIFY)
        assert (kind, body) == (3, b"\0\2\3\1") or kind == 2  # a token may have come meanwhile

    def welcome() -> bool:
        with RawScu(site.dicom, source="127.0.0.66") as peer:
            return peer.associate(VERIFY)[0] == 2

    wait_until(welcome, 5, "one that calms down is let in again")


def test_ul18_a_scanner_that_knows_no_name_writes_no_log_storm(own_site: Callable[..., Site]) -> None:
    site = own_site(NODE, dicom={"accept": "known"})
    for number in range(300):
        with RawScu(site.dicom, source="127.0.0.66") as scanner:
            assert scanner.associate(VERIFY, calling=f"X{number % 5}".encode())[0] == 3
    assert told(site, "dicom.refused") == 1
    assert site.rows("select count(*) from knock") == [(5,)]


def test_ul19_connect_and_close_by_a_health_check_costs_nothing(site: Site) -> None:
    count = scaled(3000, 100_000)
    lines, started = len(site.logged().splitlines()), time.monotonic()
    for number in range(count):
        RawScu(site.dicom, source=f"127.0.0.{70 + number % 10}").close()  # or the ports of one would be used up
        if number % (count // 10) == 0:
            assert echo_time(site.dicom) < SOON
    minutes = (time.monotonic() - started) / 60
    assert told(site, "Traceback") == 0
    fresh = site.logged().splitlines()[lines:]
    assert sum("127.0.0.7" in line for line in fresh) <= 10 * (1 + minutes)


@pytest.mark.parametrize("then", ["wait", "close", "reset"])
def test_ul20_other_protocols_are_closed_with_one_line_in_the_log(site: Site, then: str) -> None:
    source = {"wait": "127.0.0.81", "close": "127.0.0.82", "reset": "127.0.0.83"}[then]
    lines = len(site.logged().splitlines())
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)
    message = b"\x0bMSH|^~\\&|RIS|HOSPITAL|||||ADT^A01|1|P|2.5\rPID|1||CANARY||Canary^Carl\r\x1c\r"
    for words in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", hello, message, b"\r\n", b"SSH-2.0-x\r\n", bytes(100)):
        with RawScu(site.dicom, source=source) as stranger:
            stranger.send(words)
            if then == "wait":
                assert stranger.ended()[0] in (ABORT, CLOSED)
            elif then == "reset":
                stranger.reset()
    if then != "reset":  # a connection that is reset before it is accepted has no address any more
        wait_until(lambda: any(source in line for line in site.logged().splitlines()[lines:]), 5, "it is told")
    assert echo_time(site.dicom) < SOON
    fresh = [line for line in site.logged().splitlines()[lines:] if source in line]
    assert len(fresh) == 1 or (then == "reset" and not fresh)
    assert all("no_association" in line for line in fresh)


def test_ul23_idle_associations_cost_little_and_are_ended(own_site: Callable[..., Site]) -> None:
    """100 of them, all that one address may have. Then the idle timer ends each with an A-ABORT."""
    idle = scaled(6.0, 600.0)
    site = own_site(association_idle_timeout=idle)
    assert site.process is not None
    process = psutil.Process(site.process.pid)
    started = time.monotonic()
    crowd = [RawScu(site.dicom, timeout=idle + 20)]
    while crowd[-1].associate(VERIFY)[0] == 2 and len(crowd) < 100:
        crowd.append(RawScu(site.dicom, timeout=idle + 20))
    assert [peer.echo() for peer in crowd[:100]] == [0] * 100  # who asks nothing at all has less time
    with RawScu(site.dicom) as one_more:
        assert one_more.associate(VERIFY) == (3, b"\0\2\3\2")  # local limit
    assert echo_time(site.dicom, source="127.0.0.2") < 1
    before = process.cpu_times()
    threading.Event().wait(idle / 2)
    after = process.cpu_times()
    spent = after.user + after.system - before.user - before.system
    assert spent / (idle / 2) < 0.2
    for peer in crowd:
        assert peer.ended()[0] == ABORT
        peer.close()
    assert idle * 0.9 < time.monotonic() - started < idle + 3
    assert echo_time(site.dicom) < (2 if FULL else 1)
