"""The actions of the audit trail in words: all that the program writes are offered to who looks for them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from fastapi import FastAPI
from support.service.rest import application
from support.tree import modules

from broker.admin.routers import Route, shown_by
from broker.audit import actions
from broker.model.performed import MessageKind
from broker.orders.core.closing import Cause
from broker.orders.core.values import OrderAction
from broker.settings import load
from broker.store.db.database import Database

OFFERED = {f"{kind}.{verb}" for kind, verbs in actions.ACTIONS.items() for verb in verbs}
# calls that write a row: the place of the action among the arguments, or its name
CALLS: dict[str, int | str] = {
    "add_audit": 3, "audit": 2, "AuditEntry": 0, "Audited": 0, "note": 1, "note_view": 1, "AuditRecord": "action",
    "_note": 0,
}  # fmt: skip


def written() -> tuple[set[str], set[str]]:
    """Actions that the program spells in calls, and the beginnings of those that it makes of parts."""
    whole, parts = set[str](), set[str]()
    for path in modules():
        for node in ast.walk(ast.parse(Path(path).read_text(encoding="utf-8"))):
            given = _action(node) if isinstance(node, ast.Call) else None
            if isinstance(given, ast.Constant) and "." in str(given.value):
                whole.add(str(given.value))
            elif isinstance(given, ast.JoinedStr) and isinstance(given.values[0], ast.Constant):
                kind, dot, _ = str(given.values[0].value).partition(".")
                parts |= {kind} if dot else set()
    return whole, parts


def _action(call: ast.Call) -> ast.expr | None:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    place = CALLS.get(name)
    if isinstance(place, str):
        return next((one.value for one in call.keywords if one.arg == place), None)
    return call.args[place] if place is not None and len(call.args) > place else None


def test_all_that_is_written_is_offered() -> None:
    whole, parts = written()
    assert len(whole) > 40
    assert whole - OFFERED == set()
    assert len(parts) > 5
    assert parts - actions.ACTIONS.keys() == set()
    assert {f"order.{one}" for one in OrderAction} - OFFERED == set()
    assert {f"step.{one}" for one in Cause} - OFFERED == set()
    assert {f"mpps.{one}" for one in MessageKind} - OFFERED == set()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_all_that_is_shown_is_offered(database: Database) -> None:
    app: FastAPI = application(database, load(), whole=True)
    seen = set()
    for route in app.routes:
        shown = shown_by(route) if isinstance(route, Route) else None
        if shown is not None and shown.kind:
            verb = shown.verb or ("viewed" if "{id}" in route.path or "{row" in route.path else "listed")
            seen.add(f"{shown.kind}.{verb}")
    assert len(seen) > 5
    assert seen - OFFERED == set()


def test_each_has_words_of_its_own_and_none_stands_twice() -> None:
    texts = [words for _, words in actions.in_english()]
    assert len(set(texts)) == len(texts)
    known = dict(actions.in_english())
    assert (known["order.viewed"], known["order."]) == ("order: viewed", "order: all of it")
    assert known["appointment.no-show"] == "appointment: nobody came"
    assert actions.deed("order.something-new") is None
