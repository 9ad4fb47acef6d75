"""`broker simulate`: systems around a broker or another router that fail as they are told. Nothing of them is kept."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from broker.cli.common import exit_on_error
from broker.cli.output import say

if TYPE_CHECKING:
    from broker.simulate.pacs import SinkAnswer

app = typer.Typer(no_args_is_help=True, help="Simulate a system that a router talks to, with faults.")
Value = TypeVar("Value")


@app.callback()
def _simulate() -> None:
    """Simulate a system that a router talks to, with faults."""


@app.command()
def pacs(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Listen here; 0: on any free port.")] = 11112,
    host: Annotated[str, typer.Option(help="Listen on this address.")] = "127.0.0.1",
    ae_title: Annotated[str, typer.Option(help="AE title by which it must be called.")] = "PACS",
    soft: Annotated[str, typer.Option(help="Status of the first try of each object; the next is taken.")] = "0000",
    hard: Annotated[str, typer.Option(help="Status of every try.")] = "0000",
    status_for: Annotated[
        list[str] | None, typer.Option(help="UID=STATUS: that of a SOP Instance or SOP Class; may be repeated.")
    ] = None,
    delay: Annotated[float, typer.Option(min=0, help="Wait so many seconds before each answer.")] = 0,
    disconnect_after: Annotated[
        int, typer.Option(min=0, help="Abort each association after so many objects; 0: never.")
    ] = 0,
    abort_on: Annotated[
        list[str] | None, typer.Option(help="Abort when a SOP Instance or SOP Class UID comes; may be repeated.")
    ] = None,
    never_read: Annotated[bool, typer.Option("--never-read", help="Accept, and then read and answer nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print each line as JSON.")] = False,
) -> None:
    """Take objects by C-STORE and forget them, until Ctrl-C; fail as the options say. Prints what came."""
    from broker import telemetry
    from broker.service.loop import loop_factory
    from broker.simulate.pacs import VirtualPacs
    from broker.simulate.sink_faults import SinkFaults, status_for_of, status_of, uid_of

    faults = SinkFaults(
        soft=_value("--soft", status_of, soft),
        hard=_value("--hard", status_of, hard),
        status_for=dict(_value("--status-for", status_for_of, one) for one in status_for or ()),
        delay=delay,
        disconnect_after=disconnect_after,
        abort_on=frozenset(_value("--abort-on", uid_of, one) for one in abort_on or ()),
        never_read=never_read,
    )
    telemetry.configure("error", "console", False)
    counts: Counter[str] = Counter()

    def answered(answer: SinkAnswer) -> None:
        status = "aborted" if answer.status is None else f"{answer.status:04X}"
        counts[status] += 1
        line = {"sop_instance": answer.sop_instance, "status": status, "length": answer.length}
        say(json.dumps(line) if as_json else f"{answer.sop_instance}: {status}")

    def listening() -> None:
        place = {"ae_title": ae_title, "host": host, "port": sink.port}
        say(json.dumps(place) if as_json else f"{ae_title} listens on {host}:{sink.port}")

    sink = VirtualPacs(ae_title, faults=faults, host=host, port=port, on_answer=answered)
    with exit_on_error(), asyncio.Runner(loop_factory=loop_factory()) as runner:
        try:
            runner.run(sink.serve(listening))
        except OSError as error:
            say(f"{host}:{port}: {error.strerror or error}", err=True)
            raise typer.Exit(1) from None
    ended = {"taken": len(sink.kept), "answers": dict(counts)}
    told = ", ".join(f"{number} with {status}" for status, number in counts.items()) or "nothing came"
    say(json.dumps(ended) if as_json else f"{len(sink.kept)} objects taken; {told}")


def _value(option: str, read: Callable[[str], Value], text: str) -> Value:
    """What an option says. Raises BadParameter."""
    try:
        return read(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
