"""`broker commitments`: what modalities ask by storage commitment, and what they are told. Asks the running broker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from broker.cli.asking.running import ask
from broker.cli.common import Config, exit_on_error, wall_clock
from broker.cli.output import counted, say, say_json, show_table
from broker.cli.routing.holds import Json

app = typer.Typer(no_args_is_help=True, help="Show requests of modalities for storage commitment, and their results.")


@app.command("list")
def list_(
    config: Config = None,
    node: Annotated[str, typer.Option(help="Only requests of this node.")] = "",
    state: Annotated[str, typer.Option(help="Only these: waiting, telling, held, told or given-up.")] = "",
    before: Annotated[int | None, typer.Option(min=1, help="Only those before this number.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Show so many.")] = 100,
    as_json: Json = False,
) -> None:
    """List requests, newest first: how many objects are committed, and whether the modality was told."""
    from urllib.parse import urlencode

    query: dict[str, str | int] = {"node": node, "state": state, "limit": limit}
    query |= {} if before is None else {"before": before}
    with exit_on_error():
        clock = wall_clock(config)
        found = ask(config, "GET", f"/commitments?{urlencode(query)}")
    if as_json:
        say_json(found)
        return
    rows = [
        (
            str(one["id"]),
            clock(one["received_at"]),
            one["node"],
            *(str(one[name]) for name in ("objects", "committed", "failed")),
            one["state"] + (" (duplicate)" if one["duplicate"] else ""),
            one["why"],
        )
        for one in found
    ]
    show_table(("number", "since", "node", "objects", "committed", "failed", "state", "why"), rows)


@app.command()
def show(
    number: Annotated[int, typer.Argument(min=1, help="Number of a request, as `broker commitments list` shows it.")],
    config: Config = None,
    failed: Annotated[bool, typer.Option("--failed", help="Of the objects only those that are not committed.")] = False,
    as_json: Json = False,
) -> None:
    """Show a request: what archives were asked for it, and the result of each object."""
    with exit_on_error():
        clock = wall_clock(config)
        one = ask(config, "GET", f"/commitments/{number}")
        while one["after"] >= 0:
            more = ask(config, "GET", f"/commitments/{number}?after={one['after']}")
            one |= {"listed": one["listed"] + more["listed"], "after": more["after"]}
    if failed:
        one["listed"] = [each for each in one["listed"] if each["result"] != "committed"]
    if as_json:
        say_json(one)
        return
    told = one["state"] + (f": {one['why']}" if one["why"] else "")
    say(f"request {one['id']} of {one['node']} ({one['calling_ae']}), {clock(one['received_at'])}: {told}")
    say(f"transaction {one['transaction_uid']}{' (duplicate)' if one['duplicate'] else ''}")
    say(f"{counted(one['objects'], 'object')}: {one['committed']} committed, {one['failed']} failed")
    for each in one["asks"]:
        say(_asked(each, clock))
    rows = [(each["sop_instance"], each["result"], each["reason"]) for each in one["listed"]]
    show_table(("object", "result", "reason"), rows, whole=("object",))
    if reasons := Counter(each["reason"] for each in one["listed"] if each["reason"]):
        say(", ".join(f"{count} with reason {code}" for code, count in reasons.most_common()))


def _asked(each: Mapping[str, Any], clock: Callable[[float], str]) -> str:
    """What a node was asked for, when, and when it answered."""
    what = f"{each['node']}, question {each['attempt']}, {counted(each['objects'], 'object')}: "
    when = f"asked {clock(each['asked_at'])}, " if each["asked_at"] else ""
    match each["state"]:
        case "waiting":
            return f"{what}to be asked"
        case "asked":
            return f"{what}asked {clock(each['asked_at'])}, no answer yet"
        case "answered":
            return f"{what}{when}answered {clock(each['answered_at'])}"
        case "refused":
            return f"{what}it refused to be asked"
        case _:
            return f"{what}{when}no answer in time"
