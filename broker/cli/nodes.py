"""`broker nodes`: shows, adds, changes and tests nodes; publishes all of them; lets devices in that knock."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from broker.cli import documents
from broker.cli.asking.anywhere import ask
from broker.cli.common import CommandRefused, Config, exit_on_error, wall_clock
from broker.cli.documents import Author, Json, Reason
from broker.cli.output import say, say_json
from broker.cli.views import nodes_view
from broker.cli.views.nodes_view import assigned

app = typer.Typer(no_args_is_help=True, help="Show, add, change and test nodes; let devices in that knock.")
documents.add_editing(app, "nodes")
documents.add_versions(app, "nodes")

Name = Annotated[str, typer.Argument(help="Of the node.")]
Title = Annotated[str, typer.Argument(help="As `broker nodes knocking` shows it.")]
Address = Annotated[str, typer.Argument(help="As `broker nodes knocking` shows it.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help='A key and its value as in site.toml, like `port=104` or `device.charset="ISO_IR 100"`.',
        metavar="KEY=VALUE",
    ),
]
Role = Annotated[
    list[str] | None, typer.Option(help="modality, destination, ris, mpps, worklist, audit or notify; several times.")
]


@app.command("list")
def list_(config: Config = None, as_json: Json = False) -> None:
    """Show the nodes in force, with their state and the last contact in and out."""
    with exit_on_error():
        clock = wall_clock(config)
        nodes = ask(config, "GET", "/nodes")
    if as_json:
        say_json(nodes, ascii_only=True)
        return
    nodes_view.show_list(nodes, clock)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Of a node; or the number of a version.")],
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Show a node: how it is served, when it was last in contact, what names it. Or the nodes of one version."""
    with exit_on_error():
        clock = wall_clock(config)
        numbered = name.isascii() and name.isdigit() and name not in _names(config)
        if numbered:
            version = documents.document(config, "nodes", int(name))
        else:
            node = ask(config, "GET", _path(name))
    if as_json:
        say_json(version if numbered else node, ascii_only=True)
    elif numbered:
        nodes_view.show_tables(version["document"])
    else:
        nodes_view.show_node(node, clock)


@app.command()
def add(
    name: Name,
    kind: Annotated[str, typer.Option(help="dicom, hl7, stow, folder, s3, syslog, webhook or mail.")] = "dicom",
    ae_title: Annotated[str, typer.Option(help="AE title; a dicom node needs one.")] = "",
    application: Annotated[str, typer.Option(help="MSH-3; an hl7 node needs one.")] = "",
    host: Annotated[str, typer.Option(help="Its address.")] = "",
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port on which it listens.")] = None,
    url: Annotated[str, typer.Option(help="Address of a webhook, stow or s3 node, by http or https.")] = "",
    path: Annotated[str, typer.Option(help="Path of a folder node.")] = "",
    role: Role = None,
    more: Set = None,
    config: Config = None,
    reason: Reason = "",
    author: Author = "",
    as_json: Json = False,
) -> None:
    """Put a node more in force, at once and without a restart."""
    table: dict[str, Any] = {"name": name, "kind": kind}
    given: dict[str, Any] = {"ae_title": ae_title, "application": application, "host": host, "port": port, "url": url}
    given |= {"path": path, "roles": role}
    table |= {key: value for key, value in given.items() if value}
    with exit_on_error():
        body = {"node": assigned(more or (), table)} | documents.signed(reason, author)
        done = ask(config, "POST", "/nodes/add", body)
    _told(done, as_json)


@app.command()
def edit(
    name: Name,
    more: Set = None,
    unset: Annotated[list[str] | None, typer.Option(help="A key to leave out, like `host` or `device.labels`.")] = None,
    config: Config = None,
    reason: Reason = "",
    author: Author = "",
    as_json: Json = False,
) -> None:
    """Change keys of a node, at once and without a restart; all others stay."""
    with exit_on_error():
        if not more and not unset:
            raise CommandRefused("nothing to change: give --set KEY=VALUE or --unset KEY")
        changes = assigned([f"{key}=null" for key in unset or ()], assigned(more or (), {}), null=True)
        done = ask(config, "PATCH", _path(name), {"changes": changes} | documents.signed(reason, author))
    _told(done, as_json)


@app.command()
def disable(name: Name, config: Config = None, reason: Reason = "", author: Author = "", as_json: Json = False) -> None:
    """Neither serve a node nor send to it for now. What is for it waits."""
    _set_state(name, "disable", config, documents.signed(reason, author), as_json=as_json)


@app.command()
def enable(name: Name, config: Config = None, reason: Reason = "", author: Author = "", as_json: Json = False) -> None:
    """Serve a node again, and send it what waits."""
    _set_state(name, "enable", config, documents.signed(reason, author), as_json=as_json)


