"""A broker that is told to stop loses no audit row of what it has shown up to then."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import httpx
import pytest
from support.peers.tools import wait_until
from support.service.site import Mllp, Site, order

TOKEN = "a-token-of-the-tests-0123456789"
THREADS = 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_each_view_that_was_answered_is_a_row(tmp_path: Path, number: signal.Signals) -> None:
    shown = [0] * THREADS
    site = Site(tmp_path / "site", config={"web": {"admin_token": TOKEN}})

    def look(place: int) -> None:
        """Look at the order until the broker is gone."""
        with httpx.Client(base_url=site.web, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=20) as http:
            try:
                while True:
                    shown[place] += http.get("/api/v1/orders/1").status_code == 200
            except httpx.TransportError:
                pass

    with site:
        with Mllp(site.hl7) as ris:
            assert ris.exchange(order(1))["MSA"][0][1] == "AA"
        lookers = [threading.Thread(target=look, args=(place,)) for place in range(THREADS)]
        for looker in lookers:
            looker.start()
        wait_until(lambda: min(shown) > 5, 60, "all of them look")
        assert site.process is not None
        site.process.send_signal(number)
        assert site.process.wait(40) == 0
        for looker in lookers:
            looker.join(30)
    rows = site.rows("SELECT count(*) FROM audit WHERE action = 'order.viewed' AND object_id = 1")[0][0]
    assert sum(shown) <= rows <= sum(shown) + THREADS  # an answer may have been on its way
    assert site.rows("SELECT count(*) FROM audit WHERE action = 'service.stopped'") == [(1,)]
    assert list(site.data.glob("audit-waiting-*")) == []
