"""The page of the queue as HTTP serves it: what waits, what is done with it, for whom, and what changes nothing."""

from __future__ import annotations

import re
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select, update
from support.service.people import added, signed_in
from support.service.rest import AppClient, application, asking
from support.service.visitor import Visitor
from support.web.held import hold_jobs, hold_objects, states

from broker.accounts.roles import UserRole
from broker.admin.web.queue import lanes as lane_words
from broker.admin.web.queue import waiting
from broker.admin.web.queue.told import rerouted
from broker.delivery.rerouting import RerouteEnding
from broker.model.lane import STAT
from broker.model.wording import in_english
from broker.settings import load
from broker.status.lane_rates import LaneRates
from broker.store import jobs
from broker.store.claims import LAST
from broker.store.db.database import Database
from broker.store.jobs import NewJob
from broker.store.queued import pauses, shapes
from broker.store.schema import tables

_t = tables.job
STUDY = "2.999.66"


@pytest.fixture
def database(sqlite_template: Path, tmp_path: Path) -> Iterator[Database]:
    shutil.copyfile(sqlite_template, tmp_path / "broker.db")
    opened = Database(f"sqlite:///{tmp_path / 'broker.db'}")
    yield opened
    opened.close()


@pytest.fixture
def app(database: Database) -> FastAPI:
    return application(database, load(None))


@pytest.fixture
def http(app: FastAPI) -> Iterator[AppClient]:
    """Two destinations, and a RIS."""
    with asking(app, "http://b") as client:
        client.http.headers["Accept"] = "text/html"
        client.http.follow_redirects = True
        for name in ("pacs", "archive"):
            node = {
                "name": name, "kind": "dicom", "ae_title": name.upper(), "host": "192.0.2.1", "port": 104,
                "roles": ["destination"],
            }  # fmt: skip
            assert client.post("/api/v1/nodes/add", json={"node": node, "reason": "new"}).status_code == 201
        yield client


def put(database: Database, count: int, *, objects: bool = False, error: str = "status-A700") -> None:
    """So many jobs for pacs that wait for a retry, of real objects if that is wanted."""
    if objects:
        hold_objects(database, count)
    new = [NewJob(kind="deliver", lane="deliver:pacs", subject=subject + 1, detail={}) for subject in range(count)]
    database.execute(jobs.enqueue, new, time.time() - 60)
    database.execute(lambda c: c.execute(update(_t).values(due_at=time.time() + 900, attempts=2, last_error=error)))


def more(database: Database, lane: str, count: int = 1, *, priority: int = 5) -> None:
    new = [NewJob(kind="x", lane=lane, subject=n, detail={}, priority=priority) for n in range(count)]
    database.execute(jobs.enqueue, new, time.time() - 4000)


def picks(answer: httpx.Response) -> list[str]:
    return re.findall(r'name="row" value="(\d+)"', answer.text)


def until(answer: httpx.Response) -> str:
    found = re.search(r'name="until" value="([\d.]+)"', answer.text)
    assert found
    return found[1]


def words(answer: httpx.Response) -> str:
    text = re.sub(r"<[^>]+>", " ", re.sub(r"<dialog.*?</dialog>", "", answer.text, flags=re.DOTALL))
    return " ".join(text.split())


def audit(database: Database) -> list[tuple[str, str]]:
    query = select(tables.audit.c.action, tables.audit.c.detail).where(tables.audit.c.object_kind.in_(("job", "node")))
    rows = database.read(lambda connection: connection.execute(query.order_by(tables.audit.c.id)).all()).result(10)
    return [(action, detail) for action, detail in rows if not action.startswith("node.add")]


def lanes(database: Database, *wanted: str) -> list[str]:
    """Lanes of jobs in some states, in their order."""
    query = select(_t.c.lane).where(_t.c.state.in_(wanted)).order_by(_t.c.id)
    return database.read(lambda connection: list(connection.execute(query).scalars())).result(10)


# --- what is shown ------------------------------------------------------------------------------------------


