"""Counts the statements that SQLAlchemy keeps compiled, of every engine that is in use."""

from __future__ import annotations

from weakref import WeakSet

from sqlalchemy import Engine

from broker import telemetry

_engines: WeakSet[Engine] = WeakSet()  # for the metric alone


def counted(engine: Engine) -> Engine:
    """The engine, whose statements are counted from now on in `broker_cache_entries`."""
    _engines.add(engine)
    return engine


telemetry.CACHE_ENTRIES.labels("statements").set_function(
    lambda: sum(len(engine._compiled_cache or ()) for engine in list(_engines))
)
