"""Scheduling messages by hand, and profiles that act on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from broker.orders.mapping.book import built_in
from broker.orders.mapping.profile import Policy, Profile
from broker.orders.mapping.value_table import ValueTable


def siu(
    event: str = "S12", *, control_id: str = "1", at: str = "20260312080000", sch_1: str = "SP1", sch_2: str = "SF1",
    sch_9: str = "", sch_10: str = "", sch_11: str = "^^^20260312100000", status: str = "", placer: str = "P1",
    filler: str = "", tq1: str = "", pid: str = "12345", groups: Sequence[str] = (), sender: str = "SCHED",
) -> bytes:  # fmt: skip
    """A scheduling message of v2.5; each group is what follows an RGS, with CR between segments."""
    sch = [""] * 28
    sch[0] = "SCH"
    for field, text in ((1, sch_1), (2, sch_2), (9, sch_9), (10, sch_10), (11, sch_11), (25, status)):
        sch[field] = text
    sch[26], sch[27] = placer, filler
    lines = [f"MSH|^~\\&|{sender}|SITE|BROKER|RAD|{at}||SIU^{event}|{control_id}|P|2.5||||||UNICODE UTF-8"]
    lines.append("|".join(sch))
    lines += [f"TQ1|1||||||{tq1}"] if tq1 else []
    lines += [f"PID|||{pid}||ROE^RICHARD"] if pid else []
    for number, group in enumerate(groups, 1):
        lines += [f"RGS|{number}", *group.split("\r")]
    return "".join(line + "\r" for line in lines).encode()


def profile(*, stations: Mapping[str, str] | None = None, policy: Policy | None = None) -> Profile:
    """The built-in profile with a table of stations and a policy."""
    base = built_in()
    values = {**base.values, "ScheduledStationAETitle": ValueTable(stations or {})}
    return replace(base, values=values, policy=policy or Policy())
