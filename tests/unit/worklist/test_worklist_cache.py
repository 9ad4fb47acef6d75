"""What is remembered of the same request: never stale, never more than allowed."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from dataclasses import replace

import pytest
from support.worklist.worklist import IMPLICIT, SPS, document, query, read
from unit.worklist.test_worklist_scp import _Database, _Request, _steps

from broker import telemetry
from broker.store.worklist.candidates import Criteria, Found
from broker.worklist.answer import cache
from broker.worklist.answer.cache import AnswerCache, PreparedQuery
from broker.worklist.answer.encoder import AnswerEncoder
from broker.worklist.scp import WorklistService

KEYS = {"AccessionNumber": "", SPS: [{"Modality": "CT"}]}


def _asked() -> PreparedQuery:
    asked = query(KEYS)
    return PreparedQuery(asked, asked, Criteria(), AnswerEncoder(asked, IMPLICIT, "ISO_IR 192"))


def _found(service: WorklistService, request: _Request) -> list[str]:
    asyncio.run(service.find(request))  # type: ignore[arg-type]
    assert request.statuses()[-1] == 0
    return [str(read(data).AccessionNumber) for _, data, _ in request.sent if data is not None]


def _changed(one: Found, **values: object) -> Found:
    return replace(one, revision=one.revision + 1, answer=json.dumps(document(**values)))


def test_the_same_request_is_answered_by_what_the_steps_are_now() -> None:
    database = _Database(_steps(3))
    service = WorklistService(database, max_answers=100, charset="ISO_IR 192")  # type: ignore[arg-type]
    assert _found(service, _Request(KEYS)) == ["A1", "A2", "A3"]
    first = _Request(KEYS)
    database.found = [replace(one, answer="") for one in database.found]  # as the store leaves out what is known
    assert _found(service, first) == ["A1", "A2", "A3"]
    database.found[1] = _changed(database.found[1], AccessionNumber="B2")
    assert _found(service, _Request(KEYS)) == ["A1", "B2", "A3"]
    database.found[0] = _changed(database.found[0], step={"Modality": "MR"})
    assert _found(service, _Request(KEYS)) == ["B2", "A3"]
    database.found[2] = replace(database.found[2], revision=9, answer="{")  # broken: not what it was before
    assert _found(service, _Request(KEYS)) == ["B2"]


def test_answers_of_steps_that_are_no_longer_found_are_forgotten() -> None:
    database, told = _Database(_steps(20)), telemetry.CACHE_BYTES.labels("worklist-answers")
    service = WorklistService(database, max_answers=100, charset="ISO_IR 192")  # type: ignore[arg-type]
    before = told._value.get()
    assert len(_found(service, _Request(KEYS))) == 20
    held = told._value.get() - before
    database.found = database.found[15:]
    assert len(_found(service, _Request(KEYS))) == 5
    (prepared,) = service._cache._prepared.values()
    assert prepared.answers.keys() == {one.id for one in database.found}
    assert 0 < told._value.get() - before < held / 2
    assert told._value.get() - before == service._cache.size


def test_another_request_has_answers_of_its_own() -> None:
    service = WorklistService(_Database(_steps(1)), max_answers=100, charset="ISO_IR 192")  # type: ignore[arg-type]
    full, bare = _Request({**KEYS, "PatientName": ""}), _Request(KEYS)
    for request in (full, bare, _Request({**KEYS, "PatientName": ""})):
        _found(service, request)
    assert "PatientName" in read(full.sent[0][1] or b"")
    assert "PatientName" not in read(bare.sent[0][1] or b"")


def test_bytes_are_bounded_and_the_oldest_request_goes_first() -> None:
    kept, told = AnswerCache(10_000), telemetry.CACHE_BYTES.labels("worklist-answers")
    others = told._value.get()
    for name in (b"a", b"b", b"c"):
        kept.add((name, IMPLICIT), _asked())
        kept.keep((name, IMPLICIT), {step: (1, bytes(300)) for step in range(9)})
        assert told._value.get() - others == kept.size
    assert kept.get((b"a", IMPLICIT)) is None
    assert kept.get((b"b", IMPLICIT)) is not None
    assert 0 < kept.size <= 10_000
    assert kept.get((b"c", IMPLICIT)) is not None
    kept.keep((b"c", IMPLICIT), {0: (2, bytes(20_000))})  # alone too large
    assert kept.size == 0


def test_what_is_understood_of_requests_counts_too() -> None:
    kept = AnswerCache(1_000_000)
    tracemalloc.start()
    try:
        for number in range(50):
            values = "\\".join(f"{number:02}{value:02}" for value in range(99))
            asked = query({0x00190000 | 0x1000 + tag: ("LO", "") for tag in range(300)} | {"AccessionNumber": values})
            made = PreparedQuery(asked, asked, Criteria(), AnswerEncoder(asked, IMPLICIT, "ISO_IR 192"))
            kept.add((number.to_bytes(2) * 1500, IMPLICIT), made)
            del asked, made
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert 0 < kept.size <= 1_000_000
    assert held < 2_000_000  # else 5 MB


def test_requests_and_their_answers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAX_REQUESTS", 3)
    monkeypatch.setattr(cache, "MAX_ANSWERS", 5)
    kept = AnswerCache()
    for number in range(5):
        kept.add((b"%d" % number, IMPLICIT), _asked())
    assert [kept.get((b"%d" % number, IMPLICIT)) is not None for number in range(5)] == [False] * 2 + [True] * 3
    last = kept.get((b"4", IMPLICIT))
    assert last is not None
    kept.keep((b"4", IMPLICIT), dict.fromkeys(range(12), (1, b"x")))
    assert 0 < len(last.answers) <= 5
    before = kept.size
    kept.keep((b"4", IMPLICIT), {step: (revision, b"x") for step, (revision, _) in last.answers.items()})
    assert kept.size == before
    kept.add((bytes(5000), IMPLICIT), _asked())
    assert kept.get((bytes(5000), IMPLICIT)) is None
