"""The fault and abuse catalogue against the real broker.

Each test carries the id of its row: UL upper layer, DM DIMSE messages, DS data sets. Timers and counts are scaled down;
`BROKER_FULL=1 pytest tests/catalogue` runs them as the catalogue has them (about an hour, 10 GB of temporary disk).
Some rows stand beside what they are about: UL-02, UL-03, UL-12, UL-13, UL-15 and UL-21 in `tests/wire/test_tls.py`,
DM-18 to DM-21 also in `tests/wire/test_user.py` and `test_lanes.py`, DS-01 to DS-14 also in
`tests/unit/test_dicom_elements.py` and `tests/unit/test_routing_header.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.abuse import State, echo_time
from support.objects import ct_slice
from support.raw import RawScu
from support.scale import FULL, scaled
from support.site import Site

HERE = Path(__file__).parent
LIMITS: dict[str, Any] = {
    "pdu_timeout": scaled(1, 60), "association_request_timeout": scaled(1, 30), "associations_per_second": 100_000,
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


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Starts a broker of the test's own, unharmed after the test: site.toml, `[dicom]`, keys of `[limits]`."""
    running: list[tuple[Any, Site, State]] = []

    def start(site: str = "", *, dicom: dict[str, Any] | None = None, **limits: Any) -> Site:
        sections = {"limits": LIMITS | limits, "dicom": dicom or {}}
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
