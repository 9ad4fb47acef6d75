"""`broker nodes`: shows, checks and publishes nodes; shows devices that knock and lets them in."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from broker.cli import documents
from broker.cli.asking.anywhere import ask
from broker.cli.common import Config, exit_on_error, wall_clock
from broker.cli.documents import Author, Json, Number, Reason
from broker.cli.output import say, say_json, show_table

app = typer.Typer(no_args_is_help=True, help="Show, check and publish nodes; let devices in that knock.")
documents.add_editing(app, "nodes")
documents.add_versions(app, "nodes")


@app.command("list")
def list_(config: Config = None, as_json: Json = False) -> None:
    """Show the nodes in force."""
    with exit_on_error():
        nodes = ask(config, "GET", "/nodes")
    if as_json:
        say_json(nodes, ascii_only=True)
        return
    _show(nodes)


@app.command()
def show(number: Number, config: Config = None, as_json: Json = False) -> None:
    """Show the nodes of one version."""
    with exit_on_error():
        version = documents.document(config, "nodes", number)
    if as_json:
        say_json(version, ascii_only=True)
        return
    _show(version["document"])


def _show(nodes: list[dict[str, Any]]) -> None:
    rows = []
    for node in nodes:
        title = node.get("ae_title") or "|".join(filter(None, (node.get("application"), node.get("facility"))))
        place = f"{node.get('host') or 'any address'}{':' + str(node['port']) if node.get('port') else ''}"
        profile = ", ".join(f"{key} = {_said(value)}" for key, value in (node.get("device") or {}).items())
        rows.append((node["name"], node["kind"], title, place, " ".join(node.get("roles", ())), profile))
    show_table(("name", "kind", "title", "address", "roles", "profile"), rows)


def _said(value: Any) -> str:
    """A value of a profile, as site.toml may have it."""
    return json.dumps(value[0] if isinstance(value, list) and len(value) == 1 else value, ensure_ascii=False)


@app.command()
def knocking(config: Config = None, as_json: Json = False) -> None:
    """Show devices that called and are no node, the last to call first."""
    with exit_on_error():
        clock = wall_clock(config)
        found = ask(config, "GET", "/nodes/knocking")
    if as_json:
        say_json(found, ascii_only=True)
        return
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
    reason: Reason = "",
    author: Author = "",
    as_json: Json = False,
) -> None:
    """Let a device in, at once and without a restart."""
    body = {"ae_title": ae_title, "address": address, "name": name, "bind_address": not any_address}
    body |= documents.signed(reason, author)
    with exit_on_error():
        done = ask(config, "POST", "/nodes/admit", body | ({"roles": role} if role else {}))
    if as_json:
        say_json(done, ascii_only=True)
        return
    node = done["node"]
    place = node["host"] or "any address"
    say(f"{node['name']}: {node['ae_title']} from {place} is let in (version {done['version']} of the nodes)")
