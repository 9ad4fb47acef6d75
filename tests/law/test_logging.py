"""Every key of a line of the log reaches the log: the others are withheld in `telemetry`."""

from __future__ import annotations

import ast

from support.tree import modules, name, parsed

from broker import telemetry

WRITES = {"debug", "info", "warning", "error", "log"}


def test_the_keys_of_log_lines_are_those_that_are_written() -> None:
    withheld = [
        f"{name(path)}:{node.lineno}: {keyword.arg}"
        for path in modules()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and _is_line(node)
        for keyword in node.keywords
        if keyword.arg and keyword.arg not in telemetry.FIELDS
    ]
    assert withheld == []


def _is_line(call: ast.Call) -> bool:
    """A call of a logger with the name of an event."""
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    event = call.args[0] if call.args else None
    return called in WRITES and isinstance(event, ast.Constant) and isinstance(event.value, str) and "." in event.value
