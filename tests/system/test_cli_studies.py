"""`broker studies` beside a running broker: finds, shows and resends a study that was given up, and reroutes it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.dicom.objects import Encoded, ct_slice
from support.dicom.raw import RawScu
from support.peers.peers import received, storescp
from support.peers.tools import free_port, wait_until
from support.service.site import Site, destination

STUDY = "2.999.7.1"
RULE = '[[rule]]\nname = "all"\nwhen = { field = "tag.Modality", op = "is", value = "CT" }\nsend = ["pacs"]\n'
WHY = ("--reason", "the PACS lost a disk")
CONFIG = {"delivery": {"retry_first": 600, "retry_last": 1200}}


@pytest.fixture
def ports() -> tuple[int, int]:
    return free_port(), free_port()


@pytest.fixture
def site(tmp_path: Path, ports: tuple[int, int]) -> Iterator[Site]:
    """A broker with two objects of a study for a destination that is off."""
    document = destination("pacs", ports[0]) + destination("cad", ports[1]) + RULE
    with Site(tmp_path / "site", site=document, config=CONFIG) as running:
        send(running, *(item(number) for number in (1, 2)))
        wait_until(lambda: running.rows("select 1 from lane where failures > 0"), 30, "the PACS is found away")
        yield running


def item(number: int) -> Encoded:
    return ct_slice(1024, StudyInstanceUID=STUDY, SOPInstanceUID=f"{STUDY}.{number}", PatientID="P1")


def send(site: Site, *items: Encoded) -> None:
    with RawScu(site.dicom) as modality:
        modality.associate([(items[0].sop_class, items[0].transfer_syntax)], calling=b"CT01")
        assert [modality.store(one) for one in items] == [0] * len(items)


def said(site: Site, *command: str, code: int = 0) -> str:
    done = site.command(*command)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def states(site: Site, node: str) -> Any:
    """What became of the deliveries of the study to a node."""
    told = json.loads(said(site, "studies", "show", STUDY, "--json"))
    return next((one["states"] for one in told["destinations"] if one["node"] == node), {})


def test_a_study_is_found_given_up_and_sent_again(site: Site, ports: tuple[int, int], tmp_path: Path) -> None:
    assert states(site, "pacs") == {"waiting": 2}
    (_, row, *_) = said(site, "studies", "find", "--incomplete").splitlines()
    assert row.split()[:1] + row.split()[3:] == ["1", "P1", "A1", "CT", "2", "pacs:", "2", "waiting"], row
    found = json.loads(said(site, "studies", "find", "--patient", "P1", "--node", "pacs", "--json"))
    assert [(one["study"], one["objects"]) for one in found["studies"]] == [(STUDY, 2)]
    assert json.loads(said(site, "studies", "find", "--day", "1999-12-31", "--json"))["studies"] == []
    assert "not a day" in said(site, "studies", "find", "--day", "yesterday", code=2)
    said(site, "queue", "discard", "--all", "--study", STUDY, *WHY)
    assert states(site, "pacs") == {"given-up": 2}
    assert "no destination" in said(site, "studies", "resend", STUDY, "--to", "nowhere", *WHY, code=1)
    assert "No object of this study" in said(site, "studies", "show", "2.999.404", code=1)
    with storescp(tmp_path / "pacs", port=ports[0]):
        said(site, "queue", "pause", "pacs", *WHY)
        told = said(site, "studies", "resend", STUDY, "--to", "pacs", *WHY)
        assert "2 are sent now" in told
        assert "pacs is paused" in told
        said(site, "queue", "resume", "pacs", *WHY)
        wait_until(lambda: states(site, "pacs") == {"sent": 2}, 30, "both are sent")
        assert received(tmp_path / "pacs").keys() == {f"{STUDY}.1", f"{STUDY}.2"}
        for file in (tmp_path / "pacs").iterdir():
            file.unlink()
        number = str(found["studies"][0]["id"])
        assert json.loads(said(site, "studies", "resend", number, "--to", "pacs", *WHY, "--json"))["endings"] == {
            "again": 2
        }
        wait_until(lambda: len(received(tmp_path / "pacs")) == 2, 30, "what it had is sent again")
    told = said(site, "studies", "show", STUDY)
    assert "complete" in told
    assert "pacs: 2 sent" in told
    assert "matched" in told or "all" in told  # the rule, with what it saw


def test_what_waits_of_a_study_goes_elsewhere(site: Site, ports: tuple[int, int], tmp_path: Path) -> None:
    with storescp(tmp_path / "cad", port=ports[1]):
        assert "2 go there now" in said(site, "studies", "reroute", STUDY, "--to", "cad", "--node", "pacs", *WHY)
        wait_until(lambda: states(site, "cad") == {"sent": 2}, 30, "both are sent elsewhere")
    assert states(site, "pacs") == {"elsewhere": 2}
    refused = said(site, "studies", "reroute", STUDY, "--to", "cad", "--node", "pacs", *WHY, code=1)
    assert "nothing of this study waits" in refused
