"""`broker mapping`: check, publish, list and roll back profiles that map HL7 messages to the worklist."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.asking.running import ask_or_do
from broker.cli.common import Config, exit_on_error, settings_of, wall_clock
from broker.cli.documents import Author, Reason, signed
from broker.cli.output import say, say_document, show_table
from broker.model.audit import LOCAL
from broker.model.modalities import known_modalities

if TYPE_CHECKING:
    from broker.store.configurations import Publication
    from broker.store.db.database import Database

app = typer.Typer(no_args_is_help=True, help="Check, publish and roll back profiles that map HL7 messages.")
File = Annotated[Path, typer.Argument(help="File of a mapping profile (TOML).")]
Files = Annotated[list[Path], typer.Argument(help="Files of mapping profiles (TOML), each checked for itself.")]
Name = Annotated[str, typer.Argument(help="Name of a profile, as `broker mapping list` shows it.")]


@app.command("list")
def list_(config: Config = None) -> None:
    """List all profiles in force and the senders that each reads."""
    from broker.orders import mapping_versions
    from broker.store import configurations

    with exit_on_error():
        clock = wall_clock(config)
        url = settings_of(config).database_url()
        profiles = mapping_versions.listed(
            mapping_versions.peek(url), configurations.look(url, mapping_versions.dates) or {}
        )
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
    """Check each profile: run its examples and those of the profiles in force beside it. Changes nothing."""
    from broker.orders import mapping_versions

    good = True
    with exit_on_error():
        settings = settings_of(config)
        texts = mapping_versions.peek(settings.database_url())
        modalities = known_modalities(settings.worklist.modalities)
        for file in files:
            try:
                checked = mapping_versions.check(mapping_versions.read_file(file), texts, str(file), modalities)
            except mapping_versions.ExamplesFailed as error:
                good = False
                for failure in error.failures:
                    say(f"{file}: {failure}", err=True)
            else:
                say(f"{file}: profile {checked.name}, {checked.examples} examples: all good")
    if not good:
        raise typer.Exit(1)


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
    from broker.orders import mapping_versions
    from broker.store import configurations

    with exit_on_error():
        url = settings_of(config).database_url()
        text = configurations.look(url, lambda connection: mapping_versions.text_of(connection, name, version))
        say_document(text if text is not None else mapping_versions.built_in_text(name, version))


@app.command()
def history(name: Name, config: Config = None) -> None:
    """List all versions of a profile, newest first: when, by whom and why."""
    from broker.orders import mapping_versions
    from broker.store import configurations

    with exit_on_error():
        clock = wall_clock(config)
        url = settings_of(config).database_url()
        versions = configurations.look(url, lambda connection: mapping_versions.history_of(connection, name))
    for entry in versions if versions is not None else [mapping_versions.built_in_entry(name)]:
        say(f"{entry.version:>4}  {clock(entry.at) if entry.version else '':19}  {_who_and_why(entry)}")


def _who_and_why(entry: Publication) -> str:
    """Name the actor, who is meant if somebody else, and the reason if one is given."""
    actor = entry.source.partition(",")[0]  # a roll-back adds `, version 1 again`
    behalf = f" for {entry.author}" if entry.author not in ("", actor) else ""
    return entry.source + behalf + (f": {entry.reason}" if entry.reason else "")


@app.command()
def rollback(
    name: Name,
    version: Annotated[int, typer.Argument(min=0, help="Number of the version; 0 is the built-in profile.")],
    config: Config = None,
    reason: Reason = "",
    author: Author = "",
) -> None:
    """Put an older version in force again, as a new version."""
    from broker.orders.mapping_versions import Mappings

    with exit_on_error():
        settings = settings_of(config)

        def put_back(database: Database, actor: str) -> dict[str, Any]:
            mappings = Mappings(database, known_modalities(settings.worklist.modalities))
            number = mappings.rollback(name, version, actor, author=author, reason=reason, address=LOCAL)
            return {"name": name, "version": number}

        path = f"/mappings/{name}/rollback"
        published = ask_or_do(settings, path, {"version": version} | signed(reason, author), put_back)
    _show_published(published)


def _show_published(published: dict[str, Any]) -> None:
    say(f"{published['name']}: version {published['version']} in force")
