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
        for writes in [WRITES | kept(parsed(path))]
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and _is_line(node, writes)
        for keyword in node.keywords
        if keyword.arg and keyword.arg not in telemetry.FIELDS
    ]
    assert withheld == []


def test_a_method_of_the_logger_that_a_name_holds_writes_too() -> None:
    source = "log, peer = logger().info, 1\nnote = logger().warning if bad else logger().info\nother = logger()\n"
    assert kept(ast.parse(source)) == {"log", "peer", "note"}
    assert {"log", "note", "level"} <= set().union(*(kept(parsed(path)) for path in modules()))


def kept(tree: ast.Module) -> set[str]:
    """Names that hold a method of the logger, and those that are assigned together with one."""
    return {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and any(_is_method(part) for part in ast.walk(node.value))
        for place in node.targets
        for target in ast.walk(place)
        if isinstance(target, ast.Name)
    }


def _is_method(node: ast.AST) -> bool:
    """`logger().info`, not called."""
    return isinstance(node, ast.Attribute) and node.attr in WRITES and ast.unparse(node.value).endswith("logger()")


def _is_line(call: ast.Call, writes: set[str]) -> bool:
    """A call of a logger with the name of an event."""
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    event = call.args[0] if call.args else None
    return called in writes and isinstance(event, ast.Constant) and isinstance(event.value, str) and "." in event.value
