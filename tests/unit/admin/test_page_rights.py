"""What no right and no other website may is refused to whoever is signed in, and stands in the log."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs
from support.service.people import added, signed_in
from support.service.rest import application
from support.service.visitor import Visitor

from broker.accounts.roles import UserRole
from broker.admin.routers import Route
from broker.admin.same_origin import SAFE
from broker.settings import load
from broker.store.db.database import Database


@pytest.fixture(scope="module")
def app(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    file = tmp_path_factory.mktemp("rights") / "broker.db"
    shutil.copyfile(sqlite_template, file)
    database = Database(f"sqlite:///{file}")
    made = application(database, load(None), whole=True)
    made.state.database = database
    yield made
    database.close()


@pytest.mark.parametrize("role", UserRole)
def test_another_website_changes_nothing_for_anybody_who_is_signed_in(app: FastAPI, role: UserRole) -> None:
    now = time.time()
    database: Database = app.state.database
    text = signed_in(database, added(database, f"csrf-{role}", role, now), now).text
    tried = 0
    for route in app.routes:
        for method in sorted(route.methods - SAFE) if isinstance(route, Route) else ():
            path = route.path.replace("{", "").replace("}", "")
            for site, origin in (
                ("cross-site", ""),
                ("same-site", ""),
                ("none", ""),
                ("", ""),
                ("", "http://evil.example"),
            ):
                headers = {"Origin": origin} if origin else {}
                answer = Visitor(app, text).ask(method, path, site=site, headers=headers)
                assert (answer.status_code, "session" in answer.headers.get("Set-Cookie", "")) == (403, False), path
            tried += 1
    assert tried > 60
    assert Visitor(app, text).get("/api/v1/sessions").status_code == 200  # nothing has ended it


def test_refusals_stand_in_the_log(app: FastAPI, capsys: pytest.CaptureFixture[str]) -> None:
    now, database = time.time(), app.state.database
    viewer = Visitor(app, signed_in(database, added(database, "viewer", UserRole.VIEWER, now), now).text)
    with capture_logs() as lines:
        viewer.get("/users/1")
        viewer.post("/me/language", {"language": "fr"}, site="cross-site")
        Visitor(app).post("/sign-in", {"name": "a secret typed here", "password": "x"})
    known = [{key: line[key] for key in ("event", "reason", "caller", "peer", "path") if key in line} for line in lines]
    right = {"event": "web.refused", "reason": "right", "caller": "user:viewer", "peer": "192.0.2.7"}
    assert right | {"path": "/users/{user}"} in known
    assert {"event": "web.refused", "reason": "other-site", "peer": "192.0.2.7"} in known
    assert {"event": "user.sign_in_refused", "peer": "192.0.2.7"} in known
    assert "typed here" not in str(lines)
