"""PH and WS-01: nothing of a patient leaves but by the pages and answers that a right opens.

One broker that was filled through each door, with a canary in all that belongs to a patient. Its log is read to the end
when it stops: `support.service.site.Site`.
"""

from __future__ import annotations

import io
import json
import logging
import re
import shutil
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
import structlog
from markupsafe import escape
from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError
from starlette.routing import Route as PlainRoute
from support.dicom.raw import IMPLICIT, WORKLIST, RawScu
from support.peers.tools import wait_until
from support.service.canaries import HOSTILE, STRANGER, FilledSite, document, filled, message, told
from support.service.rest import TOKEN as REST_TOKEN
from support.service.rest import application
from support.service.site import Mllp
from support.service.visitor import Visitor
from support.tree import BROKER

from broker import telemetry
from broker.routing import sweep
from broker.settings import load
from broker.store.db.database import Database
from broker.store.db.pace import Pace
from broker.store.images.spool import Spool
from broker.store.schema import tables
from broker.store.thinning import (
    ANSWERS,
    CANCELS,
    IMPORT_NOTES,
    JOBS,
    KNOCKS,
    MESSAGES,
    REFUSED,
    SENT,
    STUDIES,
    appointments,
    thin,
)

# values of path parameters: what there is, and what there is not
VALUES = {
    "name": ("ct1", "pacs", "ris", "ihe", "operate", "nobody"), "word": ("disable",), "deed": ("sign-out",),
    "text": ("x" * 43,), "kind": ("nodes",), "node": ("old", "nobody"), "number": ("1", "99"),
}  # fmt: skip
ROWS = ("1", "2", "99")
# what a page shows in its body to who may see it; the query asks for what there is
ASKED = (
    "/search?q=carl", "/search?q=perch", "/holds?limit=5", "/audit?person=api", "/api/v1/audit?kind=order",
    "/api/v1/worklist/explain?device=ct1&order=1", "/api/v1/worklist/explain?device=CT01&step=1",
    "/api/v1/messages?sender=RIS", "/api/v1/imports?source=old", "/api/v1/mpps?waiting=true",
    "/api/v1/nodes/diff?from=0&to=1", "/api/v1/rules/diff?from=0&to=1", "/api/v1/audit/export?form=jsonl", "/nothing",
    "/static/nothing", "/api/v1/nothing",
)  # fmt: skip
REPORTERS = re.compile(r"^\s*(?:import|from) (?:sentry_sdk|cProfile|profile|cgitb)\b", re.MULTILINE)
# a built-in profile shows messages of patients who do not exist
_BUILT_IN = set(told((BROKER / "orders" / "mapping" / "ihe.toml").read_text(encoding="utf-8")))
EXAMPLES = {"/api/v1/mappings/ihe": _BUILT_IN, "/mappings/ihe": _BUILT_IN}
LOCAL = ("/health/live", "/health/ready", "/metrics", "/api/openapi.json", "/static/shell.css")


