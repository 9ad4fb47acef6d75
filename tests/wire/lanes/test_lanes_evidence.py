"""Checks whose fault a failure is: that of an object others pass by, or that of a destination that takes nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from typing import Any

import pytest
from support.delivery.hospital import Hospital, pacs
from support.dicom.objects import ct_slice
from support.loops import run, until
from support.queue.lanes import Queue, dispatching

from broker.delivery.patience import Patience
from broker.errors import PeerDoubtful, PeerFault
from broker.queue import evidence
from broker.queue.evidence import IN_A_ROW, Evidence
from broker.queue.feed import Feed
from broker.queue.retry_policy import RetryPolicy
from broker.store.db.database import Database

SLOW = RetryPolicy(first=30, last=60, give_up=1000)
BRIEF = RetryPolicy(first=0.02, last=0.05, give_up=2)


def refusing(*bad: str, status: int = 0xA700, taken: list[str] | None = None) -> Any:
    def answer(event: Any) -> int:
        instance = event.request.AffectedSOPInstanceUID
        if instance in bad:
            return status
        if taken is not None:
            taken.append(instance)
        return 0

    return answer


# --- the object is to blame ------------------------------------------------------------------------------


def test_an_object_that_only_others_pass_by_is_held_by_its_own_fault(hospital: Hospital) -> None:
    """Orthanc answers A700 to an object without Study Instance UID, for ever."""
    bad, *_ = hospital.slices(4)
    with pacs(hospital, refusing(bad.sop_instance)):
        hospital.until_settled("held", "done", "done", "done")
    assert hospital.queue.rows()[0]["failures"] == 4
    assert hospital.queue.errors()[0] == "status-A700"


def test_processing_failure_is_judged_as_well(hospital: Hospital) -> None:
    bad, *_ = hospital.slices(2)
    with pacs(hospital, refusing(bad.sop_instance, status=0x0110)):
        hospital.until_settled("held", "done")
    assert hospital.queue.errors()[0] == "status-0110"


def test_several_bad_objects_do_not_close_the_lane_for_good_ones(hospital: Hospital) -> None:
    bad = [item.sop_instance for item in hospital.slices(3)]
    hospital.slices(2)
    taken: list[str] = []

    async def work() -> None:
        delivery = hospital.delivery()
        async with dispatching(hospital.database, delivery):
            await until(lambda: len(taken) == 2, "the good ones that were there")
            hospital.slices(1)
            await until(lambda: hospital.states() == ["held"] * 3 + ["done"] * 3, "each as it deserves", 15)
        await delivery.close()

    with pacs(hospital, refusing(*bad, taken=taken)):
        run(work())


def test_an_object_that_is_alone_in_its_lane_ends_visibly(hospital: Hospital) -> None:
    """Nothing tells whether it is the object: after a seventh of the time to give up a person must look."""
    (bad,) = hospital.slices(1)
    with pacs(hospital, refusing(bad.sop_instance)):
        began = time.monotonic()
        hospital.until_settled("held", policy=BRIEF)
    assert time.monotonic() - began > 0.28
    assert hospital.queue.errors() == ["status-A700"]
    assert hospital.queue.rows()[0]["failures"] == 0


def test_an_object_that_fails_alone_shows_on_its_lane_and_keeps_nobody_waiting(hospital: Hospital) -> None:
    (bad,) = hospital.slices(1)

    async def work() -> None:
        delivery = hospital.delivery()
        async with dispatching(hospital.database, delivery, policy=SLOW):
            await until(lambda: hospital.queue.breaker()[2] == "status-A700", "the lane shows that it fails")
            hospital.slices(1)
            await until(lambda: hospital.states() == ["ready", "done"], "what comes later goes at once", 5)
            await until(lambda: hospital.queue.breaker() == (0, 0.0, ""), "the lane works")
        await delivery.close()

    with pacs(hospital, refusing(bad.sop_instance)):
        run(work())


# --- the destination is to blame -------------------------------------------------------------------------


def test_a_destination_that_takes_nothing_costs_no_object_a_fault(hospital: Hospital) -> None:
    hospital.slices(6)
    full = [True]
    with pacs(hospital, lambda event: 0xA700 if full[0] else 0):

        async def work() -> None:
            delivery = hospital.delivery()
            async with dispatching(hospital.database, delivery):
                await until(lambda: hospital.queue.breaker()[0] >= 3, "the lane is in trouble")
                full[0] = False
                await until(lambda: hospital.states() == ["done"] * 6, "all arrive")
            await delivery.close()

        run(work())
    assert [row["failures"] for row in hospital.queue.rows()] == [0] * 6


def test_what_is_new_is_tried_soon_at_a_destination_in_trouble() -> None:
    policy = RetryPolicy()
    assert [policy.pause(n) for n in (1, 2, 3, 9, 40)] == [15, 30, 60, 60, 60]


def test_items_in_doubt_for_long_do_not_make_trouble_of_a_lane() -> None:
    seen = Evidence()
    assert [seen.failed(job, cut=False) for job in range(IN_A_ROW)] == [False] * IN_A_ROW
    assert seen.troubled
    seen.passed(99)
    assert not seen.troubled
    assert [seen.failed(job, cut=False) for job in range(IN_A_ROW)] == [False] * IN_A_ROW  # its trouble proved nothing
    assert not seen.troubled
    seen.passed(98)
    assert [seen.failed(job, cut=False) for job in range(IN_A_ROW)] == [True] * IN_A_ROW


def test_a_destination_that_has_just_taken_others_is_in_trouble_after_more_in_a_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen, number = Evidence(), iter(range(10_000))

    def until_trouble() -> int:
        for tries in range(1, 1000):
            seen.failed(next(number), cut=False)
            if seen.troubled:
                return tries
        raise AssertionError("never in trouble")

    assert until_trouble() == IN_A_ROW  # nothing is known of it
    seen.passed(-1)
    assert until_trouble() == IN_A_ROW * 4
    seen.passed(-1)
    blamed = [next(number) for _ in range(10)]
    for job in blamed:
        assert not seen.failed(job, cut=False)
    seen.passed(-1)
    assert all(seen.failed(job, cut=False) for job in blamed)  # it is sent many bad objects
    assert until_trouble() == IN_A_ROW * 14
    seen.passed(-1)
    monkeypatch.setattr(evidence, "JUST", 0.0)  # others passed long ago
    assert until_trouble() == IN_A_ROW


def test_some_bad_objects_in_a_row_do_not_close_a_lane_that_works(database: Database, queue: Queue) -> None:
    async def handler(name: str, feed: Feed) -> None:
        while taken := await feed.take():
            for job in taken:
                if job.subject in range(1, 7):
                    feed.doubt(job, "status-A700")
                    if feed.troubled:
                        raise PeerDoubtful("out of resources", code="status-A700")
                else:
                    feed.done(job)

    async def work() -> None:
        queue.put(0)
        async with dispatching(database, handler, policy=SLOW) as dispatcher:
            await until(lambda: queue.states() == ["done"], "it works")
            queue.put(*range(1, 7))
            dispatcher.wake()
            await until(lambda: queue.errors()[1:] == ["status-A700"] * 6, "all are tried")
            queue.put(7)
            dispatcher.wake()
            await until(lambda: queue.states()[7] == "done", "what comes later goes at once", 5)

    run(work())


def test_what_passes_after_an_outage_says_nothing_of_a_try_before_it() -> None:
    seen = Evidence()
    assert not seen.failed(1, cut=True)
    seen.away()
    seen.passed(2)
    assert not seen.failed(1, cut=True)
    seen.passed(3)
    assert seen.failed(1, cut=True)


# --- who waits -------------------------------------------------------------------------------------------


def test_a_poison_object_costs_others_no_wait(hospital: Hospital) -> None:
    """Neither those behind it nor those that come after it has failed again and again."""
    poison, *_ = hospital.slices(4)

    def answer(event: Any) -> int:
        if event.request.AffectedSOPInstanceUID == poison.sop_instance:
            event.assoc.abort()
        return 0

    async def work() -> None:
        delivery = hospital.delivery()
        async with dispatching(hospital.database, delivery, policy=SLOW) as dispatcher:
            await until(lambda: hospital.states() == ["ready", "done", "done", "done"], "those behind it", 5)
            dispatcher.begin_afresh(["pacs"])  # it is due again, in the middle of others
            hospital.slices(3)
            await until(lambda: hospital.states()[1:] == ["done"] * 6, "those that come later", 5)
        await delivery.close()

    with pacs(hospital, answer):
        run(work())


def test_more_objects_in_doubt_than_a_batch_holds_go_behind_healthy_ones(database: Database, queue: Queue) -> None:
    """They are due for longer, again and again, and still cost those that come later no more than a few tries."""
    tried: list[int] = []

    async def handler(name: str, feed: Feed) -> None:
        while taken := await feed.take():
            for job in taken:
                tried.append(job.subject)
                if job.subject < 150:
                    feed.doubt(job, "status-A700")
                else:
                    feed.done(job)
                await asyncio.sleep(0)

    async def work() -> None:
        queue.put(*range(150))
        async with dispatching(database, handler) as dispatcher:
            await until(lambda: len(tried) > 300, "all are in doubt")
            before = len(tried)
            queue.put(*range(150, 170))
            dispatcher.wake()
            await until(lambda: queue.states()[150:] == ["done"] * 20, "the healthy ones are there", 10)
            last = max(place for place, subject in enumerate(tried) if subject >= 150)
            assert last - before < 20 + 12
            await until(lambda: queue.states()[:150] == ["held"] * 150, "those in doubt end visibly", 60)

    run(work())


def test_a_destination_that_ends_each_association_after_one_object_is_tried_again_at_once(hospital: Hospital) -> None:
    hospital.slices(12)
    stored: dict[int, int] = {}

    def answer(event: Any) -> int:
        stored[id(event.assoc)] = stored.get(id(event.assoc), 0) + 1
        if stored[id(event.assoc)] > 1:
            event.assoc.abort()
        return 0

    with pacs(hospital, answer) as associations:
        hospital.until_settled(*["done"] * 12, policy=SLOW)
        assert len(associations) <= 24
    assert [row["failures"] for row in hospital.queue.rows()] == [0] * 12


def test_a_lane_that_got_something_done_is_tried_again_at_once(database: Database, queue: Queue) -> None:
    async def handler(name: str, feed: Feed) -> None:
        taken = await feed.take()
        feed.done(taken[0])
        raise PeerFault("broke off")

    async def work() -> None:
        queue.put(*range(6))
        async with dispatching(database, handler, policy=SLOW):
            await until(lambda: queue.states() == ["done"] * 6, "all is done", 5)
        assert queue.breaker()[0] == 0

    run(work())


def test_a_peer_that_asks_to_be_left_alone_is_left_alone_even_after_it_took_something(
    database: Database, queue: Queue
) -> None:
    async def handler(name: str, feed: Feed) -> None:
        taken = await feed.take()
        feed.done(taken[0])
        fault = PeerDoubtful("later")
        fault.after = 20
        raise fault

    async def work() -> None:
        queue.put(1, 2)
        async with dispatching(database, handler):
            await until(lambda: queue.breaker()[0] == 1, "the breaker is open")
        assert queue.states() == ["done", "ready"]

    run(work())


def test_a_corrected_version_passes_the_bad_one_that_is_then_not_sent_over_it(hospital: Hospital) -> None:
    """Also where nothing else is sent there, so that nothing tells whose fault it was."""
    (bad,) = hospital.slices(1)
    good = hospital.take(ct_slice(2000, SOPInstanceUID=bad.sop_instance))
    assert good.data != bad.data
    sizes: list[int] = []

    def answer(event: Any) -> int:
        data = event.request.DataSet.getvalue()
        if len(data) <= len(bad.data):
            return 0xA700
        sizes.append(len(data))
        return 0

    with pacs(hospital, answer):
        hospital.until_settled("held", "done")
    assert len(sizes) == 1
    assert hospital.queue.errors() == ["newer-version-sent", ""]


# --- slow answers ----------------------------------------------------------------------------------------


def test_a_slow_destination_gets_each_object_twice_at_most_and_once_when_it_is_known(hospital: Hospital) -> None:
    """It answers after its time is up: the next try waits longer, and so do all once that was enough."""
    hospital.slices(3)
    copies: Counter[str] = Counter()

    def answer(event: Any) -> int:
        copies[event.request.AffectedSOPInstanceUID] += 1
        threading.Event().wait(0.5)  # it is as slow as that
        return 0

    async def work() -> None:
        delivery = hospital.delivery()
        async with dispatching(hospital.database, delivery, policy=RetryPolicy(0.02, 2, 1000)):
            await until(lambda: hospital.states() == ["done"] * 3, "all are there", 20)
            assert max(copies.values()) == 2
            new = hospital.slices(2)
            await until(lambda: hospital.states() == ["done"] * 5, "and what is new", 10)
            assert [copies[item.sop_instance] for item in new] == [1, 1]
        await delivery.close()

    with pacs(hospital, answer, answer_timeout=0.3):
        run(work())
    assert [row["failures"] for row in hospital.queue.rows()] == [0] * 5


def test_patience_grows_with_what_was_late_and_has_an_end() -> None:
    patience = Patience(60)
    assert [patience.for_one(1), patience.passed(1)] == [60, 60]
    assert [patience.for_one(1), patience.for_one(2)] == [120, 60]
    patience.answered(2, 300)  # it was not late: a long upload says nothing
    assert patience.seconds == 60
    patience.answered(1, 65)
    assert [patience.seconds, patience.for_one(3)] == [130, 130]
    assert [patience.passed(3) for _ in range(4)] == [130, 130, 240, 240]