def test_the_last_hours_are_drawn_of_all_lanes_or_of_a_node_in_words_too(database: Database) -> None:
    rates, t = LaneRates(), 1_900_000_020
    for minute in range(4):
        rates.feed(t + 60 * minute, {1: {"deliver:pacs": 30.0 * minute, "feedback:ris": 2.0 * minute}})
        rates.count(t + 60 * minute, {"deliver:pacs": 12_000 - minute, "feedback:ris": 1})
    with asking(application(database, load(None), lane_rates=rates), "http://b") as client:
        client.http.headers["Accept"] = "text/html"
        every = client.get("/queue", headers={"X-Region": "queue_plot"})
        assert every.text.count("<polyline") == 2
        assert every.text.count("<desc") == 2
        assert "In the last minute: 10,001+. At most: 10,001+." in every.text
        assert "In the last minute: 32. At most: 32." in every.text
        assert re.search(r"\d\d:\d\d – .*\d\d:\d\d 10,001\+ 64", words(every))
        assert 'id="jobs"' not in every.text
        assert 'id="queue"' not in every.text
        ris = words(client.get("/queue?node=ris", headers={"Accept-Language": "fr"}))
        assert "Les dernières heures de ris" in ris
        assert "Livrés par minute 2 au plus 2" in ris
        assert "polyline" not in client.get("/queue", headers={"X-Region": "jobs"}).text
    with asking(application(database, load(None)), "http://b") as client:
        assert "Nothing is drawn yet" in words(client.get("/queue"))


def test_destinations_stand_by_age_with_their_state_those_in_trouble_first(database: Database, http: AppClient) -> None:
    put(database, 3)
    more(database, "feedback:ris", 2)
    more(database, "deliver:archive", priority=1)
    database.execute(jobs.open_breaker, "deliver:pacs", 4, time.time() + 600, "connect-failed")
    database.execute(pauses.pause, "archive", time.time(), "user:anna", "new disks")
    answer = http.get("/queue", headers={"X-Region": "queue"})
    told = words(answer)
    assert told.index("pacs images") < told.index("archive images")
    # near midnight the next try has a date
    assert re.search(r"down since .*: no connection: it is off.*; the next try is at .*\d\d:\d\d", told)
    assert "send what waits elsewhere" in told
    assert "paused by user:anna since" in told
    assert ": new disks. Resume it" in told
    assert "1 1 urgent" in told
    assert "no such node" in told  # the RIS is not configured
    assert 'id="jobs"' not in answer.text
    alone = words(http.get("/queue?node=archive"))
    assert "pacs images" not in alone
    assert "Resume…" in alone
    assert 'id="send-now"' not in http.get("/queue?node=archive").text


def test_pages_lead_on_and_filters_narrow(database: Database, http: AppClient) -> None:
    put(database, 120)
    more(database, "feedback:ris")
    seen, path = [], "/queue?node=pacs"
    while path:
        answer = http.get(path)
        seen += picks(answer)
        following = re.search(r'rel="next" href="([^"]+)"', answer.text)
        path = following[1].replace("&amp;", "&") if following else ""
    assert len(seen) == len(set(seen)) == 120
    for query, count in (
        ("kind=feedback", 1), ("kind=mpps", 0), ("kind=deliver&error=status-A700", 120), ("error=status-A900", 0),
        ("state=held", 0), ("node=nobody", 0), ("lane=feedback:ris", 1), ("kind=feedback&node=pacs", 0),
    ):  # fmt: skip
        assert f"<b>{count}</b> found" in http.get(f"/queue?{query}").text, query
    assert "out of resources" in http.get("/queue?node=pacs").text
    database.execute(lambda c: c.execute(update(_t).values(priority=_t.c.priority + LAST)))
    assert "in doubt: goes last" in http.get("/queue?node=pacs").text


