"""Several do one thing at once: CC-02, CC-04. CC-03 is beside the orders."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from support.dicom.objects import Encoded, ct_slice
from support.dicom.raw import RawScu, associate_ac, p_data
from support.dicom.raw_scp import RawScp, receive, store_rsp
from support.peers.tools import wait_until
from support.scale import scaled
from support.service.abuse import orphans
from support.service.site import Site, destination
from support.store.spool import spool_files

RULE = '[[rule]]\nname = "all"\nwhen = { field = "tag.Modality", op = "exists" }\nsend = ["archive"]\n'


@contextmanager
def modality(site: Site, thing: Encoded) -> Iterator[RawScu]:
    with RawScu(site.dicom, timeout=60) as scu:
        assert scu.associate([(thing.sop_class, thing.transfer_syntax)], calling=b"GOOD")[0] == 2
        yield scu


@pytest.mark.parametrize("size", [2_000, 200_000], ids=["in the database", "in a file"])
def test_cc_02_the_same_instance_on_several_associations_at_once(site: Site, size: int) -> None:
    """One row, one copy of the bytes, and 0000 for everybody."""
    for _ in range(scaled(5, 100)):
        thing = ct_slice(size)
        together = threading.Barrier(4)

        def send(thing: Encoded = thing, together: threading.Barrier = together) -> int | None:
            with modality(site, thing) as scu:
                together.wait(20)
                return scu.store(thing)

        before = len(list(spool_files(site.data / "spool")))
        with ThreadPoolExecutor(4) as pool:
            answers = [pool.submit(send) for _ in range(4)]
            assert [answer.result() for answer in answers] == [0] * 4
        query = "select version, path, data_length from instance where sop_instance_uid = ?"
        rows = site.rows(query, thing.sop_instance)
        assert [(version, length) for version, _, length in rows] == [(1, len(thing.data))]
        wait_until(lambda: orphans(site) == [], 10, "the other copies are gone")
        assert len(list(spool_files(site.data / "spool"))) == before + bool(rows[0][1])


def _archive(taken: list[str], at: threading.Event, going: threading.Event) -> Callable[[RawScu], None]:
    """A destination that notes what it takes. It says so with `at`, and answers when `going` is set."""

    def serve(peer: RawScu) -> None:
        _, body = peer.pdu()
        peer.send(associate_ac(body))
        parts: list[bytes] = []
        while (found := receive(peer, parts.append)) is not None:
            data = b"".join(parts)
            taken.append(data.partition(b"\x08\x00\x18\x00UI")[2][2:66].split(b"\x08\x00")[0].rstrip(b"\0").decode())
            parts.clear()
            at.set()
            assert going.wait(60)
            peer.send(p_data(found[0], store_rsp(found[1]), is_command=True))

    return serve


def test_cc_04_a_destination_that_changes_while_it_is_sent_to(own_site: Callable[..., Site]) -> None:
    """What runs ends at the old place, what is next goes to the new one; nothing twice, nothing lost."""
    old: list[str] = []
    new: list[str] = []
    at, going, free = threading.Event(), threading.Event(), threading.Event()
    free.set()
    with RawScp(_archive(old, at, going)) as before, RawScp(_archive(new, threading.Event(), free)) as after:
        site = own_site(destination("archive", before.port) + RULE)
        assert at.wait(20)  # with the object that `own_site` has sent
        edited = site.command("nodes", "edit", "archive", "--set", f"port={after.port}", "--reason", "moved")
        assert edited.returncode == 0, edited.stderr
        things = [ct_slice(2_000) for _ in range(5)]
        with modality(site, things[0]) as scu:
            assert [scu.store(thing) for thing in things] == [0] * 5
        first = list(old)
        assert (len(first), new) == (1, [])
        going.set()
        wait_until(lambda: len(new) == 5, 30, "the others are at the new place")
        query = "select state, count(*) from job where kind = 'deliver' group by state"
        wait_until(lambda: site.rows(query) == [("done", 6)], 30, "all are delivered")
        assert old == first
        assert sorted(new) == sorted(thing.sop_instance for thing in things)
