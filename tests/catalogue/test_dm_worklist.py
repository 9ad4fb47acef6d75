"""DM-09, DM-10, DM-12, DM-13 and TM-05: queries that mean harm, match all, meet trouble, or ask around midnight."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydicom.dataset import Dataset
from support.dicom.raw import IMPLICIT, WORKLIST, RawScu, cancel_rq, find_rq, status_of
from support.hl7.messages import group, message
from support.loops import SOON
from support.peers.peers import association
from support.peers.tools import wait_until
from support.scale import scaled
from support.service.abuse import MIB, State, echo_time
from support.service.site import Mllp, Site, order
from support.store.outage import refusing
from support.worklist.worklist import DATE, SPS, TIME, dataset, document, encoded
from support.worklist.worklist_rows import insert_documents

from broker.store.db.database import Database

CAP, STEPS = scaled(500, 10_000), scaled(1200, 100_000)
COMMENT = "x" * scaled(8000, 400)  # answers up to the cap are more than the buffers of a connection hold (about 3 MB)


def asked(port: int, keys: dict[Any, Any]) -> tuple[list[Dataset], int]:
    """The answers of a query by pynetdicom, and its final status."""
    with association(port, [(WORKLIST, IMPLICIT)]) as made:
        assert made.is_established
        found = list(made.send_c_find(dataset(keys), WORKLIST))
    return [answer for _, answer in found[:-1]], int(found[-1][0].Status)


# --- DM-09 -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A broker with orders whose numbers hold what means something to SQL."""
    with Site(tmp_path_factory.mktemp("odd")) as one:
        with Mllp(one.hl7) as ris:
            for number, accession in enumerate(("50%OFF", "50xOFF", "A_1", "AB1", "O'NEIL", '"Q"'), 1):
                told = order(number).replace(f"|A{number}|", f"|{accession}|")
                assert ris.exchange(told)["MSA"][0][1] == "AA"
        yield one


ALL = {"50%OFF", "50xOFF", "A_1", "AB1", "O'NEIL", '"Q"'}


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("50%OFF", {"50%OFF"}), ("50%*", {"50%OFF"}), ("%", set()), ("_", set()), ("A_1", {"A_1"}), ("A_*", {"A_1"}),
        ("A?1", {"A_1", "AB1"}), ("O'NEIL", {"O'NEIL"}), ("O'*", {"O'NEIL"}), ("' OR '1'='1", set()),
        ("'; DROP TABLE scheduled_step; --", set()), ('"Q*', {'"Q"'}), ("[A]*", set()), ("*", ALL), ("?", set()),
        ("\\", ALL), ("C\\D", set()), ("AB1\\A_1", {"AB1", "A_1"}),
        ("??????", {"50%OFF", "50xOFF", "O'NEIL"}), ("*" * 10_240, ALL), ("?" * 10_240, set()),
        ("*?" * 5_120, set()), ("*F*" * 3_000, set()), ("50*" + "*" * 10_000 + "F", {"50%OFF", "50xOFF"}),
    ],
)  # fmt: skip
def test_dm_09_only_stars_and_question_marks_are_wild(key: str, found: set[str], odd: Site) -> None:
    started = time.monotonic()
    answers, status = asked(odd.dicom, {"AccessionNumber": key})
    assert time.monotonic() - started < SOON
    assert status == 0
    assert {str(answer.AccessionNumber) for answer in answers} == found
    assert len(odd.rows("select id from scheduled_step")) == len(ALL)


def test_dm_09_wild_cards_in_one_key_are_capped(odd: Site) -> None:
    assert asked(odd.dicom, {"AccessionNumber": ["A*"] * 64})[1] == 0
    answers, status = asked(odd.dicom, {"AccessionNumber": ["A*"] * 65})
    assert (answers, status) == ([], 0xA900)


# --- DM-10 -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A broker with very many steps."""
    one = Site(tmp_path_factory.mktemp("full"), config={"worklist": {"max_answers": CAP}})
    one.data.mkdir()
    opened = Database(f"sqlite:///{one.data / 'broker.db'}")
    stored = [document(AccessionNumber=f"A{number}", RequestedProcedureComments=COMMENT) for number in range(STEPS)]
    opened.submit(insert_documents, stored).result()
    opened.close()
    with one:
        yield one


EVERYTHING = encoded(
    {"AccessionNumber": "", "PatientName": "", "PatientID": "", "RequestedProcedureComments": "", SPS: [{}]}
)


def statuses(modality: RawScu) -> Iterator[int]:
    """Of each response, up to the final one."""
    while True:
        kind, body = modality.pdu()
        assert kind == 4
        if body[5] & 1:
            status = status_of(body)
            yield status
            if status not in (0xFF00, 0xFF01):
                return


def test_dm_10_all_of_a_long_list_is_capped_and_memory_stays_flat(full: Site) -> None:
    echo_time(full.dicom)
    with RawScu(full.dicom, timeout=120) as modality:
        assert modality.associate([(WORKLIST, IMPLICIT)])[0] == 2
        modality.send(find_rq(1, EVERYTHING))
        assert list(statuses(modality)) == [0xFF00] * CAP + [0xA700]
        before = State.of(full)
        for number in range(2, 5):
            modality.send(find_rq(number, EVERYTHING))
            assert sum(status == 0xFF00 for status in statuses(modality)) == CAP
        assert before.growth() < 16 * MIB
        assert echo_time(full.dicom, source="127.0.0.9") < 2


