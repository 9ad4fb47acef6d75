"""Shows what waits for a person, or for its series or study, and what was given up, for `broker holds list`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from broker.cli.output import say, show_table


def show_waiting(found: Sequence[dict[str, Any]], clock: Callable[[float], str]) -> None:
    """Jobs and objects that wait for a person, and what can be done with each kind."""
    head = ("number", "since", "cause", "from", "for", "accession", "patient", "study")
    names = ("cause", "device", "node", "accession", "patient", "study")
    rows = [(one["number"], clock(one["since"])[:16], *(one[name] for name in names)) for one in found]
    show_table(head, rows, whole=("number", "since", "cause", "accession"))  # fits 80 characters
    for one in [one for one in found if one["cause"] == "newer-version-sent"][:1]:
        say(f"{one['cause']}: {one['why']}; `release` does so with --anyway")
    for kind, jobs in (("objects (o)", False), ("jobs", True)):
        for one in [one for one in found if one["number"].isdecimal() == jobs][:1]:
            say(f"{kind}: {', '.join(one['can'])}")


def show_gathering(found: Sequence[dict[str, Any]], clock: Callable[[float], str]) -> None:
    """Objects that wait for their series or study, not for a person."""
    rows = [
        (f"o{one['id']}", clock(one["received_at"]), one["cause"], one["device"], one["modality"], one["study"])
        for one in found
    ]
    show_table(("number", "since", "cause", "from", "modality", "study"), rows, whole=("number", "since", "from"))


def show_discarded(found: Sequence[dict[str, Any]], clock: Callable[[float], str]) -> None:
    """Objects that a person gave up, and until when that can be undone."""
    rows = [
        (
            f"o{one['id']}",
            clock(one["discarded_at"]),
            one["cause"],
            one["device"],
            one["modality"],
            one["study"],
            clock(one["deleted_at"]) if one["deleted_at"] else "never",
        )
        for one in found
    ]
    head = ("number", "discarded", "cause", "from", "modality", "study", "deleted after")
    show_table(head, rows, whole=("number", "discarded", "deleted after"))
