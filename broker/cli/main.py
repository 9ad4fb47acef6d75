"""`broker`: declares all commands; each imports what it needs when it runs."""

from __future__ import annotations

import gc
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from broker import __version__
from broker.cli import commitments, documents, hl7, mapping, mpps, nodes, simulating
from broker.cli.accounts import tokens, users
from broker.cli.common import CommandRefused, Config, exit_on_error
from broker.cli.exams import changing
from broker.cli.journals import audit, messages
from broker.cli.output import say, say_json, tell
from broker.cli.routing import holds, queue, rules, studies
from broker.cli.support import looking
from broker.cli.worklist import showing as worklist
from broker.errors import ConfigurationError

app = typer.Typer(
    name="broker",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Run and operate the broker: it takes HL7 orders, serves them as DICOM worklist, and routes images by rules.",
)
site = typer.Typer(no_args_is_help=True, help="Check and publish nodes and rules together.")
documents.add_editing(site, documents.SITE)
app.add_typer(site, name="site")
app.add_typer(rules.app, name="rules")
app.add_typer(mapping.app, name="mapping")
app.add_typer(queue.app, name="queue")
app.add_typer(holds.app, name="holds")
app.add_typer(studies.app, name="studies")
app.add_typer(mpps.app, name="mpps")
app.add_typer(commitments.app, name="commitments")
app.add_typer(hl7.app, name="hl7")
app.add_typer(messages.app, name="messages")
app.add_typer(nodes.app, name="nodes")
app.add_typer(audit.app, name="audit")
app.add_typer(tokens.app, name="tokens")
app.add_typer(users.app, name="users")
app.add_typer(worklist.app, name="worklist")
app.add_typer(changing.app, name="order")
app.add_typer(simulating.app, name="simulate")
for command in looking.COMMANDS:
    app.command()(command)


# new objects between two looks for garbage: with the 700 of Python, a sixth of the time to import everything is spent
# on looking at what stays anyway (`broker serve` goes back to them)
OBJECTS = 200_000


class Encoding(StrEnum):
    """How a text file is written."""

    UTF_8 = "utf-8"
    UTF_8_SIG = "utf-8-sig"
    LATIN_1 = "latin-1"


def _version(asked_for: bool) -> None:
    if asked_for:
        say(f"broker {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    gc.set_threshold(OBJECTS)


def _configuration_error(error: ConfigurationError) -> typer.Exit:
    say(f"configuration error: {error}", err=True)
    return typer.Exit(2)


@app.command()
def serve(config: Config = None) -> None:
    """Run the broker until it is stopped (SIGTERM, Ctrl-C)."""
    from broker.service.doctor.threads import hold_back
    from broker.settings import load

    hold_back()  # before there are threads
    with exit_on_error():
        settings = load(config)  # a mistake shows before anything heavy is imported
        from broker.service.loop import leave
        from broker.service.serve import serve as run

        code = run(settings, config, tell)
    leave(code)


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print all that is known as JSON.")] = False,
    config: Config = None,
) -> None:
    """Tell how the broker is, as the page Now does. Exit code 0: all well, 1: needs attention, 3: down or off."""
    from broker.cli.status import run

    with exit_on_error():
        code = run(config, as_json=as_json)
    sys.exit(code)


