"""The real broker takes over the worklist of DCMTK by its schedule and by hand, and answers modalities with it."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

from support.peers.dcmtk import wlmscpfs
from support.peers.tools import run, wait_until
from support.service.site import Site
from support.worklist.sources import item

NODE = """
[[node]]
name = "old"
kind = "dicom"
ae_title = "WORKLIST"
host = "127.0.0.1"
port = {port}
roles = ["worklist"]
[node.source]
every = {every}
timeout = 5
"""


def worklist(site: Site) -> str:
    """What the modality CT01 sees."""
    return run(
        "findscu", "-v", "-W", "-aec", "BROKER", "-k", "0008,0050", "-k", "0010,0010",
        "-k", "0040,0100[0].0040,0001=CT01", "127.0.0.1", str(site.dicom),
    ).stdout  # fmt: skip


def command(site: Site, *words: str) -> tuple[int, str]:
    """`broker worklist import`; exit code and output."""
    done = site.command("worklist", "import", *words, merge=True)
    return done.returncode, done.stdout


def items_of(site: Site, outcome: str) -> float:
    """Items of the server with this outcome, by the broker's metrics."""
    with urllib.request.urlopen(f"{site.web}/metrics", timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    start = f'broker_worklist_source_items_total{{node="old",outcome="{outcome}"}}'
    return sum(float(line.split()[-1]) for line in lines if line.startswith(start))


def test_schedule_and_hand(tmp_path: Path) -> None:
    items = [item(1), item(2, step={"ScheduledStationAETitle": "MR01", "Modality": "MR"}), item(3)]
    with wlmscpfs(tmp_path / "wl", *items) as port:
        with Site(tmp_path / "site", site=NODE.format(port=port, every=1)) as site:
            wait_until(lambda: "[W3]" in worklist(site), 60, "the items are on the worklist")
            seen = worklist(site)
            assert "[W1]" in seen
            assert "[W2]" not in seen
            wait_until(lambda: items_of(site, "unchanged"), 30, "it is imported again")
            assert items_of(site, "created") == 3
            code, told = command(site, "old", "--json")
            assert (code, json.loads(told)["outcomes"]["unchanged"]) == (0, 3), told
            code, told = command(site, "nobody")
            assert code == 2
            assert "no node with role worklist" in told
        # by hand, while no broker runs, into its database
        (tmp_path / "wl" / "WORKLIST" / "0.wl").unlink()
        code, told = command(site, "old", "--dry-run")
        assert code == 0, told
        assert told.splitlines()[0] == "old: complete, dry run: nothing was written"
        assert "2 unchanged" in told


def test_items_that_need_a_look_are_listed(tmp_path: Path) -> None:
    ended = item(2, step={"ScheduledProcedureStepStatus": "COMPLETED"})
    with wlmscpfs(tmp_path / "wl", item(1, PatientSex="U"), ended) as port:
        with Site(tmp_path / "site", site=NODE.format(port=port, every=3600)) as site:
            code, told = command(site, "old")
            assert (code, "skipped  accession W2" in told) == (0, True), told  # the schedule was faster with W1
            wait_until(lambda: "W1" in listed(site), 20, "they are kept")
            assert "skipped  accession W2" in listed(site)
            assert "patient/PatientSex: left out" in listed(site)
            assert "[W2]" not in worklist(site)
        assert "skipped  accession W2" in listed(site)  # while no broker runs


def listed(site: Site) -> str:
    """`broker worklist refused`."""
    done = site.command("worklist", "refused", "old")
    assert done.returncode == 0, done
    return done.stdout


def test_a_server_that_is_away(tmp_path: Path) -> None:
    with wlmscpfs(tmp_path / "wl", item(1)) as port:
        pass
    with Site(tmp_path / "site", site=NODE.format(port=port, every=1)) as site:
        wait_until(lambda: site.logged().count("source.imported") >= 2, 30, "it is tried again")
        assert "connect-failed" in site.logged()
        code, told = command(site, "old")
        assert code == 1
        assert "not complete (connect-failed)" in told
        with urllib.request.urlopen(f"{site.web}/health/ready", timeout=20) as answer:
            assert json.loads(answer.read())["status"] == "ok"
