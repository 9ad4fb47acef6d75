"""Declares the commands that rules, nodes and the site share: check, import, export, show, history, diff, rollback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from broker.cli.asking.anywhere import ask
from broker.cli.common import CommandRefused, Config, exit_on_error, wall_clock
from broker.cli.output import say, say_document, say_json, show_table
from broker.errors import ConfigurationError

File = Annotated[Path, typer.Argument(help="A site.toml.")]
Json = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
Reason = Annotated[str, typer.Option(help="Why; shown in the history.")]
Author = Annotated[str, typer.Option(help="On whose behalf; the user of this machine without it.", show_default=False)]
Replace = Annotated[bool, typer.Option("--replace", help="Remove nodes that are in force and not in the file.")]
Version = Annotated[int | None, typer.Argument(min=1, help="A version, as the history shows it.", show_default=False)]
Number = Annotated[int, typer.Argument(min=1, help="A version, as the history shows it.")]
SITE = "site"
_KEYS = {"rules": ("rules",), "nodes": ("nodes",), SITE: ("nodes", "rules")}


def add_editing(app: typer.Typer, name: str) -> None:
    """Add the commands that take or write a file; `name`: rules, nodes or site."""

    @app.command("import")
    def import_(
        file: File,
        config: Config = None,
        reason: Reason = "",
        author: Author = "",
        replace: Replace = False,
        as_json: Json = False,
    ) -> None:
        """Put what a file says in force, at once and without a restart."""
        with exit_on_error():
            body = body_of(file, name) | signed(reason, author)
            if replace:
                body["replace"] = True
            if name == "rules":
                body.pop("replace", None)
            published = ask(config, "POST", f"/{name}", body)
        show_published(published, as_json)

    @app.command()
    def export(
        config: Config = None,
        version: Annotated[int | None, typer.Option(help="An older one.", show_default=False)] = None,
        as_json: Json = False,
    ) -> None:
        """Print what is in force, as a site.toml. Passcodes are masked; an import keeps those in force."""
        from broker.versions.toml import dumps

        with exit_on_error():
            if name == SITE and version is not None:
                raise CommandRefused(
                    "nodes and rules have versions of their own: use `broker nodes export --version` "
                    "or `broker rules export --version`"
                )
            found = {kind: _document(config, kind, version) for kind in _KEYS[name]}
        if as_json:
            say_json(found, ascii_only=True)
        else:
            say_document(dumps(_tables(found)))


def add_versions(app: typer.Typer, kind: str) -> None:
    """Add the commands about versions; `kind`: rules or nodes."""

    @app.command()
    def check(file: File, config: Config = None, as_json: Json = False) -> None:
        """Check a file beside what is in force, and show what it would change. Changes nothing."""
        with exit_on_error():
            checked = ask(config, "POST", f"/{kind}/check", body_of(file, kind))
        if as_json:
            say_json(checked, ascii_only=True)
            return
        say(f"{file}: good" + (f", {checked['examples']} examples" if kind == "rules" else ""))
        for doubt in checked["doubts"]:
            say(f"doubt: {doubt}")
        show_changes(checked["changes"])

    @app.command()
    def history(
        config: Config = None,
        limit: Annotated[int, typer.Option(min=1, max=1000, help="Show so many.")] = 100,
        as_json: Json = False,
    ) -> None:
        """Show the versions, the newest first: when, by whom, why."""
        with exit_on_error():
            clock = wall_clock(config)
            entries = ask(config, "GET", f"/{kind}/history?limit={limit}")
        if as_json:
            say_json(entries, ascii_only=True)
            return
        rows = [
            (str(entry["version"]), clock(entry["at"]), entry["author"] or entry["source"], entry["reason"])
            for entry in entries
        ]
        show_table(("version", "when", "author", "reason"), rows, whole=("version", "when"))

    @app.command()
    def diff(before: Version = None, after: Version = None, config: Config = None, as_json: Json = False) -> None:
        """Say what differs between two versions; without them who changed what last, when and why."""
        _show_difference(config, kind, before, after, as_json)

    @app.command()
    def rollback(
        version: Annotated[int | None, typer.Argument(min=1, help="The one before the present one without it.")] = None,
        config: Config = None,
        reason: Reason = "",
        author: Author = "",
        as_json: Json = False,
    ) -> None:
        """Put an older version in force again, as a new one."""
        with exit_on_error():
            body = signed(reason, author) | ({"version": version} if version is not None else {})
            published = ask(config, "POST", f"/{kind}/rollback", body)
        show_published(published, as_json)


def _show_difference(config: Path | None, kind: str, before: int | None, after: int | None, as_json: bool) -> None:
    with exit_on_error():
        told = ""
        if after is None:
            before, after, told = _last_change(config, kind, before)
        changes = ask(config, "GET", f"/{kind}/diff?from={before}&to={after}")
    if told and not as_json:
        say(told)
    if as_json:
        say_json(changes, ascii_only=True)
        return
    show_changes(changes)


def _last_change(config: Path | None, kind: str, before: int | None) -> tuple[int, int, str]:
    """The last two versions, and who made the newer one, when and why. Raises CommandRefused."""
    if before is not None:
        raise CommandRefused("say two versions, or none for the last change")
    entries = ask(config, "GET", f"/{kind}/history?limit=2")
    if len(entries) < 2:
        raise CommandRefused(f"there is no older version of the {kind}")
    last, older = entries
    when, why = wall_clock(config)(last["at"]), f": {last['reason']}" if last["reason"] else ""
    return (
        older["version"],
        last["version"],
        f"version {last['version']}, {when}, {last['author'] or last['source']}{why}",
    )


def body_of(file: Path, name: str) -> dict[str, Any]:
    """The tables of a site file as REST takes them. Raises ConfigurationError."""
    from broker.routing.site import read_file, read_tables

    tables = read_file(file) if name == SITE else read_tables(file)
    body: dict[str, Any] = {}
    if "nodes" in _KEYS[name]:
        body["node"] = tables["nodes"]
    if "rules" in _KEYS[name]:
        body |= tables["rules"]
    try:
        json.dumps(body, allow_nan=False)
    except (TypeError, ValueError):
        raise ConfigurationError(f"{file}: dates, times and infinite numbers are no values here") from None
    return body


def signed(reason: str, author: str) -> dict[str, str]:
    """Who publishes and why, as REST takes it."""
    return {"reason": reason} | ({"author": author} if author else {})


def show_published(published: dict[str, Any], as_json: bool) -> None:
    """Print what is in force now and what has changed."""
    if as_json:
        say_json(published, ascii_only=True)
        return
    for kind, number in published["versions"].items():
        say(f"{kind}: version {number} in force")
    show_changes(published["changes"])


def show_changes(changes: list[dict[str, Any]]) -> None:
    """Print differences between two versions."""
    for change in changes:
        say(f"  {change['words']}")
    if not changes:
        say("  nothing changes")


def document(config: Path | None, kind: str, version: int | None) -> dict[str, Any]:
    """A version with its document; that in force without a number. Raises as `ask`."""
    if version is None:
        newest = ask(config, "GET", f"/{kind}/history?limit=1")
        version = newest[0]["version"] if newest else 0
    empty: Any = [] if kind == "nodes" else {}
    if not version:
        return {"kind": kind, "version": 0, "document": empty}
    found: dict[str, Any] = ask(config, "GET", f"/{kind}/versions/{version}")
    return found


def _document(config: Path | None, kind: str, version: int | None) -> Any:
    return document(config, kind, version)["document"]


def _tables(found: dict[str, Any]) -> dict[str, Any]:
    """Documents by kind as one site.toml."""
    made: dict[str, Any] = dict(found.get("rules", {}))
    nodes = {"node": found["nodes"]} if found.get("nodes") else {}
    return nodes | made
