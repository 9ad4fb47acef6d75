"""When objects may be sent to a destination: by its windows, its clock and the holidays of the site."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from broker.errors import ConfigurationError
from broker.site.nodes import Node, parse_nodes
from broker.site.times.opening import closing_of

BERLIN = ZoneInfo("Europe/Berlin")
PACS = {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "h", "port": 104, "roles": ["destination"]}


def node(**more: Any) -> Node:
    return parse_nodes([PACS | more])[0]


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


@pytest.mark.parametrize(
    ("windows", "now", "opens"),
    [
        ("18:00-06:00", "2026-12-02T12:00", "2026-12-02T18:00"),
        ("18:00-06:00", "2026-12-02T17:59:59.5", "2026-12-02T18:00"),
        ("18:00-06:00", "2026-12-02T18:00", ""),
        ("18:00-06:00", "2026-12-02T05:59", ""),
        ("18:00-06:00", "2026-12-02T06:00", "2026-12-02T18:00"),
        ("Mon-Fri 18:00-06:00; Sat,Sun", "2026-12-04T12:00", "2026-12-04T18:00"),
        ("Mon-Fri 18:00-06:00; Sat,Sun", "2026-12-05T12:00", ""),
        ("Sat,Sun", "2026-12-02T12:00", "2026-12-05T00:00"),
        ("Mon 08:00-09:00", "2026-12-07T09:00", "2026-12-14T08:00"),
        ("holiday", "2026-12-02T12:00", "2026-12-25T00:00"),
        ("holiday 10:00-12:00", "2026-12-25T12:00", "2027-04-03T10:00"),
        ("Sun 03:30-05:00", "2026-03-28T12:00", "2026-03-29T03:30"),  # the clock goes forward at 2:00
    ],
)
def test_it_opens_at_its_time(windows: str, now: str, opens: str) -> None:
    found = closing_of(node(send_windows=windows), at(now), BERLIN, {"12-25", "2027-04-03"})
    assert (found.until if found is not None else None) == (at(opens) if opens else None)


def test_what_has_no_windows_is_open_and_what_never_comes_is_told() -> None:
    assert closing_of(node(), 0.0, BERLIN, ()) is None
    found = closing_of(node(send_windows="holiday", send_windows_stat=True), at("2026-12-02T12:00"), BERLIN, ())
    assert found is not None
    assert (found.until, found.stat_passes) == (math.inf, True)


def test_while_it_is_closed_it_opens_later() -> None:
    """In the hour that is there twice the next begin on the clock may be past already."""
    twice = datetime(2026, 10, 25, 2, 45, tzinfo=BERLIN, fold=1).timestamp()
    found = closing_of(node(send_windows="Sun 02:50-02:55"), twice, BERLIN, ())
    assert found is not None
    assert found.until > twice


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"send_windows": "18-6"}, "send_windows: days are Mon"),
        ({"send_windows": ""}, "send_windows: a window looks like"),
        ({"send_windows": "08:00-08:00"}, "send_windows: hours lie between"),
        ({"send_windows_stat": True}, "send_windows_stat: goes with send_windows"),
        ({"send_windows": "Sat", "roles": ["mpps"]}, "send_windows: for a node with role destination"),
    ],
)
def test_what_are_no_windows(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        node(**change)