@app.command()
def block(
    name: Annotated[str, typer.Argument(help="Of a node; or the AE title of a device that knocks.")],
    address: Annotated[
        str | None, typer.Argument(help="Of a device that knocks, as `broker nodes knocking` shows it.")
    ] = None,
    config: Config = None,
    reason: Reason = "",
    author: Author = "",
    as_json: Json = False,
) -> None:
    """Refuse a node, or a device that knocks, and send nothing to it."""
    if address is None:
        _set_state(name, "block", config, documents.signed(reason, author), as_json=as_json)
        return
    body = {"ae_title": name, "address": address} | documents.signed(reason, author)
    with exit_on_error():
        done = ask(config, "POST", "/nodes/knocking/block", body)
    if as_json:
        say_json(done, ascii_only=True)
        return
    say(f"{done['node']['name']}: {name} from {address} is blocked (version {done['version']} of the nodes)")


@app.command("test")
def probe(
    name: Name,
    resume: Annotated[bool, typer.Option("--resume", help="If all is well, send what waits for it now.")] = False,
    last: Annotated[bool, typer.Option("--last", help="Show the last tests; test nothing.")] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Test a node from where the broker stands: name, connection, TLS, association, echo, what it takes."""
    with exit_on_error():
        clock = wall_clock(config)
        path = _path(name)
        found = ask(config, "GET", f"{path}/tests") if last else ask(config, "POST", f"{path}/test", {"resume": resume})
    if as_json:
        say_json(found, ascii_only=True)
    elif last:
        nodes_view.show_tests(found, clock)
    else:
        nodes_view.show_test(found, clock)
    if not last and not found["good"]:
        raise typer.Exit(1)


@app.command()
def remove(
    name: Name,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Also if jobs, open steps or imported orders name it.")
    ] = False,
    config: Config = None,
    reason: Reason = "",
    author: Author = "",
    as_json: Json = False,
) -> None:
    """Take a node out of force. What still names it is told, and keeps it."""
    with exit_on_error():
        done = ask(config, "POST", f"{_path(name)}/remove", {"anyway": anyway} | documents.signed(reason, author))
    _told(done, as_json)


@app.command()
def knocking(config: Config = None, as_json: Json = False) -> None:
    """Show devices that called and were not let in, the last to call first."""
    with exit_on_error():
        clock = wall_clock(config)
        found = ask(config, "GET", "/nodes/knocking")
    if as_json:
        say_json(found, ascii_only=True)
        return
    nodes_view.show_knocking(found, clock)


@app.command()
def admit(
    ae_title: Title,
    address: Address,
    name: Annotated[str, typer.Option(help="Of the node; made of the AE title without it.")] = "",
    role: Annotated[list[str] | None, typer.Option(help="modality, mpps or worklist; several times.")] = None,
    any_address: Annotated[
        bool, typer.Option("--any-address", help="Let it in from every address, not from this one only.")
    ] = False,
    like: Annotated[str, typer.Option(help="Serve it as this node: it gets the same device profile.")] = "",
    profile: Annotated[
        list[str] | None,
        typer.Option(help='A key of its device profile, like `charset="ISO_IR 100"`.', metavar="KEY=VALUE"),
    ] = None,
    config: Config = None,
    reason: Reason = "",
    author: Author = "",
    as_json: Json = False,
) -> None:
    """Let a device in, at once and without a restart."""
    body: dict[str, Any] = {"ae_title": ae_title, "address": address, "name": name, "bind_address": not any_address}
    body |= documents.signed(reason, author) | ({"roles": role} if role else {}) | ({"like": like} if like else {})
    with exit_on_error():
        if profile:
            body["device"] = assigned(profile, {})
        done = ask(config, "POST", "/nodes/admit", body)
    if as_json:
        say_json(done, ascii_only=True)
        return
    node = done["node"]
    place = node["host"] or "any address"
    say(f"{node['name']}: {node['ae_title']} from {place} is let in (version {done['version']} of the nodes)")


@app.command()
def forget(
    ae_title: Title, address: Address, config: Config = None, reason: Reason = "", as_json: Json = False
) -> None:
    """Take a device off the list of those that knock. It comes back when it calls again."""
    body = {"ae_title": ae_title, "address": address, "reason": reason}
    with exit_on_error():
        done = ask(config, "POST", "/nodes/knocking/forget", body)
    if as_json:
        say_json(done, ascii_only=True)
        return
    say(f"{ae_title} from {address} is forgotten")


def _names(config: Config) -> set[str]:
    return {node["name"] for node in ask(config, "GET", "/nodes")}


def _path(name: str) -> str:
    return f"/nodes/{quote(name, safe='')}"


def _set_state(name: str, word: str, config: Config, body: dict[str, str], *, as_json: bool) -> None:
    with exit_on_error():
        done = ask(config, "POST", f"{_path(name)}/{word}", body)
    _told(done, as_json)


def _told(done: dict[str, Any], as_json: bool) -> None:
    """Print what a change did."""
    if as_json:
        say_json(done, ascii_only=True)
        return
    say(f"nodes: version {done['version']} in force")
    documents.show_changes(done["changes"])
    if done["note"]:
        say(done["note"])
