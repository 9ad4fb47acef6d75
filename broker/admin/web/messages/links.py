"""Makes the addresses of messages and of the exams that they are about."""

from __future__ import annotations

from fastapi import Request

from broker.model.message import JournalRow, MessageRecord


def exam_path(request: Request, order: int) -> str:
    """The address of an exam by our number of its order; empty where the caller has no such page."""
    shown = (link for link in request.app.state.shell.links if link.path == "/exams")
    return f"/exams/{order}" if any(link.is_for(request.state.rights) for link in shown) else ""


def message_path(row: JournalRow) -> str:
    """The address of a message."""
    return f"/messages/{row.row}" if isinstance(row, MessageRecord) else f"/messages/sent/{row.row}"