def test_a_study_is_looked_for_without_standing_in_the_address(database: Database, http: AppClient) -> None:
    put(database, 2, objects=True)
    more(database, "deliver:archive")
    answer = http.post("/queue/find", data={"study": STUDY, "node": "pacs"})
    assert "<b>2</b> found" in answer.text
    assert STUDY not in str(answer.url)
    assert "node=pacs" in str(answer.url)
    assert 'name="study" value="2.999.66"' in re.sub(r' id="[^"]+"| type="\w+"', "", answer.text)
    lost = http.get("/queue?find=of-somebody-else")
    assert "This search is no longer known here" in lost.text
    assert 'id="retry-all"' not in lost.text
    form = {"every": "3", "until": str(time.time()), "reason": "a phantom"}
    assert http.post("/queue/discard?find=of-somebody-else", data=form).status_code == 409
    assert set(states(database)) == {"ready"}


def test_who_may_see_no_patients_sees_the_jobs_without_them(database: Database, app: FastAPI, http: AppClient) -> None:
    put(database, 1, objects=True)
    now = time.time()
    people = {role: signed_in(database, added(database, role.value, role, now), now).text for role in UserRole}
    viewer = Visitor(app, people[UserRole.VIEWER])
    page = viewer.get("/queue").text
    assert "status-A700" in page
    for hidden in (STUDY, "CT01", 'name="study"', 'name="accession"', 'name="device"', 'id="retry"', 'id="retry-all"'):
        assert hidden not in page
    assert STUDY in Visitor(app, people[UserRole.OPERATOR]).get("/queue").text
    assert STUDY not in viewer.get("/queue?study=2.999.1&exam=77").text
    for path in ("/queue/retry", "/queue/discard", "/queue/reroute", "/queue/nodes/pacs/pause"):
        assert viewer.post(path, {"row": "1", "reason": "not mine"}).status_code == 403
    assert states(database) == ["ready"]
    views = select(tables.audit.c.actor).where(tables.audit.c.action == "objects.listed")
    app.state.audit.flush(everything=True)
    seen = database.read(lambda connection: list(connection.execute(views).scalars())).result(10)
    assert "user:viewer" not in seen


# --- what is done -------------------------------------------------------------------------------------------


def test_picked_jobs_are_tried_now_and_those_of_a_paused_node_wait_on(database: Database, http: AppClient) -> None:
    put(database, 3)
    more(database, "deliver:archive")
    database.execute(jobs.open_breaker, "deliver:pacs", 4, time.time() + 600, "connect-failed")
    page = http.get("/queue")
    archive, *rows = picks(page)
    assert "2 jobs are tried now." in http.post("/queue/retry", data={"row": rows[:2]}).text
    assert database.read(jobs.breakers).result()["deliver:pacs"].failures == 0
    assert "when it is its turn" in http.get("/queue").text
    database.execute(pauses.pause, "archive", time.time(), "user:anna", "new disks")
    alone = http.post("/queue/retry", data={"row": archive}).text
    assert re.search(r"1 job waits on: archive is paused by user:anna since \d\d:\d\d\.", alone)
    both = http.post("/queue/retry", data={"row": [archive, rows[0]]}).text
    assert "1 job is tried now. 1 job waits on: archive is paused by" in both
    node = http.post("/queue/nodes/archive/retry?node=archive", data={"x": ""}).text
    assert "Nothing is sent to archive now: archive is paused by user:anna since" in node
    assert [action for action, _ in audit(database)] == ["node.retried"] * 5
    assert "None of them waits any more." in http.post("/queue/retry", data={"row": "4711"}).text


