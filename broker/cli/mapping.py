"""`broker mapping`: check, publish, list and roll back profiles that map HL7 messages to the worklist."""

from __future__ import annotations

import re
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from broker.cli.asking import anywhere
from broker.cli.asking.running import ask_or_do
from broker.cli.common import Config, exit_on_error, moment, settings_of, wall_clock
from broker.cli.documents import Author, Json, Reason, signed
from broker.cli.output import say, say_document, say_json, show_table
from broker.model.audit import LOCAL
from broker.model.modalities import known_modalities

if TYPE_CHECKING:
    from broker.store.db.database import Database

app = typer.Typer(no_args_is_help=True, help="Check, publish and roll back profiles that map HL7 messages.")
File = Annotated[Path, typer.Argument(help="File of a mapping profile (TOML).")]
Files = Annotated[list[Path], typer.Argument(help="Files of mapping profiles (TOML), each checked for itself.")]
Name = Annotated[str, typer.Argument(help="Name of a profile, as `broker mapping list` shows it.")]
_AGO = re.compile(r"([0-9]{1,6})([dh])")
_SPANS = {"d": 86_400, "h": 3600}  # s


@app.command("list")
def list_(config: Config = None) -> None:
    """List all profiles in force and the senders that each reads."""
    from broker.orders import mapping_texts
    from broker.store import configurations

    with exit_on_error():
        clock = wall_clock(config)
        url = settings_of(config).database_url()
        profiles = mapping_texts.listed(mapping_texts.peek(url), configurations.look(url, mapping_texts.dates) or {})
    titles = ("name", "version", "extends", "senders", "stations", "examples", "published", "description")
    rows = [
        (
            profile.name,
            str(profile.version),
            profile.extends,
            "\n".join(profile.senders),
            str(profile.stations),
            str(profile.examples),
            f"{clock(profile.at)} {profile.source}" if profile.version else profile.source,
            profile.description,
        )
        for profile in profiles
    ]
    show_table(titles, rows, whole=("name", "version", "extends"))


@app.command()
def check(files: Files, config: Config = None) -> None:
    """Check each profile: run its examples and those of the profiles in force beside it. Changes nothing.

    What is wrong is told with its line.
    """
    from broker.orders import mapping_texts
    from broker.orders.mapping_versions import read_file
    from broker.orders.trying.draft import check_draft

    code = 0
    with exit_on_error():
        settings = settings_of(config)
        texts = mapping_texts.peek(settings.database_url())
        modalities = known_modalities(settings.worklist.modalities)
        for file in files:
            checked = check_draft(read_file(file), texts, modalities)
            for mistake in checked.wrong:
                say(f"{file}: {mistake}", err=True)
            if not checked.wrong:
                say(f"{file}: profile {checked.name}, {len(checked.examples)} examples: all good")
            code = max(code, 2 if checked.mistakes else 1 if checked.wrong else 0)
    if code:
        raise typer.Exit(code)


@app.command("import")
def import_(file: File, config: Config = None, reason: Reason = "", author: Author = "") -> None:
    """Publish a profile if all examples come out as they say. A running broker uses it from the next message on."""
    from broker.orders.mapping_versions import Mappings, read_file

    with exit_on_error():
        text = read_file(file)
        settings = settings_of(config)

        def publish(database: Database, actor: str) -> dict[str, Any]:
            mappings = Mappings(database, known_modalities(settings.worklist.modalities))
            name, version = mappings.publish(text, actor, author=author, reason=reason, address=LOCAL)
            return {"name": name, "version": version}

        published = ask_or_do(settings, "/mappings", {"toml": text} | signed(reason, author), publish)
    _show_published(published)


@app.command()
def export(
    name: Name,
    config: Config = None,
    version: Annotated[
        int | None, typer.Option(help="Print this older version; 0 is the built-in profile.", show_default=False)
    ] = None,
) -> None:
    """Print a profile as TOML, just as it was imported."""
    from broker.orders import mapping_texts
    from broker.store import configurations

    with exit_on_error():
        url = settings_of(config).database_url()
        text = configurations.look(url, lambda connection: mapping_texts.text_of(connection, name, version))
        say_document(text if text is not None else mapping_texts.built_in_text(name, version))


