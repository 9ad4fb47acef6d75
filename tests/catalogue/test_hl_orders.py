"""What becomes of orders that come wrong, twice, in parallel or in the wrong order: HL-11 … HL-15, CC-03."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from support.hl7.messages import group, message, rows, statuses, worklist
from support.peers.tools import wait_until
from support.scale import scaled
from support.service.site import Mllp, Site

Both = tuple[Site, str]


@pytest.fixture
def both(tmp_path: Path, database_url: str) -> Iterator[Both]:
    """A broker on SQLite and on PostgreSQL, with the URL of the latter."""
    url = database_url if database_url.startswith("postgresql") else ""
    with Site(tmp_path / "site", database_url=url) as running:
        yield running, url


def send(site: Site, *messages: str) -> list[str]:
    """Send on one connection; MSA-1 of each answer."""
    with Mllp(site.hl7) as connection:
        return [connection.exchange(one)["MSA"][0][1] for one in messages]


def at_once(site: Site, *messages: str) -> list[bytes]:
    """Each on a connection of its own, all at the same moment; the answers."""
    barrier = Barrier(len(messages))

    def one(text: str) -> bytes:
        with Mllp(site.hl7) as connection:
            barrier.wait(20)
            connection.send(text)
            return connection.receive()

    with ThreadPoolExecutor(len(messages)) as pool:
        return list(pool.map(one, messages))


def count(both: Both, query: str, **values: str) -> int:
    return int(rows(*both, query, **values)[0][0])


# --- HL-11: unknown trigger, unknown Z segment, wrong segment order, repeated OBR ---------------------------------


def test_hl_11_unknown_trigger_is_rejected(site: Site) -> None:
    with Mllp(site.hl7) as connection:
        answer = connection.exchange(message(group("NW", "QZ11A"), kind="ORM^Z99"))
    assert answer["MSA"][0][1] == "AR"
    assert answer["ERR"][0][2:4] == ["MSH^1^9", "201^Unsupported event code^HL70357"]
    assert statuses(site, "", "QZ11A") == []


def test_hl_11_unknown_segments_are_ignored_wherever_they_stand(site: Site) -> None:
    odd = group("NW", "QZ11B") + "ZZZ|anything|goes\r"
    assert send(site, message(odd, extra="ZXY|1\rXYZ||2\r")) == ["AA"]
    assert statuses(site, "", "QZ11B") == ["SCHEDULED"]


def test_hl_11_obr_before_orc_is_not_half_applied(site: Site) -> None:
    orc, obr, _ = group("NW", "QZ11C").split("\r")
    with Mllp(site.hl7) as connection:
        answer = connection.exchange(message(f"{obr}\r{orc}\r"))
    assert answer["MSA"][0][1] == "AE"
    assert statuses(site, "", "QZ11C") == []


def test_hl_11_repeated_obr_is_one_order_with_several_procedures(site: Site) -> None:
    again = "OBR|2|QZ11D^QZ||ABD^Abdomen^99LOC|||||||||||||||RP2|||||CT\r"
    assert send(site, message(group("NW", "QZ11D") + again)) == ["AA"]
    assert statuses(site, "", "QZ11D") == ["SCHEDULED", "SCHEDULED"]


def test_hl_11_one_bad_group_applies_nothing_of_the_message(site: Site) -> None:
    bad = message(group("NW", "QZ11E"), group("NW", "QZ11F", modality="NOPE"))
    assert send(site, bad) == ["AE"]
    assert statuses(site, "", "QZ11E") == statuses(site, "", "QZ11F") == []


# --- HL-12 … HL-14: the same message again -----------------------------------------------------------------------


def test_hl_12_the_same_message_on_parallel_connections_has_one_effect(both: Both) -> None:
    site, _ = both
    for number in range(scaled(4, 50)):
        text = message(group("NW", f"QZ12{number}"), control_id=f"HL12-{number}")
        answers = at_once(site, *[text] * 4)
        assert len(set(answers)) == 1
        assert b"\rMSA|AA|HL12-" in answers[0]
        with Mllp(site.hl7) as connection:
            connection.send(text)
            assert connection.receive() == answers[0]
        assert statuses(*both, f"QZ12{number}") == ["SCHEDULED"]
        query = "SELECT count(*) FROM message WHERE control_id = :id"
        assert count(both, query, id=f"HL12-{number}") == 1


def test_hl_13_the_same_control_id_with_another_body_is_applied(both: Both) -> None:
    site, _ = both
    assert send(site, *(message(group("NW", f"QZ13{letter}"), control_id="HL13") for letter in "AB")) == ["AA", "AA"]
    assert statuses(*both, "QZ13A") == statuses(*both, "QZ13B") == ["SCHEDULED"]
    assert rows(*both, "SELECT note FROM message ORDER BY id") == [("",), ("control-id-reused",)]


def test_hl_14_killed_after_the_commit_before_the_answer(both: Both) -> None:
    site, _ = both
    text = message(group("NW", "QZ14"), control_id="HL14")
    site.faults.write_text("hl7.answer kill:1\n", encoding="ascii")
    with Mllp(site.hl7) as connection:
        connection.send(text)
        assert connection.receive() == b""
    wait_until(lambda: not site.alive(), 20, "the broker is dead")
    site.faults.write_text("", encoding="ascii")
    site.start()
    assert send(site, text, text) == ["AA", "AA"]
    assert statuses(*both, "QZ14") == ["SCHEDULED"]
    assert count(both, "SELECT count(*) FROM message") == 1


# --- HL-15: cancel before new, change after completion --------------------------------------------------------------


def test_hl_15_a_cancel_before_its_order_ends_as_cancelled(both: Both) -> None:
    site, _ = both
    with Mllp(site.hl7) as connection:
        early = connection.exchange(message(group("CA", "QZ15")))
        assert (early["MSA"][0][1], early["ERR"][0][3][:3], early["ERR"][0][4]) == ("AA", "204", "W")
        late = connection.exchange(message(group("NW", "QZ15")))
        assert (late["MSA"][0][1], late["ERR"][0][3][:3], late["ERR"][0][4]) == ("AA", "204", "W")
    assert statuses(*both, "QZ15") == ["CANCELED"]
    assert "20300312" not in worklist(site, "QZ15")
    audited = "SELECT action FROM audit WHERE object_kind <> 'service' ORDER BY id"  # its start is written behind
    assert [row[0] for row in rows(*both, audited)] == ["order.parked", "order.created"]
    assert rows(*both, "SELECT after, cause FROM step_event") == [("CANCELED", "overtaken:CA")]


def test_hl_15_a_cancel_that_races_its_order_ends_as_cancelled(both: Both) -> None:
    site, _ = both
    for number in range(scaled(6, 100)):
        name = f"QZ15R{number}"
        answers = at_once(site, message(group("NW", name)), message(group("CA", name)))
        assert all(b"\rMSA|AA|" in answer for answer in answers)
        assert statuses(*both, name) == ["CANCELED"]


def test_hl_15_a_change_after_completion_is_recorded_without_effect(both: Both) -> None:
    site, _ = both
    assert send(
        site, message(group("NW", "QZ15C")), message(group("SC", "QZ15C", status="CM")),
        message(group("XO", "QZ15C", start="20310101090000")), message(group("CA", "QZ15C")),
    ) == ["AA"] * 4  # fmt: skip
    assert statuses(*both, "QZ15C") == ["COMPLETED"]
    assert rows(*both, "SELECT start_at FROM scheduled_step") == [("20300312103000",)]
    causes = [row[0] for row in rows(*both, "SELECT cause FROM step_event ORDER BY id")]
    assert causes == ["order:NW", "order:SC", "late:XO", "late:CA"]


def test_hl_15_told_by_an_application_answer(tmp_path: Path) -> None:
    """What an interface with `answers = "order"` says of orders that are not known and of one that is."""
    with Site(tmp_path / "site", config={"hl7": {"answers": "order"}}) as site, Mllp(site.hl7) as connection:
        unknown = connection.exchange(message(group("HD", "QZ15O")))
        assert (unknown["MSH"][0][8], unknown["MSA"][0][1], unknown["ORC"][0][1]) == ("ORR^O02^ORR_O02", "AE", "UH")
        known = connection.exchange(message(group("SN", "QZ15O")))
        assert (known["MSA"][0][1], known["ORC"][0][1]) == ("AA", "NA")
        (row,) = rows(site, "", "SELECT filler_number FROM service_request")
        assert known["ORC"][0][3] == row[0]


# --- CC-03: cancel against begin -------------------------------------------------------------------------------------


def test_cc_03_a_cancel_that_races_the_begin_has_a_defined_winner(both: Both) -> None:
    """Whoever is committed first wins: begun, the cancel is AE; cancelled, the begin is late. Both are audited."""
    site, _ = both
    for number in range(scaled(8, 200)):
        name = f"QZ03{number}"
        assert send(site, message(group("NW", name))) == ["AA"]
        pair = message(group("CA", name)), message(group("SC", name, status="IP"))
        cancel, begin = at_once(site, *(pair if number % 2 else pair[::-1]))[:: 1 if number % 2 else -1]
        assert b"\rMSA|AA|" in begin
        (status,) = statuses(*both, name)
        assert (status, b"\rMSA|AE|" in cancel) in {("STARTED", True), ("CANCELED", False)}
        query = (
            "SELECT a.action FROM audit a JOIN service_request r ON a.object_id = r.id AND a.object_kind = 'order' "
            "WHERE r.placer_number = :number ORDER BY a.id"
        )
        actions = [row[0] for row in rows(*both, query, number=name)]
        first, second = ("status", "refused") if status == "STARTED" else ("canceled", "late")
        assert actions == ["order.created", f"order.{first}", f"order.{second}"]
