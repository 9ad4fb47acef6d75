"""The application as a browser sees it, on a database without a process around it, with orders in it."""

from __future__ import annotations

import html
import re
from typing import Any

import httpx

from broker.model.audit import AuditRecord, AuditSelection
from broker.settings import load
from broker.store.audit import trail
from broker.store.db.database import Database
from support.loops import shortly
from support.orders.documents import order
from support.service.rest import TOKEN, application

SAME = {"Sec-Fetch-Site": "same-origin"}


class Pages:
    """The application as a browser sees it. It notes every address that was asked for or answered."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.app = application(database, load())
        self.addresses: list[str] = []

    def call(
        self, method: str, path: str, *, token: str = TOKEN, json: Any = None, form: Any = None, **headers: str
    ) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app, client=("10.1.2.3", 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://broker") as http:
                known = {"Authorization": f"Bearer {token}", "Accept": "text/html", **headers}
                return await http.request(method, path, json=json, data=form, headers=known)

        answer = shortly(ask())
        self.addresses += [path, answer.headers.get("location", "")]
        return answer

    def get(self, path: str, **headers: str) -> str:
        answer = self.call("GET", path, **headers)
        assert answer.status_code == 200, answer.text
        return answer.text

    def find(self, **form: str) -> str:
        """The page that a search leads to."""
        answer = self.call("POST", "/exams/find", form=form, **SAME)
        assert answer.status_code == 303, answer.text
        return self.get(answer.headers["location"])

    def place(self, number: int, **patient: str) -> None:
        document = order(number)
        document["patient"] |= patient
        answer = self.call("POST", "/api/v1/orders", json=document)
        assert answer.json()["outcome"] == "created", answer.text

    def views(self) -> list[AuditRecord]:
        """What was seen, the last first."""
        self.app.state.audit.flush()
        page = self.database.read(trail.page, AuditSelection(), None, 1000).result(20)
        return [row for row in page.rows if row.action in ("order.listed", "order.viewed", "order.explained")]


def rows(text: str) -> list[str]:
    """The rows of the first table, as text."""
    body = re.search(r"<tbody>(.*?)</tbody>", text, re.DOTALL)
    cells = re.findall(r"<tr>(.*?)</tr>", body[1], re.DOTALL) if body else []
    return [html.unescape(" ".join(re.sub(r"<[^>]+>", " ", cell).split())) for cell in cells]
