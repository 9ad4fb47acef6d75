"""The worklist door with a fake request and a fake database: statuses, cancel, cap, failures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.worklist.worklist import IMPLICIT, SPS, document, encoded, read

from broker.dicom.wire.connection import ConnectionLost
from broker.errors import BadContent, StoreUnavailable
from broker.store.worklist.candidates import Criteria, Found
from broker.worklist import answering, scp
from broker.worklist.scp import WorklistService


@dataclass
class _Database:
    """Answers `read(search, …)` from a list, like the store: ordered pages behind a key."""

    found: list[Found] = field(default_factory=list)
    error: Exception | None = None
    pages: int = 0

    def read(
        self, _: Callable[..., Any], criteria: Criteria, after: tuple[str, int] | None, limit: int, known: Any
    ) -> Future[Any]:
        future: Future[Any] = Future()
        self.pages += 1
        if self.error is not None:
            future.set_exception(self.error)
        else:
            future.set_result([one for one in self.found if after is None or (one.start_at, one.id) > after][:limit])
        return future


@dataclass
class _Data:
    data: bytes
    error: Exception | None = None

    async def read_all(self, limit: int) -> bytes:
        if self.error is not None:
            raise self.error
        return self.data


class _Request:
    def __init__(
        self, keys: dict[Any, Any], *, cancel_after: int | None = None, lose_after: int | None = None,
        extended: dict[str, bytes] | None = None,
    ) -> None:  # fmt: skip
        self.command = SimpleNamespace(message_id=7)
        self.context = SimpleNamespace(abstract_syntax="1.2.840.10008.5.1.4.31", transfer_syntax=IMPLICIT)
        self.peer = SimpleNamespace(calling_ae="CT01", called_ae="BROKER", address="127.0.0.1", extended=extended or {})
        self.data = _Data(encoded(keys))
        self.cancelled = cancel_after == 0
        self.sent: list[tuple[int, bytes | None, str]] = []
        self.offending = 0
        self._cancel_after, self._lose_after = cancel_after, lose_after

    async def respond(self, status: int, data: bytes | None = None, *, comment: str = "", offending: int = 0) -> None:
        self.offending = offending
        if self._lose_after == len(self.sent):
            raise ConnectionLost
        self.sent.append((status, data, comment))
        self.cancelled = self.cancelled or len(self.sent) == self._cancel_after

    async def respond_all(self, status: int, answers: Sequence[bytes]) -> int:
        for number, data in enumerate(answers):
            if self.cancelled:
                return number
            await self.respond(status, data)
        return len(answers)

    def statuses(self) -> list[int]:
        return [status for status, _, _ in self.sent]


def _steps(count: int) -> list[Found]:
    return [
        Found(i, "20260312100000", 1, json.dumps(document(AccessionNumber=f"A{i}", PatientName="Doe^Jane")))
        for i in range(1, count + 1)
    ]


def _run(request: _Request, database: _Database, max_answers: int = 1000, copy: Any = None) -> list[dict[str, Any]]:
    service = WorklistService(database, max_answers=max_answers, charset="ISO_IR 192", copy=copy)  # type: ignore[arg-type]
    with capture_logs() as logs:
        asyncio.run(service.find(request))  # type: ignore[arg-type]
    return logs


def test_answers_then_success() -> None:
    request = _Request({"AccessionNumber": "", SPS: [{"Modality": "CT"}]})
    logs = _run(request, _Database(_steps(3)))
    assert request.statuses() == [0xFF00] * 3 + [0x0000]
    assert [read(data).AccessionNumber for _, data, _ in request.sent[:3] if data] == ["A1", "A2", "A3"]
    assert request.sent[-1][1] is None
    (line,) = [one for one in logs if one["event"] == "worklist.query"]
    assert (line["calling_ae"], line["count"], line["status"], line["mode"]) == ("CT01", 3, "0000", "Modality")


def test_unsupported_key_makes_every_answer_a_warning() -> None:
    request = _Request({"AccessionNumber": "", "StationName": ""})
    _run(request, _Database(_steps(2)))
    assert request.statuses() == [0xFF01, 0xFF01, 0x0000]


def test_no_match_is_success_without_identifier() -> None:
    request = _Request({"AccessionNumber": "X"})
    _run(request, _Database(_steps(2)))
    assert request.sent == [(0x0000, None, "")]


def test_pages_are_followed_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scp, "PAGE", 20)
    monkeypatch.setattr(answering, "PAGE", 20)
    database = _Database(_steps(50))
    request = _Request({"AccessionNumber": ""})
    _run(request, database)
    assert request.statuses() == [0xFF00] * 50 + [0x0000]
    assert database.pages == 3


@pytest.mark.parametrize("after", [0, 1, 3])
def test_cancel_ends_the_answers(after: int) -> None:
    request = _Request({"AccessionNumber": ""}, cancel_after=after)
    _run(request, _Database(_steps(30)))
    assert request.statuses() == [0xFF00] * after + [0xFE00]


@pytest.mark.parametrize(("stored", "last"), [(5, 0x0000), (6, 0xA700)])
def test_more_than_the_cap_is_said(stored: int, last: int) -> None:
    request = _Request({"AccessionNumber": ""})
    _run(request, _Database(_steps(stored)), max_answers=5)
    assert request.statuses() == [0xFF00] * 5 + [last]
    assert bool(request.sent[-1][2]) is (last != 0)


def test_database_down_is_never_an_empty_list() -> None:
    request = _Request({"AccessionNumber": ""})
    _run(request, _Database(error=StoreUnavailable("away")))
    assert request.sent == [(0xA700, None, "database not available")]


class _Hanging(_Database):
    """A database that does not answer."""

    def read(self, *_: Any) -> Future[Any]:
        return Future()


class _Copy:
    """The copy of a worklist, or none."""

    def __init__(self, found: list[Found]) -> None:
        self.found = found

    def search(self, criteria: Criteria, after: tuple[str, int] | None, limit: int) -> list[Found]:
        if not self.found:
            raise StoreUnavailable("too old")
        return [one for one in self.found if after is None or (one.start_at, one.id) > after][:limit]


@pytest.mark.parametrize("database", [_Database(error=StoreUnavailable("away")), _Hanging()])
@pytest.mark.parametrize("copied", [3, 0])
def test_the_copy_answers_for_a_database_that_is_away_or_hangs(
    database: _Database, copied: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scp, "PATIENCE", 0.05)
    request = _Request({"AccessionNumber": ""})
    logs = _run(request, database, copy=_Copy(_steps(copied)))
    assert request.statuses() == ([0xFF00] * copied + [0x0000] if copied else [0xA700])
    assert [line.get("state") for line in logs if line["event"] == "worklist.query"] == ["copy" if copied else None]


def test_the_copy_is_not_asked_while_the_database_works() -> None:
    request = _Request({"AccessionNumber": ""})
    _run(request, _Database(_steps(1)), copy=_Copy(_steps(5)))
    assert request.statuses() == [0xFF00, 0x0000]


def test_defect_of_ours_is_unable_to_process_and_its_text_stays_inside() -> None:
    request = _Request({"AccessionNumber": ""})
    logs = _run(request, _Database(error=ValueError("Doe^Jane")))
    assert request.statuses() == [0xC001]
    assert "Doe" not in str(logs) + str(request.sent)


@pytest.mark.parametrize("error", [None, BadContent("data set over the limit of this service", code="too-large")])
def test_unreadable_identifier_is_a_mismatch(error: Exception | None) -> None:
    request = _Request({})
    request.data = _Data(b"\x10\x00\x10", error)
    _run(request, _Database(_steps(1)))
    assert request.statuses() == [0xA900]
    assert request.sent[0][2]


def test_impossible_date_names_the_key_and_not_the_value() -> None:
    request = _Request({SPS: [{"ScheduledProcedureStepStartDate": "20261399"}]})
    logs = _run(request, _Database(_steps(1)))
    assert request.statuses() == [0xA900]
    assert "ScheduledProcedureStepStartDate" in request.sent[0][2]
    assert request.offending == 0x00400002
    assert "20261399" not in str(logs) + str(request.sent)


def test_lost_association_ends_the_query() -> None:
    request = _Request({"AccessionNumber": ""}, lose_after=2)
    with pytest.raises(ConnectionLost):
        _run(request, _Database(_steps(5)))
    assert len(request.sent) == 2


def test_one_broken_document_does_not_hide_the_others() -> None:
    steps = _steps(3)
    steps[1] = Found(2, "20260312100000", 1, "{")
    request = _Request({"AccessionNumber": ""})
    logs = _run(request, _Database(steps))
    assert request.statuses() == [0xFF00, 0xFF00, 0x0000]
    assert [one["key"] for one in logs if one["event"] == "worklist.step_unusable"] == [2]


def test_no_patient_data_in_the_log() -> None:
    request = _Request({"PatientName": "DOE*", "PatientID": "", SPS: [{"Modality": ["CT", "MR"]}]})
    logs = _run(request, _Database(_steps(2)))
    (line,) = logs
    assert line["mode"] == "PatientName,Modality" or line["mode"] == "Modality,PatientName"
    assert line["reason"] == "list-of-values"
    assert "DOE" not in str(logs).upper().replace("MODE", "")


WORKLIST = "1.2.840.10008.5.1.4.31"


@pytest.mark.parametrize(("offer", "count"), [(b"\1\1\1", 3), (b"\1\1\0\1", 0), (None, 0)])
def test_names_that_sound_alike_are_found_by_who_negotiated_it(offer: bytes | None, count: int) -> None:
    request = _Request({"PatientName": "DOE^JAYNE"}, extended={WORKLIST: offer} if offer else None)
    _run(request, _Database(_steps(3)))
    assert request.statuses() == [0xFF00] * count + [0]


def test_an_offset_that_nobody_agreed_on_is_remarked_where_it_differs() -> None:
    for offset, remark in (("+0000", None), ("+0900", "other-timezone")):  # the fake site is at UTC
        (line,) = _run(_Request({"TimezoneOffsetFromUTC": offset}), _Database())
        assert line["reason"] == remark
