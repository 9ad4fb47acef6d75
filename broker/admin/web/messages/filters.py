"""Says which messages the filters of the list mean, and what is wrong with what was typed there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from fastapi import Request

from broker.admin.context import AdminContext
from broker.admin.web.listing import Asked, Column, Filter, Table, midnight
from broker.admin.web.messages import words
from broker.admin.web.words import Sentence
from broker.model.message import Direction, JournalFilter, Refusal
from broker.orders.journal.finding import Subject

TABLE = Table(
    path="/messages",
    region="journal",
    title=Sentence("Messages"),
    columns=(
        Column(name="at", title=Sentence("Time")),
        Column(name="party", title=Sentence("From or to")),
        Column(name="type", title=Sentence("Type")),
        Column(name="control", title=Sentence("Control ID")),
        Column(name="answer", title=Sentence("Answer")),
        Column(name="findings", title=Sentence("Findings")),
    ),
    filters=(
        Filter(
            name="state",
            title=Sentence("State"),
            kind="choice",
            choices=tuple((one.value, word) for one, word in words.REFUSALS.items()),
        ),
        Filter(
            name="direction",
            title=Sentence("Direction"),
            kind="choice",
            choices=tuple((one.value, word) for one, word in words.DIRECTIONS.items()),
        ),
        Filter(name="sender", title=Sentence("From or to"), hint=Sentence("RIS or RIS|SITE")),
        Filter(name="type", title=Sentence("Type"), hint=Sentence("ORM or ORM^O01")),
        Filter(name="answer", title=Sentence("Answer"), hint=Sentence("like AE")),
        Filter(name="finding", title=Sentence("Finding"), hint=Sentence("code, like 101")),
        Filter(name="since", title=Sentence("From"), kind="date"),
        Filter(name="until", title=Sentence("To"), kind="date"),
        Filter(name="exam", title=Sentence("Exam"), kind="hidden"),
        Filter(name="patient", title=Sentence("Patient"), kind="hidden"),
        Filter(name="only", title=Sentence("Message"), kind="hidden"),
    ),
)
PICKED = replace(TABLE, columns=(Column(name="pick", title=Sentence("Pick")), *TABLE.columns))
_NUMBERS = re.compile(r"\d{1,18}(?:\.\d{1,18}){0,63}")
_CODE = re.compile(r"\d{1,4}")


def table_of(request: Request) -> Table:
    """The table: rows can be picked where all of them wait for a person."""
    return PICKED if request.query_params.get("state") == Refusal.OPEN else TABLE


def checked(asked: Asked) -> Asked:
    """What is asked, without what cannot be used: that is told beside its filter."""
    values, errors = dict(asked.values), dict(asked.errors)
    for name in ("exam", "patient", "only"):
        if name in values and not _NUMBERS.fullmatch(values[name]):
            del values[name]
    if "finding" in values and not _CODE.fullmatch(values["finding"]):
        del values["finding"]
        errors["finding"] = Sentence("Type a code of up to four digits, like 101.")
    return replace(asked, values=values, errors=errors)


def subject_of(values: Mapping[str, str]) -> Subject:
    """Whose messages the filters mean."""
    rows = {
        name: tuple(map(int, values[name].split("."))) if name in values else None
        for name in ("exam", "patient", "only")
    }
    return Subject(orders=rows["exam"], patients=rows["patient"], only=rows["only"])


def wanted_of(context: AdminContext, values: Mapping[str, str]) -> JournalFilter:
    """Which messages the filters mean."""
    zone = context.settings.zone()
    return JournalFilter(
        direction=Direction(values["direction"]) if "direction" in values else None,
        refusal=Refusal(values["state"]) if "state" in values else None,
        since=midnight(zone, values.get("since", "")),
        until=midnight(zone, values.get("until", ""), 1),
        party=values.get("sender", ""),
        message_type=values.get("type", ""),
        answer_code=values.get("answer", ""),
        finding=values.get("finding", ""),
    )
