"""A route that reads a header of a condition declares it: clients are made from the OpenAPI document (RFC 9110 13)."""

from __future__ import annotations

import ast

import pytest
from support.service.rest import application
from support.tree import BROKER, modules, name, parsed

from broker.settings import load
from broker.store.db.database import Database

HEADERS = ("if-match", "idempotency-key")


def test_no_code_reads_such_a_header_past_its_declaration() -> None:
    """A parameter that is declared stands in the document; what is taken from `request.headers` does not."""
    past = [
        f"{name(module)}:{node.lineno}"
        for module in modules()
        if module.is_relative_to(BROKER / "admin")
        for node in ast.walk(parsed(module))
        if isinstance(node, ast.Call | ast.Subscript)
        and "headers" in ast.unparse(node.func if isinstance(node, ast.Call) else node.value)
        and any(header in ast.unparse(node).casefold() for header in HEADERS)
    ]
    assert past == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_who_may_answer_412_declares_if_match_and_the_other_way_round(database: Database) -> None:
    document = application(database, load(None)).openapi()
    declared, refusing = set(), set()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            headers = {one["name"].casefold() for one in operation.get("parameters", ()) if one["in"] == "header"}
            declared |= {(method, path)} if "if-match" in headers else set()
            refusing |= {(method, path)} if "412" in operation["responses"] else set()
    assert declared == refusing
    for path in ("rules", "nodes", "site"):
        assert {("put", f"/api/v1/{path}"), ("post", f"/api/v1/{path}")} <= declared
