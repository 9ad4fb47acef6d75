"""`broker status`: how the broker is, in the words of the page *Now*. Asks the running broker."""

from __future__ import annotations

from collections.abc import Callable
from datetime import tzinfo
from pathlib import Path
from typing import Any

from broker.cli.asking import control
from broker.cli.asking.patience import told_soon
from broker.cli.asking.running import NOT_RUNNING
from broker.cli.common import CommandRefused, settings_of
from broker.cli.output import console, joined, say, say_json, show_table
from broker.model.wording import clock_time, duration, units

WELL, DEGRADED, DOWN = 0, 1, 3  # exit codes; 2 is a mistake in the configuration
_CODES = {"ok": WELL, "degraded": DEGRADED, "down": DOWN}
_TITLES = ("node", "state", "waits", "held", "oldest", "in", "out", "query", "image")
_WORDS = {
    "ok": ("All well", "bold green"),
    "degraded": ("Needs attention", "bold yellow"),
    "down": ("Down", "bold red"),
}


def run(config: Path | None, *, as_json: bool) -> int:
    """Ask and print; the exit code. Raises CommandRefused, ConfigurationError, PeerFault."""
    settings = settings_of(config)
    with told_soon():
        answer = control.call(settings, "GET", "/api/v1/status")
    if answer is None:
        say(f"Down: {NOT_RUNNING}", err=True)
        return DOWN
    if not answer.good:
        raise CommandRefused(answer.problem)
    status: dict[str, Any] = answer.body
    if as_json:
        say_json(status, indent=2)
    else:
        _show(status, settings.zone())
    return _CODES[status["health"]]


def _show(status: dict[str, Any], zone: tzinfo) -> None:
    now = status["now"]

    def when(at: float | None) -> str:
        return "-" if at is None else f"{clock_time(at, zone, now)} ({duration(now - at)} ago)"

    console().print(joined(_WORDS[status["health"]]))
    for finding in status["findings"]:
        _line(finding["text"])
    _title("Needs a person", status["needs"])
    for need in status["needs"]:
        number = f"{need['count']} or more" if need["more"] else str(need["count"])
        where, since = f" of {need['node']}" if need["node"] else "", need["oldest"] or need["latest"]
        text = f"{number} {need['cause']}{where}: {need['what']}, {when(since)}"
        _line(text + (f"  {need['command']}" if need["command"] else ""))
    _title("Nodes: how long the oldest job waits, how long ago each contact was", status["nodes"])
    if status["nodes"]:
        show_table(_TITLES, [_node(node, now) for node in status["nodes"]], whole=_TITLES[1:])
    _title("Who sends orders", status["senders"])
    for sender in status["senders"]:
        usual = "" if sender["expected"] is None else f"; about {sender['expected']:.0f} usually come in that time"
        state = "silent" if sender["silent"] else "sending"
        _line(f"{sender['name']}: {state}, last message {when(sender['last_at'])}{usual}")
    _backup(status["backup"], when)
    _title("Disks", status["disks"])
    for disk in status["disks"]:
        full_at = disk["forecast"]["full_at"]
        known = "not full within 30 days" if disk["forecast"]["known"] else "how fast it fills is not known yet"
        text = known if full_at is None else f"full at {clock_time(full_at, zone, now)}, in {duration(full_at - now)}"
        free, size = disk["free"] / 1e9, disk["size"] / 1e9
        _line(f"{', '.join(disk['holds'])}: {free:.1f} of {size:.1f} GB free, {text}")


def _backup(backup: dict[str, Any] | None, when: Callable[[float | None], str]) -> None:
    """Whether the last backup was good, and how it is restored."""
    if backup is None:
        _title("Backup", [backup])
        _line("none yet: `broker backup FOLDER --verify` makes one, `[backup] folder` one each day")
        return
    _title("Backup", [backup])
    if backup["failed"]:
        _line(f"the last one failed at {when(backup['failed_at'])}: {backup['failed']}")
    if not backup["good_at"]:
        _line("there is no good one yet")
        return
    how = "read again and restored for a trial" if backup["restored"] else "read again"
    proven = f"{how} at {when(backup['proven_at'])}" if backup["proven_at"] else "nobody has read it again (--verify)"
    _line(f"the last good one began at {when(backup['good_at'])} and took {duration(backup['seconds'])}; {proven}")
    _line(f"to restore it, with the broker stopped: broker restore {backup['folder']}")


def _node(node: dict[str, Any], now: float) -> tuple[str, ...]:
    """A node in a row of 80 columns. Times are how long ago something was, in their largest unit."""

    def ago(at: float | None) -> str:
        return "-" if at is None else "{} {}".format(*units(now - at)[0])

    lanes, contacts = node["lanes"], node["contacts"]
    return (
        node["name"],
        node["state"],
        str(sum(lane["waiting"] for lane in lanes)),
        str(sum(lane["held"] for lane in lanes)),
        ago(min((lane["oldest"] for lane in lanes if lane["oldest"] is not None), default=None)),
        ago(node["last_in"]),
        ago(node["last_out"]),
        ago(contacts.get("query")),
        ago(contacts.get("image")),
    )


def _line(text: str) -> None:
    """A sentence below its title: on a terminal it goes on below itself, in a file it stays one line."""
    from rich.padding import Padding

    screen = console()
    if screen.is_terminal:
        screen.print(Padding(joined(text), (0, 0, 0, 2)))
    else:
        screen.print(joined("  ", text), soft_wrap=True)


def _title(text: str, rows: list[Any]) -> None:
    """A title, unless nothing stands below it."""
    if rows:
        console().print(joined(("\n" + text, "bold")))
