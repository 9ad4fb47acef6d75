"""While one address attacks a door by every kind at once, known peers are served, and afterwards all is as before.

UL-01 to UL-04, UL-08, UL-16, UL-18 to UL-20, HL-02, HL-03, HT-01, HT-02, RL-03. How long the peers wait,
`tests/bench/attack.py` measures on a machine that does nothing else.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.certificates import Authority, client
from support.peers.tools import wait_until
from support.scale import scaled
from support.service.bystanders import NODES, TOKEN, Bystanders, Spent, few_descriptors, fill
from support.service.secure import door
from support.service.site import Site
from support.service.strangers import ALL, attacking

SECONDS = scaled(1.5, 30.0)
PATIENCE = 20.0  # seconds that a peer may wait for an answer here: less than any timeout of theirs
MOST = 300.0  # MiB above idle
LINES = 200  # of the log: a dozen kinds, each once a second or a minute


class Hospital:
    """A broker with all its doors, 1024 descriptors, and certificates."""

    def __init__(self, site: Site, authority: Authority) -> None:
        self.site = site
        self.context, self.web = client(authority.issue("ct"), authority.ca), client(None, authority.ca)
        self.numbers = iter(range(1000, 10**9, 10_000))  # of the first order of each test

    def target(self, name: str) -> str:
        """Where a stranger finds a door."""
        if name == "control":
            return str(self.site.data / "control.sock")
        return str(self.site.listeners["web" if name == "web-tls" else name.removesuffix("-any")][0][1])


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    yield from running(tmp_path_factory.mktemp("attack"))


@pytest.fixture
def https_hospital(tmp_path: Path) -> Iterator[Hospital]:
    """One whose web speaks HTTPS alone."""
    yield from running(tmp_path, https=True)


def running(folder: Path, *, https: bool = False) -> Iterator[Hospital]:
    authority = Authority(folder / "ca")
    own = authority.issue("broker")
    tls = {name: door(authority, own) for name in ("dicom.tls", "hl7.tls")}
    if https:
        tls["web.tls"] = {"certificate": str(own.certificate), "key": str(own.key)}
    site = Site(folder / "site", site=NODES, config={**tls, "log": {"level": "info"}, "web": {"admin_token": TOKEN}})
    with site:
        few_descriptors(site, 1024)
        fill(site, 5)
        yield Hospital(site, authority)


@pytest.mark.parametrize("doors", [("hl7",), ("dicom", "dicom-any"), ("hl7-tls", "dicom-tls"), ("web", "control")])
def test_known_peers_are_served_while_a_stranger_attacks(hospital: Hospital, doors: tuple[str, ...]) -> None:
    holds(hospital, doors)


def test_https_is_served_while_a_stranger_shakes_hands_without_end(https_hospital: Hospital) -> None:
    """Handshakes that stand still or drip, those that succeed and say nothing more, and what is no TLS."""
    holds(https_hospital, ("web-tls",))


def holds(hospital: Hospital, doors: tuple[str, ...]) -> None:
    """Attack doors by each kind, and see that known peers are served, and that all is as before in the end."""
    site, secure = hospital.site, hospital.context if "hl7-tls" in doors else None
    web, first = hospital.web if "web-tls" in doors else None, next(hospital.numbers)
    spent = Spent(site)
    with Bystanders(site, context=secure, web=web, every=0.2, first=first) as peers, ExitStack() as strangers:
        for name in doors:
            strangers.enter_context(attacking(name, ALL, hospital.target(name)))
        wait_until(lambda: spent.process.num_fds() > spent.files + 20, 30, "the stranger is there")
        threading.Event().wait(SECONDS)
    spent.end()
    assert peers.failed == []
    assert min(map(len, peers.times.values())) > 1
    assert peers.worst() < PATIENCE
    assert spent.growth < MOST
    assert spent.back(30) == ""
    assert len(spent.logged()) < LINES, spent.logged()[-20:]
    assert [
        line for line in spent.logged() if "Traceback" in line or "defect" in line or "internal_error" in line
    ] == []
