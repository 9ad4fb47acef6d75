"""`broker mapping`: profiles that map HL7 messages to the worklist."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.asking.desk import ask, mistakes, settings_of, wall_clock

if TYPE_CHECKING:
    from broker.store.db.database import Database

app = typer.Typer(no_args_is_help=True, help="Mappings of HL7 messages to the worklist.")
Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Path of broker.toml; built-in defaults without it.", show_default=False),
]
File = Annotated[Path, typer.Argument(help="A mapping profile (TOML).")]
Name = Annotated[str, typer.Argument(help="A profile, as `broker mapping list` names it.")]


@app.command("list")
def list_(config: Config = None) -> None:
    """Show all profiles in force and whose messages they read."""
    from rich.console import Console
    from rich.table import Table

    from broker.orders import mappings
    from broker.store import configurations

    with mistakes():
        clock = wall_clock(config)
        url = settings_of(config).database_url()
        found = mappings.listed(mappings.peek(url), configurations.look(url, mappings.dates) or {})
    table = Table(box=None, pad_edge=False)
    for title in ("name", "version", "extends", "senders", "stations", "examples", "published", "description"):
        table.add_column(title, overflow="fold", no_wrap=title in ("name", "version", "extends"))
    for one in found:
        published = f"{clock(one.at)} {one.source}" if one.version else one.source
        table.add_row(
            one.name,
            str(one.version),
            one.extends,
            "\n".join(one.senders),
            str(one.stations),
            str(one.examples),
            published,
            one.description,
        )
    Console().print(table)


@app.command()
def check(file: File, config: Config = None) -> None:
    """Read a profile and run its examples, and those of the profiles in force beside it. Nothing is changed."""
    from broker.orders import mappings

    with mistakes():
        texts = mappings.peek(settings_of(config).database_url())
        try:
            found = mappings.check(mappings.read_file(file), texts, str(file))
        except mappings.ExamplesFailed as error:
            for failure in error.failures:
                typer.echo(f"{file}: {failure}", err=True)
            raise typer.Exit(1) from None
    typer.echo(f"{file}: profile {found.name}, {found.examples} examples: all good")


@app.command("import")
def import_(file: File, config: Config = None) -> None:
    """Publish a profile if all examples come out as they say. A running broker uses it from the next message on."""
    from broker.orders.mappings import Mappings, read_file

    with mistakes():
        text = read_file(file)

        def publish(database: Database, actor: str) -> dict[str, Any]:
            name, version = Mappings(database).publish(text, actor)
            return {"name": name, "version": version}

        published = ask(settings_of(config), "/api/v1/mappings", {"toml": text}, publish)
    _show_published(published)


@app.command()
def export(
    name: Name,
    config: Config = None,
    version: Annotated[int | None, typer.Option(help="An older one; 0 is built in.", show_default=False)] = None,
) -> None:
    """Print a profile as TOML, just as it was imported."""
    from broker.orders import mappings
    from broker.store import configurations

    with mistakes():
        url = settings_of(config).database_url()
        text = configurations.look(url, lambda connection: mappings.text_of(connection, name, version))
        typer.echo(text if text is not None else mappings.built_in_text(name, version), nl=False)


@app.command()
def history(name: Name, config: Config = None) -> None:
    """Show all versions of a profile, the newest first: when and by whom."""
    from broker.orders import mappings
    from broker.store import configurations

    with mistakes():
        clock = wall_clock(config)
        url = settings_of(config).database_url()
        found = configurations.look(url, lambda connection: mappings.history_of(connection, name))
    for entry in found if found is not None else [mappings.Entry(0, 0, "built-in")]:
        typer.echo(f"{entry.version:>4}  {clock(entry.at) if entry.version else '':19}  {entry.source}")


@app.command()
def rollback(
    name: Name, version: Annotated[int, typer.Argument(min=0, help="0 is the built-in profile.")], config: Config = None
) -> None:
    """Put an older version in force again, as a new one."""
    from broker.orders.mappings import Mappings

    def put_back(database: Database, actor: str) -> dict[str, Any]:
        return {"name": name, "version": Mappings(database).rollback(name, version, actor)}

    with mistakes():
        path = f"/api/v1/mappings/{name}/rollback"
        published = ask(settings_of(config), path, {"version": version}, put_back)
    _show_published(published)


def _show_published(published: dict[str, Any]) -> None:
    typer.echo(f"{published['name']}: version {published['version']} in force")
