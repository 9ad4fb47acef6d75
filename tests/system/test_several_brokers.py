"""Brokers that share a PostgreSQL: none takes the work of another that is alive."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest
from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu, associate_ac, p_data
from support.dicom.raw_scp import RawScp, receive, store_rsp
from support.peers.tools import wait_until
from support.service.faketime import FakeTime
from support.service.site import Site, destination

RULE = """
[[rule]]
name = "all"
when = { field = "tag.Modality", op = "exists" }
send = ["archive"]
"""


class SlowArchive:
    """A destination that takes objects, and answers once it may."""

    def __init__(self) -> None:
        self.answer = threading.Event()
        self.received: list[int] = []

    def serve(self, peer: RawScu) -> None:
        """One association."""
        _, body = peer.pdu()
        peer.send(associate_ac(body))
        while (found := receive(peer, lambda _: None)) is not None:
            self.received.append(found[1])
            self.answer.wait(60)
            peer.send(p_data(found[0], store_rsp(found[1]), is_command=True))


def jobs(database_url: str) -> list[tuple[Any, ...]]:
    """State, number of claims and owner of every job."""
    with psycopg.connect(database_url.replace("postgresql+psycopg", "postgresql", 1)) as connection:
        return connection.execute("SELECT state, fence, lease_owner FROM job").fetchall()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("ahead", ["", "+90s"])
def test_tm_01_a_second_broker_on_the_host_leaves_the_work_of_the_first_alone(
    tmp_path: Path, database_url: str, ahead: str
) -> None:
    """Also if its clock is ahead by more than a lease."""
    archive = SlowArchive()
    with RawScp(archive.serve) as scp:
        site = destination("archive", scp.port) + RULE
        with Site(tmp_path / "one", site=site, database_url=database_url) as first:
            item = ct_slice(2048)
            with RawScu(first.dicom) as modality:
                assert modality.associate([(item.sop_class, item.transfer_syntax)])[0] == 2
                assert modality.store(item) == 0
            wait_until(lambda: len(archive.received) == 1, 20, "it is under way")
            before = jobs(database_url)
            other = Site(tmp_path / "two", site=site, database_url=database_url)
            if ahead:
                FakeTime(other, ahead)
            with other as second:
                item = ct_slice(2048)  # its lanes look for work, and for leases that are over
                with RawScu(second.dicom) as modality:
                    assert modality.associate([(item.sop_class, item.transfer_syntax)])[0] == 2
                    assert modality.store(item) == 0
                wait_until(lambda: len(archive.received) == 2, 20, "its own work is not late")
                assert "queue.leases_freed" not in second.logged()
                assert before[0] in jobs(database_url)
                archive.answer.set()
                wait_until(lambda: {job[0] for job in jobs(database_url)} == {"done"}, 20, "all is done")
            assert [job[1] for job in jobs(database_url)] == [1, 1]
            assert len(archive.received) == 2