@pytest.mark.parametrize("after", [0, 1, 20])
def test_dm_10_a_cancel_ends_it_within_a_second(after: int, full: Site) -> None:
    with RawScu(full.dicom, timeout=30) as modality:
        assert modality.associate([(WORKLIST, IMPLICIT)])[0] == 2
        for _ in range(5):
            modality.send(find_rq(7, EVERYTHING))
            seen = statuses(modality)
            for _ in range(after):
                assert next(seen) == 0xFF00
            started = time.monotonic()
            modality.send(cancel_rq(7))
            rest = list(seen)
            assert time.monotonic() - started < SOON
            if rest[-1] == 0xFE00:
                break
            assert rest == [0xFF00] * (CAP - after) + [0xA700]  # all had left before the cancel came
        assert rest[-1] == 0xFE00
        assert len(rest) < CAP - after
        modality.send(find_rq(8, encoded({"AccessionNumber": "A5"})))  # nothing of the old query comes after it
        assert list(statuses(modality)) == [0xFF00, 0]


# --- DM-12 -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_dm_12_without_a_database_the_answer_is_trouble_and_never_an_empty_list(
    tmp_path: Path, database_url: str
) -> None:
    """A700 whatever is asked for, also where nothing would be found; then the list again. No copy is kept."""
    with Site(tmp_path / "site", config={"worklist": {"outage_copy_age": 0}}, database_url=database_url) as site:
        with Mllp(site.hl7) as ris:
            assert ris.exchange(order(1))["MSA"][0][1] == "AA"
        answers, status = asked(site.dicom, {"PatientID": ""})
        assert (len(answers), status) == (1, 0)
        with refusing(database_url):
            for keys in ({"PatientID": ""}, {"PatientID": "NOBODY"}):
                assert asked(site.dicom, keys) == ([], 0xA700)
        wait_until(lambda: asked(site.dicom, {"PatientID": ""})[1] == 0, 20, "the worklist is back")
        assert len(asked(site.dicom, {"PatientID": ""})[0]) == 1


# --- DM-13 -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="more than one worker is for Linux")
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_dm_13_a_process_that_a_query_kills_takes_nobody_with_it(tmp_path: Path, database_url: str) -> None:
    """No query is known that crashes a worker, so one is shot while it serves: the others serve, and it comes again."""
    with Site(tmp_path / "site", config={"service": {"workers": 2}}, database_url=database_url) as site:
        with Mllp(site.hl7) as ris:
            assert ris.exchange(order(1))["MSA"][0][1] == "AA"
        assert site.process is not None
        first = psutil.Process(site.process.pid)
        held = [RawScu(site.dicom, timeout=20) for _ in range(16)]  # the kernel spreads them over both processes
        try:
            for modality in held:
                assert modality.associate([(WORKLIST, IMPLICIT)])[0] == 2
            victim = next(child for child in first.children() if child.net_connections("tcp"))
            wait_until(lambda: len(victim.net_connections("tcp")) > 1, 20, "it serves somebody")
            victim.send_signal(signal.SIGSEGV)
            wait_until(lambda: "worker.died" in site.logged(), 20, "the crash is noticed and counted")
            served = [_serves(modality) for modality in held]
            assert 0 < served.count(True) < len(held)  # those of the dead process only are lost
            wait_until(lambda: site.logged().count("worker.ready") == 2, 30, "a new one is up")
            assert asked(site.dicom, {"PatientID": ""})[1] == 0
        finally:
            for modality in held:
                modality.close()


def _serves(modality: RawScu) -> bool:
    try:
        modality.send(find_rq(1, encoded({"PatientID": ""})))
        kind, _ = modality.pdu()
    except OSError:
        return False
    return kind == 4


# --- TM-05 -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def midnight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A broker for Zürich on a machine whose clock is New Zealand's, with steps around a midnight."""
    one = Site(tmp_path_factory.mktemp("midnight"))
    one.environment["TZ"] = "Pacific/Auckland"
    starts = {  # as the RIS sends them: with the offset of the site, of Greenwich, of another office, with none
        "LATE": "20300311235959+0100", "EARLY": "20300312000001", "UTC": "20300311230100+0000",
        "WEST": "20300311175800-0500", "NOON": "20300312120000",
    }  # fmt: skip
    with one:
        with Mllp(one.hl7) as ris:
            for name, start in starts.items():
                assert ris.exchange(message(group("NW", name, start=start)))["MSA"][0][1] == "AA"
        yield one


@pytest.mark.parametrize(
    ("day", "clock", "found"),
    [
        ("20300311", "", ["WEST", "LATE"]),
        ("20300312", "", ["EARLY", "UTC", "NOON"]),
        ("20300311-20300312", "2359-0000", ["LATE", "EARLY"]),
        ("20300311-20300312", "235959-000001", ["LATE", "EARLY"]),
        ("20300311-", "2359-", ["LATE", "EARLY", "UTC", "NOON"]),
        ("-20300312", "-0000", ["WEST", "LATE", "EARLY"]),
        ("20300311-20300312", "1200-", ["WEST", "LATE", "NOON"]),  # unlike forms: each for itself
        ("", "0000-0001", ["EARLY", "UTC"]),
        ("", "2359-0001", []),
    ],
)
def test_tm_05_today_is_the_day_of_the_site(day: str, clock: str, found: Sequence[str], midnight: Site) -> None:
    answers, status = asked(
        midnight.dicom, {"PlacerOrderNumberImagingServiceRequest": "", SPS: [{DATE: day, TIME: clock}]}
    )
    assert status == 0
    assert [str(answer.PlacerOrderNumberImagingServiceRequest).split("^")[0] for answer in answers] == list(found)