@dataclass(frozen=True)
class Door:
    """A method of a route, with values in its path."""

    method: str
    path: str


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FilledSite]:
    with filled(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """A log at level debug, and everything as it was afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    stream = io.StringIO()
    telemetry.configure("debug", "json", False, key=b"k" * 32, stream=stream)
    yield stream
    logging.captureWarnings(False)
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


@pytest.fixture(scope="module")
def doors(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Door]:
    """Every method of every route that the broker serves."""
    file = tmp_path_factory.mktemp("routes") / "broker.db"
    shutil.copyfile(sqlite_template, file)
    database = Database(f"sqlite:///{file}")
    routes = application(database, load(None), whole=True).routes
    database.close()
    found = {Door("GET", path) for path in (*ASKED, *LOCAL)}
    for route in routes:
        assert isinstance(route, PlainRoute)
        for path in paths(route.path):
            found |= {Door(method, path) for method in route.methods or ()}
    assert len(found) > 200
    return sorted(found, key=lambda door: (door.path, door.method))


def paths(template: str) -> Iterator[str]:
    """A path with each value that its parameter may have."""
    name = re.search(r"\{(\w+)(?::\w+)?\}", template)
    if name is None:
        yield template
        return
    for value in VALUES.get(name[1], ROWS):
        yield from paths(template.replace(name[0], value, 1))


def ask(http: httpx.Client, door: Door) -> httpx.Response:
    """An answer; forms and documents are sent empty."""
    page = {"Accept": "text/html, */*", "Sec-Fetch-Site": "same-origin"}
    if door.method in ("GET", "HEAD"):
        return http.request(door.method, door.path, headers=page)
    if door.path.startswith("/api/"):
        return http.request(door.method, door.path, json={})
    return http.request(door.method, door.path, data={"q": "carl"}, headers=page)


def lines(answer: httpx.Response) -> str:
    """What stands before the body."""
    return "\n".join(f"{name}: {value}" for name, value in answer.headers.multi_items())


@pytest.mark.parametrize("role", ["", "viewer"])
def test_ph_01_who_may_not_see_patients_sees_none(hospital: FilledSite, doors: list[Door], role: str) -> None:
    """Before the sign-in, and by the role that sees states and counts: each page, endpoint, header and error."""
    found, statuses = {}, set()
    with hospital.client(role) as http:
        for door in doors:
            answer = ask(http, door)
            statuses.add(answer.status_code)
            if said := set(told(f"{lines(answer)}\n{answer.text}")) - EXAMPLES.get(door.path, set()):
                found[door] = said
    assert found == {}
    assert statuses >= ({200, 303, 401, 404} if not role else {200, 403, 404})
    assert max(statuses) < 500


def test_ph_01_the_canaries_are_there_for_who_may_see_them(hospital: FilledSite) -> None:
    """Without them the other tests would show nothing."""
    with hospital.client() as http:
        seen = [
            http.get(path).text
            for path in ("/api/v1/orders/1", "/api/v1/messages/1", "/api/v1/mpps/1", "/api/v1/imports", "/api/v1/nodes")
        ]
    assert [bool(told(text)) for text in seen] == [True, True, True, True, False]
    states = {row[0] for row in hospital.site.rows("SELECT state FROM job")}
    assert {"held", "ready"} <= states


def test_ph_03_neither_metrics_nor_log_name_a_patient(hospital: FilledSite) -> None:
    """At level debug, after good and bad input at each door. No crash reporter and no profiler is there to be asked."""
    with hospital.client("") as http:
        metrics = http.get("/metrics").text
    logged = hospital.site.logged()
    assert told(metrics) == told(logged) == []
    assert '"level": "debug"' in logged or "debug" in logged
    assert "Traceback" not in logged
    sources = "\n".join(path.read_text(encoding="utf-8") for path in BROKER.rglob("*.py"))
    assert REPORTERS.findall(sources) == []


def test_ph_04_no_address_names_a_patient(hospital: FilledSite, doors: list[Door]) -> None:
    """Links, forms, titles, redirects and headers of what each role gets. `GET` alone: nothing changes."""
    found = []
    for role in hospital.tokens:
        with hospital.client(role) as http:
            for door in doors:
                if door.method != "GET":
                    continue
                answer = ask(http, door)
                assert told(lines(answer)) == [], door
                if answer.headers.get("content-type", "").startswith("text/html"):
                    page = Page.of(answer.text)
                    found += [(role, door.path, text) for text in [*page.addresses, page.title] if told(text)]
    assert found == []


def test_ph_04_a_change_leads_to_no_such_address(hospital: FilledSite) -> None:
    jobs = [row[0] for row in hospital.site.rows("SELECT id FROM job WHERE state = 'held' ORDER BY id")]
    with hospital.client() as http:
        for path, form in (
            ("/holds/release", {"row": str(jobs[0])}), ("/search", {"q": "CANARYPAT1"}),
            ("/audit/patient", {"patient": "CANARYPAT1", "issuer": "HOSPITAL"}),
        ):  # fmt: skip
            answer = http.post(path, data=form, headers={"Accept": "text/html", "Sec-Fetch-Site": "same-origin"})
            assert answer.status_code in (200, 303, 422), (path, answer.status_code)
            assert told(lines(answer)) == [], path
        placed = http.post("/api/v1/orders/search", json={"PatientID": "CANARYPAT1"})
        assert told(lines(placed)) == []
        assert told(placed.text) != []


def test_ph_04_no_script_keeps_anything_in_the_browser() -> None:
    kept = re.compile(r"localStorage|sessionStorage|indexedDB|document\.cookie|caches\.open")
    for script in (BROKER / "admin" / "static").glob("*.js"):
        assert kept.findall(script.read_text(encoding="utf-8")) == [], script.name


def test_ph_07_no_refusal_repeats_what_was_sent(hospital: FilledSite) -> None:
    """NAK texts, Error Comments and problem documents; and of what others said in theirs only the code is kept."""
    assert len(hospital.answers) > 30
    assert [answer for answer in hospital.answers if told(answer)] == []
    errors = [
        str(row) for row in hospital.site.rows("SELECT last_error FROM job UNION ALL SELECT last_error FROM lane")
    ]
    assert [error for error in errors if told(error)] == []
    assert any("A900" in error for error in errors)


def test_ph_02_an_error_of_the_database_keeps_its_values(
    database: Database, monkeypatch: pytest.MonkeyPatch, log: io.StringIO
) -> None:
    """PostgreSQL writes values into its errors, whatever SQLAlchemy hides of the parameters."""

    def twice(connection: Connection, *_: object) -> None:
        for _ in range(2):
            values = {"calling_ae": "Canary^Carl", "address": "CANARYPAT1", "queries": "19010203", "calls": 1}
            connection.execute(insert(tables.device_query).values(first_at=1.0, last_at=1.0, **values))

    monkeypatch.setattr("broker.admin.api.orders.placing.place", twice)
    with pytest.raises(IntegrityError) as caught:
        database.execute(twice)
    assert ("Canary" in str(caught.value)) == (database.dialect == "postgresql")
    logging.getLogger("sqlalchemy.engine").error("%s", caught.value)
    telemetry.logger().error("web.internal_error", reference="1", error=telemetry.describe(caught.value))
    answer = Visitor(application(database, load(None)), token=REST_TOKEN).ask(
        "POST", "/api/v1/orders", json=document(1)
    )
    assert answer.status_code == 500
    assert told(answer.text) == told(log.getvalue()) == []
    assert "IntegrityError" in log.getvalue()


def test_ph_05_nobody_else_on_the_machine_reads_a_file(hospital: FilledSite) -> None:
    """Database, its journal, spool, copy for an outage, socket. That the disk is encrypted is up to the site."""
    files = [hospital.site.data, *hospital.site.data.rglob("*")]
    assert {"broker.db", "broker.db-wal", "spool", "control.sock"} <= {path.name for path in files}
    assert [path for path in files if stat.S_IMODE(path.lstat().st_mode) & 0o077] == []


def test_ph_06_what_devices_call_themselves_is_one_line(hospital: FilledSite) -> None:
    """An AE title, a sender and a type of message with line ends and escape sequences of a terminal."""
    evil = "X\x1b[2K\r\nevent=y"
    with RawScu(hospital.site.dicom) as peer:
        peer.associate([(WORKLIST, IMPLICIT)], calling=evil[:16].encode())
    with Mllp(hospital.site.hl7, timeout=30) as ris:
        ris.send(message(70).replace("|RIS|HOSPITAL|", f"|{evil[:5]}\x85\u2028{evil[5:8]}|Y|").replace("\r\n", "\n"))
        ris.receive()
    with hospital.client("") as http:
        http.get("/sign-in", headers={"User-Agent": "x\x1b[31m"})
    wait_until(lambda: "X" in hospital.site.logged(), 20, "it is logged")
    lines = hospital.site.logged().splitlines()
    assert [line for line in lines if not line.isascii() or not line.isprintable()] == []
    assert [line for line in lines if line.startswith("event=y")] == []


class Page(HTMLParser):
    """The tags of a page, its addresses and its title."""

    @classmethod
    def of(cls, text: str) -> Page:
        page = cls()
        page.feed(text)
        page.close()
        return page

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.wrong: list[str] = []
        self.title = ""
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_title = tag == "title"
        given = {name: value or "" for name, value in attrs}
        self.addresses += [value for name, value in given.items() if name in ADDRESSES or value.startswith("/")]
        self.wrong += [f"{tag} {name}" for name in given if name.startswith("on") or name == "style"]
        if tag in ("iframe", "object", "embed", "base", "style"):
            self.wrong.append(tag)
        if tag in ("script", "img") and not given.get("src", "").startswith("/static/"):
            self.wrong.append(f"{tag} {given}")
        self.wrong += [value for value in self.addresses if value.strip().casefold().startswith(SCHEMES)]

    def handle_endtag(self, tag: str) -> None:
        self._in_title = False

    def handle_data(self, data: str) -> None:
        self.title += data if self._in_title else ""


SCHEMES = ("javascript:", "data:", "vbscript:", "blob:")
ADDRESSES = ("href", "src", "action", "formaction", "data-href", "data-url", "cite", "poster")


def test_ws_01_hostile_names_are_text_on_every_page(hospital: FilledSite, doors: list[Door]) -> None:
    """Patients, senders, devices, file names and texts of messages that are HTML with a script in it."""
    shown: set[str] = set()
    for role in ("admin", "operator", "auditor", "integrator", "viewer"):
        with hospital.client(role) as http:
            for door in doors:
                if door.method != "GET":
                    continue
                answer = ask(http, door)
                policy = answer.headers["content-security-policy"]
                assert "default-src 'none'" in policy
                assert "script-src 'self';" in policy
                assert answer.headers["x-content-type-options"] == "nosniff"
                kind = answer.headers.get("content-type", "")
                if kind == "application/octet-stream":  # a file to keep: no browser draws it
                    assert answer.headers["content-disposition"].startswith("attachment; "), door
                    continue
                if not kind.startswith("text/html"):
                    assert kind.partition(";")[0] in KINDS or not answer.content, (door, kind)
                    continue
                assert Page.of(answer.text).wrong == [], door
                shown |= {name for name in (HOSTILE, STRANGER) if escape(name) in answer.text}
    assert shown == {HOSTILE, STRANGER}


KINDS = {
    "application/json", "application/problem+json", "application/jsonl", "text/plain", "text/csv", "text/css",
    "text/javascript", "image/svg+xml",
}  # fmt: skip


def test_ws_01_what_rest_answers_is_json(hospital: FilledSite) -> None:
    with hospital.client() as http:
        senders = http.get("/api/v1/messages").json()
        assert any(HOSTILE in one.get("sender", "") for one in senders)
        knocks = http.get("/api/v1/nodes/knocking").json()
        assert STRANGER in [one["ae_title"] for one in knocks]
        assert [query for one in knocks for query in one["queries"] if told(json.dumps(query))] == []


def test_ph_08_what_is_over_leaves_nothing_but_orders_and_the_trail(hospital: FilledSite) -> None:
    """Objects, messages, answers to repeated requests and notes go; orders stay, and rows of the audit trail."""
    site = hospital.site
    with Mllp(site.hl7) as ris:  # the last row of the journal stays: its number is not given twice
        ris.exchange("MSH|^~\\&|RIS|HOSPITAL|BROKER|RAD|20300312080000||ZZZ^Z01|LAST|P|2.5.1")
    assert site.stop() == 0
    database = Database(f"sqlite:///{site.data / 'broker.db'}")
    try:
        assert set(holders(database)) >= HELD
        database.execute(all_done)
        sweep.purge_delivered(Pace(database), Spool(site.data / "spool"), -1)
        later = time.time() + 86_400
        for rule in (
            JOBS,
            MESSAGES,
            SENT,
            REFUSED,
            IMPORT_NOTES,
            KNOCKS,
            ANSWERS,
            CANCELS,
            STUDIES,
            appointments("99991231235959"),
        ):
            thin(Pace(database), rule, later)
        assert {name: text for name, text in holders(database).items() if name not in STAYS} == {}
        assert len(database.read(studies).result(60)) == 1
        never_sent, there = database.read(stored).result(60)
        assert never_sent == there
        assert {"order.created", "message.thinned", "objects.purged"} <= database.read(actions).result(60)
    finally:
        database.close()
    files = [path for path in (site.data / "spool").rglob("*") if path.is_file()]
    assert [path for path in files if told(path.read_bytes().decode("latin-1"))] == []


# tables that hold something of a patient: what ends by itself, and what stays with the orders
HELD = {"message", "idempotency", "content", "mpps_message"}
STAYS = {
    "patient", "patient_term", "patient_name", "service_request", "requested_procedure", "scheduled_step", "visit",
    "former_patient", "order_link", "mpps", "mpps_message", "mpps_link", "instance", "content",
    "sent_message", "study", "study_key",  # their last row: no number is given twice
}  # fmt: skip


def all_done(connection: Connection) -> None:
    """What waits or is held has come to where it should."""
    connection.execute(update(tables.job).values(state="done", done_at=1.0))


def stored(connection: Connection) -> tuple[int, int]:
    """Objects that are not purged, and objects whose bytes are still there."""
    states = list(connection.execute(select(tables.instance.c.state)).scalars())
    assert "purged" in states
    return len([state for state in states if state != "purged"]), len(connection.execute(select(tables.content)).all())


def studies(connection: Connection) -> list[int]:
    """The studies that are known."""
    return list(connection.execute(select(tables.study.c.id)).scalars())


def actions(connection: Connection) -> set[str]:
    """What the audit trail tells of."""
    return set(connection.execute(select(tables.audit.c.action)).scalars())


def holders(database: Database) -> dict[str, list[str]]:
    """Tables in which a canary stands, with one of their rows."""

    def look(connection: Connection) -> dict[str, list[str]]:
        found = {}
        for table in tables.audit.metadata.sorted_tables:
            for row in connection.execute(select(table)):
                text = " ".join(value.decode("latin-1") if isinstance(value, bytes) else str(value) for value in row)
                if table.name == "audit":  # it names studies by their UID, as PS3.15 A.5 wants
                    text = re.sub(r"2\.999\.19010203[\d.]*", "", text)
                if words := told(text):
                    found.setdefault(table.name, [*words, text[:200]])
        return found

    return database.read(look).result(60)
