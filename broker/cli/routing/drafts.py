"""`broker rules draft`, `drafts`, `drop`, `activate`, `planned` and `cancel`: rules that are not in force yet."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from broker.cli import documents
from broker.cli.asking.anywhere import ask
from broker.cli.common import CommandRefused, Config, exit_on_error, settings_of, wall_clock
from broker.cli.documents import Author, File, Json, Reason
from broker.cli.output import say, say_json, show_table

Draft = Annotated[int, typer.Argument(min=1, help="A draft, as `broker rules drafts` shows it.")]
Plan = Annotated[int, typer.Argument(min=1, help="A plan, as `broker rules planned` shows it.")]


def add_drafts(app: typer.Typer) -> None:
    """Add the commands."""
    for command in (activate, draft, drafts, drop, planned, cancel):
        app.command()(command)


def activate(
    number: Annotated[int | None, typer.Argument(min=1, help="A version, as the history shows it.")] = None,
    config: Config = None,
    draft: Annotated[
        int | None, typer.Option(min=1, help="A draft instead, as `broker rules drafts` shows it.")
    ] = None,
    at: Annotated[str, typer.Option(help="When, such as 2026-12-24T18:00 of the site's time; now without it.")] = "",
    reason: Reason = "",
    author: Author = "",
    as_json: Json = False,
) -> None:
    """Put an older version in force again, or a draft: now, or at a time."""
    with exit_on_error():
        if (number is None) == (draft is None):
            raise CommandRefused("say which version, or which draft by --draft")
        body: dict[str, Any] = documents.signed(reason, author)
        when = {"at": _moment(config, at)} if at else {}
        if draft is not None:
            found = ask(config, "GET", f"/rules/drafts/{draft}")
            body |= {"revision": found["revision"], **when}
            done = ask(config, "POST", f"/rules/drafts/{draft}/activate", body)
            told = f"draft {draft}: " + (
                f"planned as {done['planned']}" if at else f"version {done['version']} in force"
            )
        elif at:
            done = ask(config, "POST", "/rules/planned", body | {"version": number, **when})
            told = f"version {number}: planned as {done['id']}"
        else:
            documents.show_published(ask(config, "POST", "/rules/rollback", body | {"version": number}), as_json)
            return
    if as_json:
        say_json(done, ascii_only=True)
    else:
        say(told)


def draft(file: File, config: Config = None, reason: Reason = "", as_json: Json = False) -> None:
    """Keep the rules of a file as your draft, in place of what it said. Nothing comes into force."""
    with exit_on_error():
        kept = ask(config, "PUT", "/rules/draft", documents.body_of(file, "rules") | {"reason": reason})
        checked = ask(config, "GET", f"/rules/drafts/{kept['id']}/check")
    if as_json:
        say_json(kept | {"check": checked}, ascii_only=True)
        return
    say(f"draft {kept['id']}, made of version {kept['base']}")
    for kind, texts in (("wrong", checked["mistakes"]), ("doubt", checked["doubts"])):
        for text in texts:
            say(f"{kind}: {text}")
    documents.show_changes(checked["changes"])


def drafts(config: Config = None, as_json: Json = False) -> None:
    """List the drafts of all authors."""
    with exit_on_error():
        clock = wall_clock(config)
        found = ask(config, "GET", "/rules/drafts")
    if as_json:
        say_json(found, ascii_only=True)
        return
    rows = [(str(one["id"]), one["author"], str(one["base"]), clock(one["changed_at"])) for one in found]
    show_table(("draft", "author", "made of version", "changed"), rows)


def drop(number: Draft, config: Config = None, reason: Reason = "") -> None:
    """Drop a draft."""
    with exit_on_error():
        ask(config, "POST", f"/rules/drafts/{number}/drop", {"reason": reason})
    say(f"draft {number}: dropped")


def planned(config: Config = None, as_json: Json = False) -> None:
    """List what was planned to come into force, and what became of it."""
    with exit_on_error():
        clock = wall_clock(config)
        found = ask(config, "GET", "/rules/planned")
    if as_json:
        say_json(found, ascii_only=True)
        return
    rows = [
        (
            str(one["id"]),
            clock(one["due_at"]),
            f"version {one['again']}" if one["again"] else f"draft of {one['author']}",
            one["planned_by"],
            f"version {one['version']}" if one["version"] else one["failure"] or one["state"],
        )
        for one in found
    ]
    show_table(("plan", "due", "what", "planned by", "became"), rows)


def cancel(number: Plan, config: Config = None, reason: Reason = "") -> None:
    """Let a plan not come into force."""
    with exit_on_error():
        ask(config, "POST", f"/rules/planned/{number}/cancel", {"reason": reason})
    say(f"plan {number}: cancelled")


def document_of(config: Path | None, draft: str) -> dict[str, Any]:
    """The rules of `draft:NUMBER`. Raises CommandRefused."""
    number = draft.removeprefix("draft:")
    if not number.isdecimal() or len(number) > 18:
        raise CommandRefused(f"{draft}: write draft:NUMBER, as `broker rules drafts` shows it")
    found: dict[str, Any] = ask(config, "GET", f"/rules/drafts/{number}")["document"]
    return found


def _moment(config: Path | None, text: str) -> float:
    """A time of the command line in s since the epoch. Raises CommandRefused."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandRefused(f"--at {text}: a time like 2026-12-24T18:00") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=settings_of(config).zone())).timestamp()