@app.command()
def history(name: Name, config: Config = None) -> None:
    """List all versions of a profile, newest first: when, by whom and why."""
    from broker.cli.views.mapping_view import who_and_why
    from broker.orders import mapping_texts
    from broker.store import configurations

    with exit_on_error():
        clock = wall_clock(config)
        url = settings_of(config).database_url()
        versions = configurations.look(url, lambda connection: mapping_texts.history_of(connection, name))
    for entry in versions if versions is not None else [mapping_texts.built_in_entry(name)]:
        say(f"{entry.version:>4}  {clock(entry.at) if entry.version else '':19}  {who_and_why(asdict(entry))}")


@app.command()
def diff(
    name: Name,
    before: Annotated[int | None, typer.Argument(min=0, help="The one before the other without it.")] = None,
    after: Annotated[int | None, typer.Argument(min=0, help="The one in force without it.")] = None,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show what differs between two versions: of the one in force what the last change was."""
    from broker.cli.views.mapping_view import show_difference

    with exit_on_error():
        query = "&".join(f"{key}={one}" for key, one in (("from", before), ("to", after)) if one is not None)
        found = anywhere.ask(config, "GET", f"/mappings/{quote(name, safe='')}/diff" + (f"?{query}" if query else ""))
    if as_json:
        say_json(found, ascii_only=True)
    else:
        show_difference(found)


@app.command()
def changes(
    file: File,
    since: Annotated[str, typer.Option(help="Look at messages since: 7d, 12h, or a date like 2026-03-12.")] = "7d",
    limit: Annotated[int, typer.Option(min=1, max=500, help="Run at most so many, the newest first.")] = 500,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show which received messages would change something else by a draft than they do now. Writes nothing."""
    from broker.cli.views.mapping_view import show_effects
    from broker.orders.mapping_versions import read_file

    with exit_on_error():
        settings = settings_of(config)
        ago = _AGO.fullmatch(since)
        begin = time.time() - int(ago[1]) * _SPANS[ago[2]] if ago else moment(since, settings)
        body = {"toml": read_file(file), "since": max(0.0, begin), "limit": limit}
        found = anywhere.ask(config, "POST", "/mappings/changes", body)
    if as_json:
        say_json(found, ascii_only=True)
    else:
        show_effects(found)


@app.command()
def rollback(
    name: Name,
    version: Annotated[
        int | None,
        typer.Argument(
            min=0,
            help="Number of the version; 0 is the built-in profile. Undo the last change without it.",
            show_default=False,
        ),
    ] = None,
    config: Config = None,
    reason: Reason = "",
    author: Author = "",
) -> None:
    """Put an older version in force again, as a new version. Without a number: undo the last change, and say whose."""
    from broker.cli.views.mapping_view import who_and_why
    from broker.orders.mapping_versions import Mappings

    with exit_on_error():
        settings, clock = settings_of(config), wall_clock(config)
        undone: dict[str, Any] | None = None
        if version is None:
            undone = anywhere.ask(config, "GET", f"/mappings/{quote(name, safe='')}/history")[0]

        def put_back(database: Database, actor: str) -> dict[str, Any]:
            mappings = Mappings(database, known_modalities(settings.worklist.modalities))
            number = mappings.rollback(name, version, actor, author=author, reason=reason, address=LOCAL)
            return {"name": name, "version": number}

        path = f"/mappings/{name}/rollback"
        body = ({} if version is None else {"version": version}) | signed(reason, author)
        published = ask_or_do(settings, path, body, put_back)
    if undone:
        number, at = undone["version"], clock(undone["at"])
        say(f"{name}: undone: version {number} of {at}, {who_and_why(undone)}")
    _show_published(published)


def _show_published(published: dict[str, Any]) -> None:
    say(f"{published['name']}: version {published['version']} in force")