def test_send_now_says_when_the_window_of_a_node_opens(database: Database, http: AppClient) -> None:
    day = (datetime.now() + timedelta(days=3)).strftime("%a")  # noqa: DTZ005 - windows are on the clock of the site
    node = {
        "name": "night", "kind": "dicom", "ae_title": "NIGHT", "host": "192.0.2.1", "port": 104,
        "roles": ["destination"], "send_windows": day, "send_windows_stat": True,
    }  # fmt: skip
    assert http.post("/api/v1/nodes/add", json={"node": node, "reason": "new"}).status_code == 201
    more(database, "deliver:night", 3)
    *others, stat = picks(http.get("/queue?node=night"))
    database.execute(lambda c: c.execute(update(_t).where(_t.c.id == int(stat)).values(priority=STAT)))
    kept = http.post("/queue/retry", data={"row": [stat, *others]}).text
    assert re.search(r"1 job is tried now\. 2 jobs wait on: the window of night opens at \d+ \w+ 00:00\.", kept)
    node_now = http.post("/queue/nodes/night/retry?node=night", data={"x": ""}).text
    assert "Of the images for night only what is STAT is sent now: the window of night opens at" in node_now
    done = http.post("/api/v1/deliveries/retry", json={"rows": [int(row) for row in others]}).json()
    assert done["endings"] == {"closed": 2}
    assert done["notes"][0].startswith("the window of night opens at ")


def test_all_that_match_are_those_that_a_person_saw(database: Database, http: AppClient) -> None:
    put(database, 60)
    page = http.get("/queue?node=pacs")
    assert "All 60 that match:" in page.text
    more(database, "deliver:pacs")
    database.execute(lambda c: c.execute(update(_t).where(_t.c.kind == "x").values(created_at=time.time() + 5)))
    form = {"scope": "all", "every": "60", "until": until(page), "reason": "x"}
    again = http.post("/queue/discard?node=pacs", data=form)
    assert (again.status_code, "Say why, in 3 to 500 characters." in again.text) == (422, True)
    assert re.search(r'<dialog class="ask" id="discard-all"[^>]* open>', again.text)
    form["reason"] = "sent by hand"
    assert http.post("/queue/discard?node=pacs", data=form | {"every": "59"}).status_code == 409
    assert http.post("/queue/discard?node=pacs&state=other", data=form).status_code == 409  # it filters nothing
    assert set(states(database)) == {"ready"}
    assert "60 jobs were given up." in http.post("/queue/discard?node=pacs", data=form).text
    assert lanes(database, "ready") == ["deliver:pacs"]  # it came later
    assert audit(database) == [("job.discarded", '{"reason":"sent by hand"}')] * 60
    assert "None of them waits any more." in http.post("/queue/discard?node=pacs", data=form).text


def test_images_go_to_another_destination(database: Database, http: AppClient) -> None:
    put(database, 3, objects=True)
    more(database, "feedback:ris")
    first, *_ = picks(http.get("/queue?kind=deliver"))
    wrong = http.post("/queue/reroute", data={"row": first, "to": "ris", "reason": "PACS is down"})
    assert (wrong.status_code, "Choose a destination." in wrong.text) == (422, True)
    done = http.post("/queue/reroute", data={"row": first, "to": "archive", "reason": "PACS is down"})
    assert "1 delivery goes to archive now." in done.text
    page = http.get("/queue")
    form = {"scope": "all", "every": "4", "until": until(page), "to": "archive", "reason": "PACS is down"}
    done = http.post("/queue/reroute", data=form)
    assert "2 deliveries go to archive now. 1 is for archive already." in done.text
    assert "1 job does not wait any more, or sends no image." in done.text
    assert sorted(lanes(database, "ready")) == ["deliver:archive"] * 3 + ["feedback:ris"]
    assert lanes(database, "discarded") == ["deliver:pacs"] * 3
    assert [action for action, _ in audit(database)] == ["job.rerouted"] * 3


def test_held_jobs_are_tried_again_by_pick_by_filter_and_by_node(database: Database, http: AppClient) -> None:
    hold_jobs(database, 5)
    page = http.get("/queue?state=held&node=pacs")
    first, *_ = picks(page)
    assert "Try again" in page.text
    assert "1 job is tried again." in http.post("/queue/retry?state=held", data={"row": first}).text
    form = {"every": "3", "until": until(page)}
    assert http.post("/queue/nodes/pacs/release", data=form).status_code == 409
    assert "4 jobs are tried again." in http.post("/queue/nodes/pacs/release", data=form | {"every": "4"}).text
    assert states(database) == ["ready"] * 5
    assert [action for action, _ in audit(database)] == ["job.released"] * 5


