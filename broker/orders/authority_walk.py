"""Joins what is stored by the universal ID of an authority alone with its namespace, in small steps beside traffic.

A message that teaches the two names joins what it names itself, and each later one what it names
(`orders.stories.identity`). The walk does the rest, table by table, by primary key: it reads PAGE rows, which holds
nobody, and joins the numbers in them by transactions of about `store.db.pace.TARGET` seconds. After a restart it begins
again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from broker import telemetry
from broker.errors import StoreUnavailable
from broker.model.authority import AuthorityUse
from broker.orders.core.context import StoryContext
from broker.orders.step_walk import StepWalk
from broker.orders.stories import identity
from broker.store.db.pace import TARGET
from broker.store.orders import authorities, joined_names
from broker.store.orders.authorities import AuthorityJoin
from broker.store.orders.joined_names import Numbered

PAGE = 2000  # rows that are read at once
SLICE = 8  # numbers between two looks at the clock


def join_authorities(walk: StepWalk) -> int:
    """Join all that is to be joined; how many numbers were. Raises StoreUnavailable."""
    count = 0
    for join in walk.pace.read(authorities.joins):
        began, failed = time.monotonic(), 0
        for place in joined_names.PLACES[join.pair.use]:
            last, after = walk.pace.read(joined_names.last_row, place), 0
            while after < last and not walk.pace.stopped:
                done, undone = _join_page(walk, join, place, after)
                count, failed, after = count + done, failed + undone, after + PAGE
        if walk.pace.stopped or failed:  # what failed is tried again by the next walk
            continue
        walk.pace.alone(authorities.end_join, join.pair, join.at)
        telemetry.logger().info(
            "authority.joined", kind=join.pair.use.value, duration=round(time.monotonic() - began, 1)
        )
    return count


def _join_page(walk: StepWalk, join: AuthorityJoin, place: Numbered, after: int) -> tuple[int, int]:
    """Join the numbers in some rows; how many were joined, and how many failed."""
    use, done, failed = join.pair.use, 0, 0
    numbers = walk.pace.read(joined_names.numbers_of, place, join.pair.universal_id, after, after + PAGE)
    size = SLICE
    while numbers and not walk.pace.stopped:
        try:
            some = numbers if size > 1 else numbers[:1]
            joined = walk.pace.alone(_join_some, use, some, walk.context()) or 0
        except StoreUnavailable:
            raise
        except Exception as error:
            joined = 1 if size == 1 else 0
            failed, size = failed + joined, 1  # one after another, so that one number does not keep the others
            if joined:
                telemetry.logger().error("authority.join_failed", kind=use.value, error=telemetry.describe(error))
        else:
            done += joined
        numbers = numbers[joined:]
    return done, failed


def _join_some(connection: Connection, use: AuthorityUse, numbers: Sequence[Any], context: StoryContext) -> int:
    """Join the first of these numbers, for about TARGET seconds; how many."""
    done, until = 0, time.perf_counter() + TARGET
    while done < len(numbers) and time.perf_counter() < until:
        part = numbers[done : done + SLICE]
        identity.join_recorded(connection, {use: dict.fromkeys(part, "")}, context)
        done += len(part)
    return done
