"""A broker whose database is damaged says so, and never that the worklist answers while every query fails."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

from support.peers.tools import run, wait_until
from support.service.abuse import metric
from support.service.site import Mllp, Site, order
from support.store.damage import damage


def readiness(site: Site) -> tuple[str, list[str]]:
    try:
        with urllib.request.urlopen(f"{site.web}/health/ready", timeout=20) as answer:
            body = json.loads(answer.read())
    except urllib.error.HTTPError as error:
        body = json.loads(error.read())
    return body["status"], body["problems"]


def test_readiness_asks_the_worklist_itself(tmp_path: Path) -> None:
    site = Site(tmp_path / "site", config={"worklist": {"outage_copy_age": 0}})
    with site, Mllp(site.hl7) as ris:
        assert ris.exchange(order(1))["MSA"][0][1] == "AA"
    damage(site.data / "broker.db", "scheduled_step")
    with site:
        asked = run("findscu", "-v", "-W", "-aec", "BROKER", "-k", "0008,0050", "127.0.0.1", str(site.dicom)).stdout
        assert "OutOfResources" in asked or "a700" in asked.lower()
        wait_until(lambda: readiness(site)[0] == "down", 20, "it is not ready")
        problems = readiness(site)[1]
        assert any("damaged" in text and "config/operate.md" in text for text in problems), problems
        assert "store.damaged" in site.logged()
        assert metric(site, "broker_store_damaged") == 1