@app.command()
def fsck(
    repair: Annotated[
        bool, typer.Option("--repair", help="Hold deliveries of what is spoiled, release those of what is right again.")
    ] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Take in files that the database does not know, as if they were sent now.")
    ] = False,
    folder: Annotated[
        Path | None, typer.Option("--from", help="Folder of these files, as `before-restore-…/spool`. [default: spool]")
    ] = None,
    reason: Annotated[str, typer.Option(help="Say why; the audit trail keeps it. Needed to repair and adopt.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    config: Config = None,
) -> None:
    """Read all received objects again: are their bytes those that were received? Exit code 1 if some are not.

    It also tells how many files the database does not know. `--adopt` takes these in; exit code 1 if some cannot be.
    """
    from broker.cli.views import adopt_view, fsck_view

    with exit_on_error():
        if folder is not None and not adopt:
            raise CommandRefused("--from goes with --adopt")
        if adopt and repair:
            raise CommandRefused("--adopt or --repair: one after the other")
        if adopt:
            code = adopt_view.run(config, folder, reason=reason, as_json=as_json)
        else:
            code = fsck_view.run(config, repair=repair, reason=reason, as_json=as_json)
    sys.exit(code)


@app.command()
def migrate(
    check: Annotated[bool, typer.Option("--check", help="Only look; exit code 1 if something is to be done.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    config: Config = None,
) -> None:
    """Bring the database to the schema of this version, with the broker stopped. `broker serve` does it by itself."""
    from broker.cli.migrate import run

    with exit_on_error():
        code = run(config, only_check=check, as_json=as_json)
    sys.exit(code)


@app.command()
def backup(
    folder: Annotated[Path, typer.Argument(help="Folder of backups; each gets a folder of its own there.")],
    keep: Annotated[int, typer.Option(min=0, help="Remove the oldest beyond so many. 0: remove none.")] = 0,
    verify: Annotated[bool, typer.Option("--verify", help="Read all of it again, and compare it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    config: Config = None,
) -> None:
    """Copy database, objects, keys and configuration while the broker works. Exit code 1 if that failed."""
    from broker.cli.backup import make

    with exit_on_error():
        code = make(config, folder, keep=keep, verify=verify, as_json=as_json)
    sys.exit(code)


@app.command()
def restore(
    folder: Annotated[Path, typer.Argument(help="A backup, or a folder of backups: then the newest.")],
    check: Annotated[bool, typer.Option("--check", help="Only read the backup as a whole; change nothing.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Move what is in the data folder aside.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Send what waits at once; else its nodes are paused until you resume them.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    config: Config = None,
) -> None:
    """Put a backup into an empty data folder and database, with the broker stopped. Exit code 1 if it has damage."""
    from broker.cli.backup import restore as run

    with exit_on_error():
        code = run(config, folder, replace=replace, resume=resume, only_check=check, as_json=as_json)
    sys.exit(code)


@app.command()
def conformance(
    html: Annotated[Path | None, typer.Option("--html", help="Write it into this file, as HTML.")] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Write it into this file, as Markdown.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    config: Config = None,
) -> None:
    """Write the DICOM conformance statement of this version and its configuration; without options as Markdown."""
    from broker.cli.conformance import run

    with exit_on_error():
        run(config, html=html, as_markdown=markdown, as_json=as_json)


@worklist.app.command("import")
def worklist_import(
    node: Annotated[str, typer.Argument(help="Name of a node with role worklist.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would become of each item; write nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    config: Config = None,
) -> None:
    """Import the worklist of another server now, as its schedule does."""
    from broker.cli.worklist.importing import run

    with exit_on_error():
        code = run(node, config=config, dry=dry_run, as_json=as_json)
    sys.exit(code)


@worklist.app.command("refused")
def worklist_refused(
    node: Annotated[
        str | None, typer.Argument(help="Name of a node with role worklist; without it all nodes and files.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the items as JSON.")] = False,
    config: Config = None,
) -> None:
    """List imported items that were refused, left out, ended or taken with findings, by accession number."""
    from broker.cli.worklist.importing import listing

    with exit_on_error():
        say(listing(node, config=config, as_json=as_json))


@site.command("check")
def site_check(file: documents.File, as_json: documents.Json = False) -> None:
    """Check nodes and rules of a file and run the examples of its rules."""
    from broker.routing.site import read_file

    try:
        contents = read_file(file)
    except ConfigurationError as error:
        raise _configuration_error(error) from None
    tables = contents["rules"].get("rule", [])
    examples = sum(len(rule.get("example", [])) for rule in tables)
    if as_json:
        say_json({"nodes": len(contents["nodes"]), "rules": len(tables), "examples": examples}, ascii_only=True)
    else:
        say(f"{file}: {len(contents['nodes'])} nodes, {len(tables)} rules, {examples} examples: all good")


Name = Annotated[str, typer.Argument(metavar="NODE", help="Name of a node of the site, or AE@host:port.")]
Calling = Annotated[str | None, typer.Option(help="Call with this AE title instead of our own.", show_default=False)]
Timeout = Annotated[
    float, typer.Option(min=0.1, max=3600, help="Seconds to wait for the connection and for each answer.")
]


@app.command()
def echo(
    node: Name,
    config: Config = None,
    calling: Calling = None,
    timeout: Timeout = 10,
    count: Annotated[int, typer.Option(min=1, max=1_000_000, help="Send so many C-ECHO on the association.")] = 1,
) -> None:
    """Test whether a DICOM node answers (C-ECHO). Works beside a running broker."""
    from broker.cli.dicom import echo as run

    with exit_on_error():
        code = run(node, config=config, calling=calling, timeout=timeout, count=count)
    sys.exit(code)


@app.command()
def send(
    node: Name,
    paths: Annotated[list[Path], typer.Argument(exists=True, help="DICOM files and folders.")],
    config: Config = None,
    calling: Calling = None,
    timeout: Timeout = 60,
    associations: Annotated[
        int, typer.Option("--associations", "-n", min=1, max=64, help="Open so many associations at once.")
    ] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one line of JSON.")] = False,
) -> None:
    """Send DICOM files to a node, each as it is (C-STORE). Works beside a running broker."""
    from broker.cli.dicom import send as run

    with exit_on_error():
        code = run(
            node, paths, config=config, calling=calling, timeout=timeout, associations=associations, as_json=as_json
        )
    sys.exit(code)


@app.command("import")
def import_(
    paths: Annotated[list[Path], typer.Argument(exists=True, help="CSV, .wl and dump files, and folders of them.")],
    config: Config = None,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Show what would become of each order; write nothing.")
    ] = False,
    encoding: Annotated[Encoding, typer.Option(help="Character encoding of CSV files.")] = Encoding.UTF_8,
    skip_unknown: Annotated[
        bool, typer.Option("--skip-unknown", help="Leave out columns that the broker does not know.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one line of JSON.")] = False,
) -> None:
    """Place orders from files, by the running broker or into its database. A second run changes nothing."""
    from broker.cli.importing import run

    with exit_on_error():
        code = run(paths, config=config, dry=dry, encoding=encoding, skip_unknown=skip_unknown, as_json=as_json)
    sys.exit(code)


@app.command()
def demo(
    orders: Annotated[int, typer.Option(min=1, max=500, help="Run so many orders.")] = 20,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the broker running afterwards, until Ctrl-C.")] = False,
) -> None:
    """Show the broker at work: run orders through a simulated hospital and check every image. Leaves nothing behind."""
    from broker.cli.demo.demo import run

    sys.exit(run(orders=orders, keep=keep))
