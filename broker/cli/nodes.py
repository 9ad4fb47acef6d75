"""`broker nodes`: who is known, who knocks, and letting a device in. Asks the running broker."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from broker.cli.asking.running import ask
from broker.cli.common import Config, exit_on_error, show_table, wall_clock

app = typer.Typer(no_args_is_help=True, help="List nodes and devices that knock; let a device in.")


@app.command("list")
def list_(config: Config = None) -> None:
    """Show the nodes in force."""
    with exit_on_error():
        found = ask(config, "GET", "/nodes")
    rows = []
    for one in found:
        title = one["ae_title"] or "|".join(filter(None, (one["application"], one["facility"])))
        place = f"{one['host'] or 'any address'}{':' + str(one['port']) if one['port'] else ''}"
        profile = ", ".join(f"{key} = {_said(value)}" for key, value in (one["device"] or {}).items())
        rows.append((one["name"], one["kind"], title, place, " ".join(one["roles"]), profile))
    show_table(("name", "kind", "title", "address", "roles", "profile"), rows)


def _said(value: Any) -> str:
    """A value of a profile, as site.toml may have it."""
    return json.dumps(value[0] if isinstance(value, list) and len(value) == 1 else value, ensure_ascii=False)


@app.command()
def knocking(config: Config = None) -> None:
    """Show devices that called and are no node, the last to call first."""
    with exit_on_error():
        clock = wall_clock(config)
        found = ask(config, "GET", "/nodes/knocking")
    rows = []
    for one in found:
        last = clock(one["last_at"])
        asked = ", ".join(f"{keyword}={value}" for keyword, value in (one["queries"] or [{}])[0].items())
        rows.append((one["ae_title"], one["address"], str(one["count"]), last, ", ".join(one["wants"]), asked))
    show_table(("AE title", "address", "calls", "last", "wants", "asked last"), rows)


@app.command()
def admit(
    ae_title: Annotated[str, typer.Argument(help="As `broker nodes knocking` shows it.")],
    address: Annotated[str, typer.Argument(help="As `broker nodes knocking` shows it.")],
    name: Annotated[str, typer.Option(help="Of the node; made of the AE title without it.")] = "",
    role: Annotated[list[str] | None, typer.Option(help="modality, mpps or worklist; several times.")] = None,
    any_address: Annotated[
        bool, typer.Option("--any-address", help="Let it in from every address, not from this one only.")
    ] = False,
    config: Config = None,
) -> None:
    """Let a device in, at once and without a restart."""
    body = {"ae_title": ae_title, "address": address, "name": name, "bind_address": not any_address}
    with exit_on_error():
        done = ask(config, "POST", "/nodes/admit", body | ({"roles": role} if role else {}))
    node = done["node"]
    place = node["host"] or "any address"
    typer.echo(f"{node['name']}: {node['ae_title']} from {place} is let in (version {done['version']} of the nodes)")
