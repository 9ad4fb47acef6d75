"""The name of work goes where the work goes, and nowhere else."""

from __future__ import annotations

import asyncio
import io

import structlog

from broker import correlation, telemetry
from broker.threads import Threads


def test_threads_have_the_name_of_who_asks_and_forget_it() -> None:
    threads = Threads(1, "test")

    async def ask(name: str) -> str:
        correlation.begin(name)
        return await threads.call(correlation.current)

    async def both() -> list[str]:
        return await asyncio.gather(ask("one"), ask("two"), threads.call(correlation.current))

    try:
        assert asyncio.run(both()) == ["one", "two", ""]
    finally:
        threads.close()


def test_a_block_gives_back_the_name_of_before() -> None:
    with correlation.during("outer"):
        with correlation.during("inner"):
            assert correlation.named({"a": 1}) == {"correlation": "inner", "a": 1}
            assert correlation.named({"correlation": "own"}) == {"correlation": "own"}
        assert correlation.current() == "outer"
    assert correlation.names() == {}
    assert correlation.named({"a": 1}) == {"a": 1}


def test_a_connection_names_what_is_about_nothing_else() -> None:
    async def serve() -> None:
        correlation.connect()
        assert set(correlation.names().values()) == {correlation.current()}
        correlation.begin("message")
        assert (correlation.current(), correlation.names()["correlation"]) == ("message", "message")
        correlation.begin("")
        assert correlation.current() == correlation.names()["connection"]

    asyncio.run(serve())


def test_lines_for_people_are_found_by_grep() -> None:
    stream, before = io.StringIO(), structlog.get_config()
    try:
        telemetry.configure("debug", "console", False, key=b"k" * 32, stream=stream)
        with correlation.during("0a1b2c3d4e5f"):
            telemetry.logger().info("service.ready")
            telemetry.logger().info("job.done", correlation="ffffffffffff")
        first, second = stream.getvalue().splitlines()
        assert "correlation=0a1b2c3d4e5f" in first
        assert "correlation=ffffffffffff" in second
    finally:
        structlog.configure(**before)
