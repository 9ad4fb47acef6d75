"""The fault and abuse catalogue against the real broker.

Each test carries the id of its row: UL upper layer, DM DIMSE messages, DS data sets, HL orders, TM times, CC races.
Timers and counts are scaled down; `BROKER_FULL=1 pytest tests/catalogue` runs them as the catalogue has them (about an
hour, 10 GB of temporary disk). `test_rows.py` demands a test or a reason for each row about doors and times.

Some rows stand beside what they are about: UL-02, UL-03, UL-12, UL-13, UL-15 and UL-21
in `tests/wire/test_tls.py`, DM-18 to DM-21 also in `tests/wire/test_user.py` and `tests/wire/lanes`, DS-01 to DS-14 in
`tests/unit/test_dicom_elements.py` and `tests/unit/test_routing_header.py`, HL-01 to HL-10 also in
`tests/wire/test_mllp.py` and `tests/unit/test_hl7_*.py`, TM-01 in `tests/wire/lanes/test_lanes_clock.py`,
`tests/system/test_clock_steps.py`, `tests/store/test_queue_store.py` and `tests/unit/service/test_clock_watch.py`,
TM-02 in `tests/store/test_spool_clock.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu, associate_ac, p_data
from support.dicom.raw_scp import RawScp, receive, store_rsp
from support.scale import FULL, scaled
from support.service.abuse import State, echo_time
from support.service.forwarding import Archive
from support.service.site import Site, destination

HERE = Path(__file__).parent
LIMITS: dict[str, Any] = {
    "pdu_timeout": scaled(1, 60), "association_request_timeout": scaled(1, 30), "associations_per_second": 100_000,
    "hl7_frame_timeout": scaled(1, 60),
}  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Rows in full size may take their time."""
    for item in items:
        if FULL and HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(3600))


@contextmanager
def warm(site: Site) -> Iterator[Site]:
    """A running broker that has opened what it opens when first used."""
    with site:
        for source in ("127.0.0.1", "127.0.0.9"):
            echo_time(site.dicom, source=source)
        thing = ct_slice(3 * 1024**2)
        with RawScu(site.dicom) as modality:
            assert modality.associate([(thing.sop_class, thing.transfer_syntax)], calling=b"GOOD")[0] == 2
            assert modality.store(thing) == 0
        yield site


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One broker for all rows that need no configuration of their own: it must survive every one of them."""
    with warm(Site(tmp_path_factory.mktemp("catalogue"), config={"limits": LIMITS})) as running:
        yield running


@pytest.fixture
def site(broker: Site) -> Iterator[Site]:
    """That broker, unharmed after the test."""
    before = State.of(broker)
    yield broker
    before.assert_unharmed(broker)


# the tests of the first rule make the broker read values of every kind
RULES = """
[[rule]]
name = "odd values"
when = { any = [
  { field = "tag.PatientName", op = "is", value = "Nobody" },
  { field = "tag.StudyDate", op = "is", value = "19000101" },
  { field = "tag.InstanceNumber", op = "gt", value = 1000000 },
  { field = "tag.SliceThickness", op = "gt", value = 1000000 },
  { field = "tag.StudyTime", op = "is", value = "000000" },
  { field = "tag.PatientComments", op = "is", value = "x" },
] }
send = ["wrong"]

[[rule]]
name = "all"
when = { field = "tag.Modality", op = "exists" }
send = ["archive"]
"""


@pytest.fixture(scope="session", params=[32_768, 1], ids=["small objects in the database", "all in files"])
def forwarding(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """One such broker for all data sets, and one that keeps small objects in files too."""
    received: set[bytes] = set()

    def serve(peer: RawScu) -> None:
        _, body = peer.pdu()
        peer.send(associate_ac(body))
        digest = sha256()
        while (found := receive(peer, digest.update)) is not None:
            received.add(digest.digest())
            digest = sha256()
            peer.send(p_data(found[0], store_rsp(found[1]), is_command=True))

    with RawScp(serve) as scp:
        made = Site(
            tmp_path_factory.mktemp("archive"),
            site=destination("archive", scp.port) + destination("wrong", 9) + RULES,
            config={"limits": LIMITS | {"small_object": request.param}},
        )
        with warm(made) as running:
            yield Archive(running, received)


@pytest.fixture
def archive(forwarding: Archive) -> Iterator[Archive]:
    """That broker, unharmed after the test."""
    before = State.of(forwarding.site)
    yield forwarding
    before.assert_unharmed(forwarding.site)


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Starts a broker of the test's own, unharmed after the test: site.toml, `[dicom]`, `[hl7]`, keys of `[limits]`."""
    running: list[tuple[Any, Site, State]] = []

    def start(
        site: str = "", *, dicom: dict[str, Any] | None = None, hl7: dict[str, Any] | None = None, **limits: Any
    ) -> Site:
        sections = {"limits": LIMITS | limits, "dicom": dicom or {}, "hl7": hl7 or {}}
        made = warm(Site(tmp_path / f"site{len(running)}", site=site, config=sections))
        started = made.__enter__()
        running.append((made, started, State.of(started)))
        return started

    try:
        yield start
        for _, started, before in running:
            before.assert_unharmed(started)
    finally:
        for made, _, _ in running:
            made.__exit__(None, None, None)
