"""Prints the results of `broker hl7`: the origin of each attribute, acknowledgements, differences in the worklist."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from broker.cli.output import console, counted, joined, say

if TYPE_CHECKING:
    from broker.orders.mapping.provenance import ValueOrigin
    from broker.orders.trying.explanation import Explanation
    from broker.tools.hl7_send import Answered

_HOW = {"table": "value table", "station": "station rule", "default": "default value", "identifiers": "made here"}
_COLOURS = {"AA": "green", "CA": "green"}


def show_test(explanation: Explanation) -> None:
    """A message: its answer, findings, and a table for each part."""
    screen = console()
    code = explanation.code
    screen.print(
        joined(("answer ", "bold"), (code or "none", _COLOURS.get(code, "red")), f"  profile {explanation.profile}")
    )
    if explanation.sent != code and explanation.sent:
        screen.print(f"  what leaves: {explanation.sent}")
    if explanation.ignored:
        screen.print(f"  {explanation.ignored} of the mapping")
    screen.print(f"  {explanation.limits}", soft_wrap=True)
    for finding in explanation.findings:
        screen.print(f"  {severity_word(finding.severity)} {finding.code} at {finding.location}: {finding.text}")
    for part in explanation.parts:
        table = Table(box=None, pad_edge=False, title=part.title, title_justify="left", title_style="bold")
        for title in ("attribute", "value", "from", "how"):
            table.add_column(title, overflow="fold", no_wrap=title == "attribute")
        for origin in part.rows:
            place = f"{origin.path} ({origin.location})" if origin.path else ""
            table.add_row(origin.keyword, value_words(origin.value), place, _how(origin))
        screen.print()
        screen.print(table)


def _how(origin: ValueOrigin) -> str:
    if origin.how == "message":
        return ""
    detail = origin.note or (f"{origin.raw!r}" if origin.how == "table" else "")
    return _HOW[origin.how] + (f": {detail}" if detail else "")


def severity_word(severity: str) -> str:
    """A severity of HL7 in a word."""
    return {"E": "error", "W": "warning"}.get(severity, "information")


def value_words(value: Any) -> str:
    """A value of an attribute as text."""
    if isinstance(value, list):
        return "; ".join(map(value_words, value))
    if isinstance(value, dict):
        return ", ".join(f"{keyword} {value_words(inner)}" for keyword, inner in value.items())
    return "(nothing)" if value in (None, "") else str(value)


def show_answer(answered: Answered) -> None:
    """One acknowledgement with its findings in words."""
    reply = answered.reply
    say(f"{answered.index + 1}: {reply.code or '??'} {reply.words}  {answered.seconds * 1000:.1f} ms")
    for line in reply.lines:
        say(f"   {line}")


def show_replay(replayed: list[dict[str, Any]], *, write: bool) -> None:
    """Messages that were run again, and what differs in the worklist."""
    changed = 0
    for message in replayed:
        codes = f"{message['answered']} -> {message['code']}"
        head = f"message {message['message']} {message['message_type']} from {message['sender']}: {codes}"
        say(f"{head} by {message['profile'] or 'no profile'}")
        for finding in message["findings"]:
            say(
                f"   {severity_word(finding['severity'])} {finding['code']} at {finding['location']}: {finding['text']}"
            )
        for entry in message["differences"]:
            place = f"step {entry['step']}" if entry["step"] else "new step"
            say(f"   {place} {entry['keyword']}: {value_words(entry['before'])} -> {value_words(entry['after'])}")
        changed += bool(message["differences"])
    what = "changed the worklist" if write else "would change the worklist; nothing is written without --write"
    say(f"{counted(len(replayed), 'message')}, {changed} {what}")
