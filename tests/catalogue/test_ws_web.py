"""WS: what the pages and REST let others do, to people who are signed in and to the broker.

Rows that stand elsewhere are named in `test_rows.py`; WS-01 is in `test_ph_patients.py`, with patients on the pages.
"""

from __future__ import annotations

import ast
import asyncio
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import Connection
from support.loops import run
from support.service.people import added, signed_in
from support.service.rest import application, asking
from support.service.visitor import Visitor
from support.tree import BROKER

from broker.accounts import sessions, users
from broker.accounts.deed import Deed
from broker.accounts.roles import UserRole
from broker.admin.routers import Route
from broker.delivery.notices.trust import NoticeTls
from broker.delivery.probe.node_probe import NodeTester
from broker.delivery.probe.outcome import step_of
from broker.model.wording import in_english
from broker.settings import load
from broker.site.nodes import parse_nodes
from broker.site.remotes import Receivers, Remotes, Repositories
from broker.store.db.database import Database
from broker.store.schema import tables

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
BANNER = "SSH-2.0-secret-version-of-a-server"
UNSAFE = {"pickle", "marshal", "shelve", "yaml", "zipfile", "tarfile", "shutil.unpack_archive", "xml", "lxml", "dill"}
WRITING = {f"xml.etree.ElementTree.{name}" for name in ("Element", "SubElement", "tostring")}  # messages of the audit
# answers of destinations, by handlers of ours that end at any declaration: no entity is ever made
ANSWERS = [("s3_answer.py", "xml.parsers.expat"), ("stow_answer.py", "xml.parsers.expat")]
# written by `broker support`, read by nothing; between the processes of one broker, over a pipe that no other has
OWN = [("bundle.py", "tarfile"), ("channel.py", "pickle")]


@pytest.fixture
def app(database: Database) -> FastAPI:
    return application(database, load(), whole=True)


@pytest.fixture
def anna(app: FastAPI, database: Database) -> Visitor:
    """An admin in her browser."""
    return Visitor(app, signed_in(database, added(database, "anna", UserRole.ADMIN, time.time()), time.time()).text)


def changing(app: FastAPI) -> list[tuple[str, str]]:
    """Method and path of every route that changes something or asks by a body."""
    return [
        (method, re.sub(r"\{\w+\}", "1", route.path))
        for route in app.routes
        if isinstance(route, Route)
        for method in sorted(route.methods or ())
        if method not in ("GET", "HEAD")
    ]


def stored(database: Database) -> list[list[Any]]:
    """All rows that a change of the web may touch, but for when a session was last used."""
    found = (tables.user_account, tables.audit, tables.api_token, tables.configuration, tables.job)

    def look(connection: Connection) -> list[list[Any]]:
        return [list(connection.execute(table.select())) for table in found]

    return database.read(look).result(20)


@SQLITE
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"}, {"Origin": "null"}, {},
    ],
    ids=str,
)  # fmt: skip
def test_ws_03_a_cookie_alone_changes_nothing(
    app: FastAPI, anna: Visitor, database: Database, headers: dict[str, str]
) -> None:
    """Every route, as another website makes the browser of an admin call it."""
    before = stored(database)
    told = {}
    for method, path in changing(app):
        answer = anna.ask(method, path, site="", headers=headers, json={})
        if answer.status_code != 403:
            told[f"{method} {path}"] = answer.status_code
    assert told == {}
    assert stored(database) == before
    assert anna.get("/me").status_code == 200  # she is still signed in


@SQLITE
def test_ws_03_what_changes_something_is_no_link(app: FastAPI, anna: Visitor, database: Database) -> None:
    """A picture on another website can only make a browser GET."""
    gets = {re.sub(r"\{\w+\}", "1", r.path) for r in app.routes if isinstance(r, Route) and "GET" in (r.methods or ())}
    before = stored(database)
    for _, path in changing(app):
        if path not in gets:
            assert anna.ask("GET", path, site="cross-site").status_code in (404, 405, 422), path
    assert stored(database) == before


def by_sign_out(database: Database, row: int, visitor: Visitor) -> None:
    assert visitor.post("/sign-out").status_code == 303


def by_disabling(database: Database, row: int, visitor: Visitor) -> None:
    database.submit(users.disable, row, Deed("cli:test", time.time())).result()


def by_role(database: Database, row: int, visitor: Visitor) -> None:
    database.submit(users.change, row, {"role": "viewer"}, Deed("cli:test", time.time())).result()


def by_everywhere(database: Database, row: int, visitor: Visitor) -> None:
    database.submit(sessions.end_all, row, Deed("cli:test", time.time())).result()


@pytest.mark.parametrize("end", [by_sign_out, by_disabling, by_role, by_everywhere])
def test_ws_05_a_cookie_of_before_is_worth_nothing(
    app: FastAPI, database: Database, end: Callable[[Database, int, Visitor], None]
) -> None:
    """Also where it was seen a moment ago, by pages, their live parts and REST. Another user stays."""
    row = added(database, "ben", UserRole.OPERATOR, time.time())
    cookie = signed_in(database, row, time.time()).text
    other = Visitor(app, signed_in(database, added(database, "eva", UserRole.OPERATOR, time.time()), time.time()).text)
    ben = Visitor(app, cookie)
    assert [ben.get(path).status_code for path in ("/", "/api/v1/holds")] == [200, 200]
    end(database, row, ben)
    again = application(database, load())  # another process, or a second later: nothing is remembered
    thief = Visitor(again, cookie)
    assert thief.get("/").headers["Location"] == "/sign-in"
    assert thief.get("/api/v1/holds").status_code == 401
    assert thief.get("/pulse", headers={"X-Region": "pulse"}).status_code == 401
    assert other.get("/api/v1/holds").status_code == 200


