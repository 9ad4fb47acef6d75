"""The two sides of ours: the broker as it is run, and an archive on its wire library."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.dicom.archive import Archive, archive
from support.peers.peers import sink
from support.peers.tools import wait_until
from support.service.site import Mllp, Site, destination, order

from broker.dicom import uids
from interop.running import Running

CT = "1.2.840.10008.5.1.4.1.1.2"
pytest.register_assert_rewrite("interop.cells")


@pytest.fixture
def ours() -> Iterator[Archive]:
    """An empty archive. All that was asked of it came on associations that were released in order."""
    with archive() as made:
        yield made
        wait_until(lambda: made.ends() == {"released"}, 5, f"all associations are released: {made.ends()}")


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for files to send. Peers keep their paths longer than one test."""
    return tmp_path_factory.mktemp("sending")


RULE = '[[rule]]\nname = "all"\nwhen = { field = "assoc.calling_ae", op = "regex", value = "." }\nsend = ["archive"]\n'


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The broker as it is run, with one order on the worklist of CT01."""
    folder = tmp_path_factory.mktemp("broker")
    with (
        sink(CT, sorted(uids.TRANSFER_SYNTAXES)) as (port, received),
        Site(folder, site=destination("archive", port) + RULE) as site,
    ):
        with Mllp(site.hl7) as ris:
            assert ris.exchange(order(1))["MSA"][0][1] == "AA"
            assert ris.exchange(order(2, station="MR01", modality="MR"))["MSA"][0][1] == "AA"
        yield Running(site, received)