def test_an_older_version_does_not_go_over_a_newer_one_unawares(database: Database, http: AppClient) -> None:
    hold_jobs(database, 2, error="newer-version-sent")
    page = http.get("/queue?state=held&node=pacs")
    first, *_ = picks(page)
    refused = (
        http.post("/queue/retry?state=held", data={"row": first}),
        http.post("/queue/nodes/pacs/release?node=pacs", data={"every": "2", "until": until(page)}),
    )
    for answer in refused:
        assert answer.status_code == 409
        assert "a newer version was sent" in answer.text
    assert states(database) == ["held"] * 2


def test_work_of_a_newer_version_is_listed_in_words(database: Database, http: AppClient) -> None:
    more(database, "teleport:moon", 2)
    page = http.get("/queue").text
    assert "work of a newer version" in page
    assert "moon" in page
    assert "work of a newer version" in http.get("/queue?node=moon").text


def test_a_node_is_paused_drained_and_resumed_with_a_reason(database: Database, http: AppClient) -> None:
    put(database, 1)
    where = "/queue/nodes/pacs"
    why = {"reason": "new disks"}
    slip = http.post(f"{where}/pause?node=pacs", data={"reason": "x"})
    assert (slip.status_code, bool(re.search(r'id="pause"[^>]* open>', slip.text))) == (422, True)
    assert "pacs is not paused." in http.post(f"{where}/resume?node=pacs", data=why).text
    assert "pacs drains: it is paused once" in http.post(f"{where}/drain?node=pacs", data=why).text
    page = http.get("/queue?node=pacs").text
    assert all(f'id="{deed}-open"' in page for deed in ("pause", "resume"))
    assert 'id="drain-open"' not in page
    assert "pacs is paused: nothing is sent to it." in http.post(f"{where}/pause?node=pacs", data=why).text
    assert "pacs is paused already." in http.post(f"{where}/pause?node=pacs", data=why).text
    assert 'id="send-now"' not in http.get("/queue?node=pacs").text
    assert "pacs is resumed: what waits is sent." in http.post(f"{where}/resume?node=pacs", data=why).text
    assert "What waits for pacs is tried now." in http.post(f"{where}/retry?node=pacs", data={"x": ""}).text
    done = ["node.drained", "node.paused", "node.resumed", "node.retried"]
    assert [action for action, _ in audit(database)] == done
    for path in ("/queue/nodes/nobody/pause", "/queue/nodes/pacs/explode"):
        assert http.post(path, data=why).status_code == 404


@pytest.mark.parametrize("form", [{"x": "1"}, {"row": "x"}, {"row": "9" * 80}, {"every": "-1"}, {"every": "²"}])
def test_what_names_no_job_changes_nothing(database: Database, http: AppClient, form: dict[str, str]) -> None:
    put(database, 2)
    before = database.read(lambda c: c.execute(select(_t).order_by(_t.c.id)).all()).result(10)
    assert http.post("/queue/retry", data=form | {"until": "nan"}).status_code in (200, 422)
    assert http.post("/queue/retry", data={"every": "2", "until": "x"}).status_code in (200, 409)
    assert database.read(lambda c: c.execute(select(_t).order_by(_t.c.id)).all()).result(10) == before


def test_what_became_of_deliveries_is_told_of_each_ending() -> None:
    text = in_english(rerouted(Counter({ending: number + 1 for number, ending in enumerate(RerouteEnding)}), "cad"))
    assert re.findall(r"\d", text) == ["1", "2", "3", "4", "5"]


def test_each_age_has_a_word_and_no_filter_is_lost() -> None:
    assert len(lane_words.AGES) == len(shapes.AGES) + 1
    values = {one.name: f"x-{one.name}" for one in waiting.TABLE.filters} | {"kind": "mpps", "exam": "7"}
    wanted = waiting.filter_of(values, before=5.0)
    assert (wanted.kind, wanted.order, wanted.before) == ("mpps", 7, 5.0)
    for name in ("lane", "error", "node", "study", "accession", "device"):
        assert getattr(wanted, name) == f"x-{name}"