@SQLITE
def test_ws_05_a_cookie_that_somebody_chose_is_not_taken_over(app: FastAPI, database: Database) -> None:
    """Session fixation: the cookie from before the sign-in is nobody's afterwards."""
    added(database, "ben", UserRole.OPERATOR, time.time())
    chosen = "A" * 43
    ben = Visitor(app, chosen)
    from_link = ben.post("/sign-in", {"name": "ben", "password": "green tea and rain 7"})
    assert from_link.status_code == 303
    assert ben.cookies["broker_session"] != chosen
    assert Visitor(app, chosen).get("/api/v1/holds").status_code == 401


WORST = "%' OR \"_\\"
SPOKEN = re.compile(r"OperationalError|ProgrammingError|syntax error|unterminated|SELECT .{1,200} FROM", re.DOTALL)
ODD = ("%", "_", "'", '"', "\\", "%' OR '1'='1", "x'; DROP TABLE audit; --", "é%", "a" * 50)


def test_ws_06_marks_of_sql_are_letters(app: FastAPI, database: Database) -> None:
    """In each parameter of each list, of pages and of REST: what has none of these letters is not found by them."""
    added(database, "ben", UserRole.OPERATOR, time.time())
    told = []
    with asking(app, "http://broker") as client:
        for path, parameters in listings(app):
            for names in parameters:
                answer = client.get(path, params=dict.fromkeys(names, WORST), headers={"Accept": "text/html"})
                if answer.status_code >= 500 or SPOKEN.search(answer.text):
                    told.append((path, names, answer.status_code))
        assert "ben" in client.get("/users", params={"q": "be"}).text
        for value in ODD:
            assert ">ben<" not in client.get("/users", params={"q": value}).text
            assert client.get("/api/v1/audit", params={"actor": f"{value}:"}).json()["rows"] == []
            assert client.get("/api/v1/messages", params={"sender": value}).json() == []
    assert told == []


def listings(app: FastAPI) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """Paths without parameters in them, and names that their query may have: each of its own, usual ones together."""
    common = {"q", "sort", "after", "before", "limit", "state", "role", "kind", "lane", "actor", "person", "patient"}
    for route in app.routes:
        if (
            isinstance(route, Route)
            and "GET" in (route.methods or ())
            and not re.search(r"\{|export|doctor", route.path)
        ):
            own = sorted({one.alias for one in route.dependant.query_params})
            yield route.path, [*((name,) for name in own), tuple(sorted(common - set(own)))]


@SQLITE
@pytest.mark.parametrize("kind", ["dicom", "hl7"])
def test_ws_07_a_test_of_a_node_reads_out_no_other_server(database: Database, kind: str, tmp_path: Path) -> None:
    """Who may test nodes learns that something else listens there, and nothing of what it says.

    There is no list of allowed addresses: nodes of a hospital are anywhere in it, and only who may change the site says
    where. Whoever may test them (right `work`) cannot.
    """

    told: list[str] = []

    async def scenario() -> None:
        async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(f"{BANNER}\r\n".encode())
            await writer.drain()
            await reader.read(65536)
            writer.write(f"\x0bMSH|^~\\&|{BANNER}\rMSA|AE|{BANNER}|{BANNER}\r\x1c\r".encode())
            writer.close()

        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        names = {"ae_title": "PACS", "roles": ["destination"]} if kind == "dicom" else {"application": "RIS"}
        [node] = parse_nodes([{"name": "other", "kind": kind, "host": "127.0.0.1", "port": port, **names}])
        tester = NodeTester(
            database,
            Remotes("BROKER", None, tmp_path),
            Receivers(None, tmp_path),
            NoticeTls(tmp_path),
            Repositories(None, tmp_path),
        )
        async with server:
            done = await tester.begin(node, "user:ben").ended
        for step in map(step_of, done.steps):
            told.append(f"{in_english(step.words)} {in_english(step.advice) if step.advice else ''} {step.rows}")

    run(scenario(), 60)
    assert told
    assert [text for text in told if "secret" in text or "SSH" in text] == []


def test_ws_12_nothing_is_unpacked_or_made_of_bytes_from_outside() -> None:
    """No import of a configuration or of a backup reads a format that can run code, grow or leave its folder."""
    found = []
    for path in BROKER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [f"{node.module}.{one.name}" for one in node.names]
            risky = [name for name in names if {name, name.partition(".")[0]} & UNSAFE and name not in WRITING]
            found += [(path.name, name) for name in risky]
    assert sorted(found) == [*OWN, *ANSWERS]
    for name, _ in ANSWERS:
        (source,) = BROKER.rglob(name)
        assert "parser.StartDoctypeDeclHandler = _declared" in source.read_text(encoding="utf-8")


def test_ws_13_no_script_keeps_a_connection() -> None:
    """Live parts ask again, each time with the session as it is then."""
    for script in (BROKER / "admin" / "static").glob("*.js"):
        assert re.findall(r"WebSocket|EventSource|sendBeacon", script.read_text(encoding="utf-8")) == [], script.name
