"""The conformance statement by REST, as a page and as files: one statement, for everybody who is signed in."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from pydantic import TypeAdapter
from support.service.rest import application, asking

from broker.conformance import markdown, web_text
from broker.conformance.statement import ConformanceStatement
from broker.settings import load
from broker.store.db.database import Database

NODE = {"name": "pacs", "kind": "dicom", "ae_title": "<ARCHIVE>", "host": "192.0.2.1", "port": 104}


@pytest.fixture(scope="module")
def app(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    file = tmp_path_factory.mktemp("conformance") / "broker.db"
    shutil.copyfile(sqlite_template, file)
    database = Database(f"sqlite:///{file}")
    yield application(database, load(None))
    database.close()


def test_page_and_files_are_what_rest_says(app: FastAPI) -> None:
    with asking(app, "http://broker") as http:
        added = http.post("/api/v1/nodes/add", json={"node": {**NODE, "roles": ["destination"]}, "reason": "test"})
        assert added.is_success, added.text
        answer = http.get("/api/v1/conformance").json()
        statement = TypeAdapter(ConformanceStatement).validate_python(answer)
        assert answer["number"] == statement.number
        assert "<ARCHIVE>" in str(answer)
        assert "192.0.2.1" not in str(answer)
        for form, ending, text in (
            ("html", "html", web_text.write(statement)),
            ("markdown", "md", markdown.write(statement)),
        ):
            file = http.get(f"/conformance/{form}")
            assert (file.status_code, file.text) == (200, text)
            assert file.headers["Content-Disposition"] == f'attachment; filename="conformance-statement.{ending}"'
        page = http.get("/conformance", headers={"Accept": "text/html"})
        assert web_text.body(statement, folded=True) in page.text
        assert "<ARCHIVE>" not in page.text
        assert "&lt;ARCHIVE&gt;" in page.text


@pytest.mark.parametrize("role", ["viewer", "auditor", "operator"])
def test_every_role_reads_it(app: FastAPI, role: str) -> None:
    with asking(app) as http:
        token = http.post("/tokens", json={"name": f"of-{role}", "role": role}).json()["token"]
    with asking(app, token=token) as http:
        assert http.get("/conformance").status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/conformance", "/conformance", "/conformance/html", "/conformance/markdown"])
def test_a_stranger_does_not(app: FastAPI, path: str) -> None:
    with asking(app, "http://broker", token="") as http:
        answer = http.get(path)
    assert answer.status_code in (303, 401)
    assert "Presentation contexts" not in answer.text
