"""A database and a spool of an earlier version: all that is in them is answered, told, delivered and explained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pynetdicom import AE
from sqlalchemy import create_engine, text
from support.hl7.receiver import Ris
from support.mpps.mpps import MPPS, ending
from support.peers.peers import received, storescp
from support.peers.tools import free_port, run, wait_until
from support.service.site import Mllp, Site, order
from support.store.earlier import leave
from support.store.earlier_objects import data_set
from support.worklist.worklist import dataset

TOKEN = "a-token-of-the-tests-0123456789"


@pytest.fixture
def earlier(tmp_path: Path, empty_database_url: str) -> Iterator[tuple[Site, Path, Ris]]:
    """A broker on what the earlier version left, its PACS and its RIS, which are there again."""
    objects, port = tmp_path / "objects", free_port()
    url = "" if empty_database_url.startswith("sqlite") else empty_database_url
    config = {"web": {"port": 0, "admin_token": TOKEN}, "dicom": {"port": 0, "accept": "known"}}
    site = Site(tmp_path / "site", config=config, database_url=url)
    with storescp(objects, port=port), Ris() as ris:
        site.data.mkdir()
        leave(url or f"sqlite:///{site.data / 'broker.db'}", site.data, pacs=port, ris=ris.port)
        with site:
            yield site, objects, ris


def asked(site: Site, calling: str) -> str:
    """What findscu prints of the answers to a query for everything."""
    keys = ("-k", "AccessionNumber", "-k", "PatientName")
    return run("findscu", "-W", "-aet", calling, "-aec", "BROKER", "127.0.0.1", str(site.dicom), *keys).stdout


def broker(site: Site, *arguments: str, code: int = 0) -> str:
    """What a command prints; `code` is its exit code."""
    done = site.command(*arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_what_waited_is_delivered_and_told(earlier: tuple[Site, Path, Ris]) -> None:
    _, objects, ris = earlier
    wait_until(lambda: len(received(objects)) == 2, 30, "both objects are delivered")
    sent = {f"2.999.7.1.1.{number}": data_set(number, size, "CT") for number, size in ((1, 64), (2, 40_000))}
    assert received(objects) == sent
    wait_until(lambda: ris.told, 20, "the RIS is told")
    assert [(told.control_id, told.status) for told in ris.told] == [("BRK065143887EF145D49", "IP")]


def test_orders_are_shown_explained_and_go_on(earlier: tuple[Site, Path, Ris]) -> None:
    site, _, ris = earlier
    for calling in ("CT01", "CT09"):  # CT09 was admitted by the earlier version
        answers = asked(site, calling)
        assert ("[A2]" in answers, "[A1]" in answers, "[A3]" in answers) == (True, False, False), answers
    explain = ("worklist", "explain", "--accession", "A1", "--device", "ct1")
    assert "the step is STARTED" in broker(site, *explain, code=3)
    # once by the earlier version; that it asked now is written a little later
    wait_until(lambda: "2 times" in broker(site, *explain, code=3), 60, "the query is counted")
    with Mllp(site.hl7) as mllp:
        repeat = mllp.exchange(order(1, control_id="M1"))
        assert repeat["MSA"][0][1:3] == ["AA", "M1"]
        overtaken = mllp.exchange(order(9, control_id="M10"))  # its cancel came first, to the earlier version
        assert overtaken["MSA"][0][1] == "AA"
        assert "[A9]" not in asked(site, "CT01")
    modality = AE("CT01")
    modality.add_requested_context(MPPS)
    association = modality.associate("127.0.0.1", site.dicom, ae_title="BROKER")
    status, _ = association.send_n_set(dataset(ending()), MPPS, "2.999.5.1")
    association.release()
    assert status.Status == 0
    wait_until(lambda: [told.status for told in ris.told] == ["IP", "CM"], 20, "the RIS is told of the end")


def test_what_people_look_at_is_there(earlier: tuple[Site, Path, Ris]) -> None:
    site, _, _ = earlier
    http = httpx.Client(base_url=site.web, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30)
    with http:
        orders = http.post("/api/v1/orders/search", json={"AccessionNumber": "A3"})
        assert orders.status_code == 200, orders.text
        assert "CANCELED" in orders.text
    assert "cli:root" in broker(site, "mapping", "history", "own")
    assert 'name = "own"' in broker(site, "mapping", "export", "own")
    assert "ct09" in broker(site, "nodes", "list")


def test_it_is_migrated_by_a_command(tmp_path: Path, empty_database_url: str) -> None:
    url = "" if empty_database_url.startswith("sqlite") else empty_database_url
    site = Site(tmp_path / "site", database_url=url)
    site.data.mkdir()
    leave(url or f"sqlite:///{site.data / 'broker.db'}", site.data, pacs=1, ris=1)
    assert "this version needs" in broker(site, "migrate", "--check", code=1)
    assert "was brought from revision" in broker(site, "migrate")
    assert "has the schema of this version" in broker(site, "migrate")
    broker(site, "migrate", "--check")
    engine = create_engine(url or f"sqlite:///{site.data / 'broker.db'}")
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    for options in ((), ("--check",)):
        refused = site.command("migrate", *options)
        assert (refused.returncode, "newer version" in refused.stderr) == (2, True)
