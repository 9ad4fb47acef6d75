"""What is on stable storage before the broker says yes. ST-05."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.dicom.objects import ct_slice, fresh_uid
from support.dicom.raw import CT, EXPLICIT, IMPLICIT, RawScu
from support.mpps.performed import MPPS, bytes_of, create_rq, creation, final, set_rq
from support.orders.documents import order as document
from support.service.site import Mllp, Site, destination, order
from support.service.syscalls import Call, Trace, traced

TOKEN = "a-token-of-the-tests-0123456789"
TO_PACS = '[default]\naction = "send"\nsend = ["pacs"]\n' + destination("pacs", 1)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def watched(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Trace]]:
    folder = tmp_path_factory.mktemp("traced")
    url = ""
    if request.param == "postgresql":
        server = request.getfixturevalue("postgresql")
        server.psql("CREATE DATABASE traced;")
        url = server.get_uri(database="traced").replace("postgresql://", "postgresql+psycopg://", 1)
    config = {"web": {"port": 0, "admin_token": TOKEN}}
    with Site(folder / "site", site=TO_PACS, config=config, database_url=url) as site:
        assert site.process is not None
        with traced(site.process.pid, folder) as trace:
            yield site, trace
    if request.param == "postgresql":
        server.psql("DROP DATABASE traced WITH (FORCE);")


def committed(trace: Trace, mark: str, answer: Call, before: int) -> Call:
    """What carried a text to the database; it is on stable storage before the answer begins.

    SQLite: the pages are written to the WAL, and the WAL is synced behind them. PostgreSQL: the server has answered the
    COMMIT that follows; that it syncs is looked at when the broker starts.
    """
    calls = [call for call in trace.calls() if call.began >= before]
    carried = [call for call in calls if mark in call.text and (call.on("-wal") or call.on("UNIX"))]
    carried = [call for call in carried if call.name != "recvfrom" and call.ended < answer.began]
    assert carried, f"{mark} has not gone to the database before the answer"
    last = carried[0]
    if last.on("-wal"):
        synced = [one for one in calls if one.name in ("fdatasync", "fsync") and one.on("-wal")]
        synced = [one for one in synced if last.ended < one.began and one.ended < answer.began]
        assert any(one.text.endswith("= 0") for one in synced)
    else:
        said = [one for one in calls if one.name == "recvfrom" and one.on("UNIX") and "COMMIT" in one.text]
        assert any(last.ended < one.ended < answer.began for one in said)
    return last


def test_st_05_an_object_in_a_file(watched: tuple[Site, Trace]) -> None:
    """File, folder, transaction, answer."""
    site, trace = watched
    before, item = trace.lines, ct_slice(100 * 1024)
    with RawScu(site.dicom) as scu:
        assert scu.associate([(CT, EXPLICIT)])[0] == 2
        assert scu.store(item) == 0
    answer = trace.answer(site.dicom, item.sop_instance, before)
    row = committed(trace, item.sop_instance, answer, before)
    calls = [call for call in trace.calls() if call.ended < row.began]
    (path,) = {call.path for call in calls if call.name == "write" and item.sop_instance in call.text}
    written = max(call.ended for call in calls if call.path == path and call.name in ("write", "pwrite64"))
    assert [
        call
        for call in calls
        if call.path == path and call.name in ("fsync", "fdatasync") and call.began > written and "= 0" in call.text
    ]
    (made,) = [call for call in calls if call.name == "openat" and "O_CREAT" in call.text and f'"{path}"' in call.text]
    folders = [call for call in calls if call.name == "fsync" and call.path == str(Path(path).parent)]
    assert [call for call in folders if call.began > made.ended and call.text.endswith("= 0")]


def test_st_05_a_small_object(watched: tuple[Site, Trace]) -> None:
    site, trace = watched
    before, item = trace.lines, ct_slice(1024)
    with RawScu(site.dicom) as scu:
        assert scu.associate([(CT, EXPLICIT)])[0] == 2
        assert scu.store(item) == 0
    answer = trace.answer(site.dicom, item.sop_instance, before)
    committed(trace, item.sop_instance, answer, before)


def test_st_05_an_order_by_hl7(watched: tuple[Site, Trace]) -> None:
    site, trace = watched
    before = trace.lines
    with Mllp(site.hl7) as connection:
        connection.send(order(706050))
        assert b"MSA|AA|" in connection.receive()
    answer = trace.answer(site.hl7, "MSA|AA|", before)
    committed(trace, "A706050", answer, before)


def test_st_05_an_order_by_rest(watched: tuple[Site, Trace]) -> None:
    site, trace = watched
    before = trace.lines
    headers = {"Authorization": f"Bearer {TOKEN}"}
    created = httpx.post(f"{site.web}/api/v1/orders", json=document(806050), headers=headers, timeout=60)
    assert created.status_code == 201
    port = int(site.web.rpartition(":")[2])
    answer = trace.answer(port, "201 Created", before)
    committed(trace, "A806050", answer, before)


def test_st_05_a_performed_step(watched: tuple[Site, Trace]) -> None:
    """Its creation and its end: the end is known by a text that only the N-SET has."""
    site, trace = watched
    uid = fresh_uid()
    before = trace.lines
    with RawScu(site.dicom) as scu:
        assert scu.associate([(MPPS, IMPLICIT)])[0] == 2
        scu.send(*create_rq(uid, bytes_of(creation())))
        assert scu.status() == 0
        answer = trace.answer(site.dicom, uid, before)
        committed(trace, uid, answer, before)
        before = trace.lines
        scu.send(*set_rq(uid, bytes_of(final(PerformedProcedureStepDescription="QZST05")), 2))
        assert scu.status() == 0
    answer = trace.answer(site.dicom, uid, before)
    committed(trace, "QZST05", answer, before)
