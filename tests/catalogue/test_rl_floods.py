"""RL-06: the audit repository is away for days. RL-08: many sign in at once. Both with the real broker."""

from __future__ import annotations

import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
from support.audit.repository import RepositoryThread
from support.audit.schema import checked
from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
from support.peers.tools import wait_until
from support.scale import scaled
from support.service.abuse import MIB
from support.service.faketime import FakeTime
from support.service.site import Mllp, Site, order

ARR = '[[node]]\nname = "arr"\nkind = "syslog"\nhost = "127.0.0.1"\nport = {port}\nroles = ["audit"]\n'
PASSWORD = "green tea and rain 7"
ORDER_RECORD = "110109"  # PS3.16 CID 400
FORM = {"Sec-Fetch-Site": "same-origin"}


def test_rl_06_a_repository_that_is_away_for_days(tmp_path: Path) -> None:
    """Care goes on, the status says it, and afterwards all of it comes in order."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    site = Site(tmp_path / "site", site=ARR.format(port=port))
    clock = FakeTime(site)
    with site:
        waiting = "select count(*) from job where kind = 'audit' and state <> 'done'"
        wait_until(lambda: site.rows(waiting)[0][0] > 0, 30, "the start waits for the repository")
        for hours in (0, 24, 48, 72):
            clock.set(f"+{hours}h")
            with Mllp(site.hl7) as ris:
                assert ris.exchange(order(900 + hours))["MSA"][0][1] == "AA"
            thing = ct_slice(2_000)
            with RawScu(site.dicom) as modality:
                assert modality.associate([(thing.sop_class, thing.transfer_syntax)], calling=b"GOOD")[0] == 2
                assert modality.store(thing) == 0
        wait_until(lambda: "arr is down since" in site.command("status").stdout, 60, "the status tells of it")
        assert site.command("status").returncode == 1
        with RepositoryThread(port) as found:
            wait_until(lambda: len(found.messages) >= 6, 60, "four orders, the start and the objects are told")
            wait_until(lambda: site.rows(waiting)[0][0] == 0, 30, "all of it has gone")
            events = [one.find("EventIdentification") for one in map(checked, found.messages)]
            stamps = [
                str(event.get("EventDateTime"))
                for event in events
                if event is not None and [code.get("csd-code") for code in event.iter("EventID")] == [ORDER_RECORD]
            ]
            assert len({stamp[:10] for stamp in stamps}) == 4
            assert stamps == sorted(stamps)
            wait_until(lambda: "arr is down" not in site.command("status").stdout, 60, "the status knows it is back")


def test_rl_08_many_sign_in_at_once(tmp_path: Path) -> None:
    """Few hashes are made at a time; who tries too often waits, and who is in notices nothing."""
    with Site(tmp_path / "site") as site:
        invitation = site.command("users", "add", "anna", "--role", "admin").stdout.strip()
        form = {"password": PASSWORD, "again": PASSWORD}
        assert httpx.post(invitation, data=form, headers=FORM, timeout=30).status_code == 303
        assert site.process is not None
        process = psutil.Process(site.process.pid)
        before, most, slowest = process.memory_info().rss, 0, 0.0

        def flood(number: int) -> list[int]:
            """Tries of one of many strangers at two addresses."""
            there = httpx.HTTPTransport(local_address=f"127.0.0.{20 + number % 2}")
            with httpx.Client(base_url=site.web, transport=there, timeout=60, headers=FORM) as http:
                tries = [{"name": f"guess{number}-{n}", "password": "wrong " * 3} for n in range(scaled(4, 40))]
                return [http.post("/sign-in", data=one).status_code for one in tries]

        with httpx.Client(base_url=site.web, timeout=30, headers=FORM) as anna, ThreadPoolExecutor(30) as pool:
            assert anna.post("/sign-in", data={"name": "anna", "password": PASSWORD}).status_code == 303
            started = time.monotonic()
            strangers = [pool.submit(flood, number) for number in range(30)]
            looks = 0
            while not all(stranger.done() for stranger in strangers) and time.monotonic() - started < 120:
                asked = time.monotonic()
                assert anna.get("/api/v1/status").status_code == 200
                slowest = max(slowest, time.monotonic() - asked)
                most = max(most, process.memory_info().rss - before)
                looks += 1
            answers = Counter(status for stranger in strangers for status in stranger.result())
        assert answers.keys() <= {422, 429, 503}, answers
        assert answers[429] >= 60, answers
        assert answers[422] <= 42, answers  # an address has 20 tries, and one more each half minute
        assert looks > 2
        assert slowest < 5
        assert most < 256 * MIB, most  # 2 hashes of 64 MiB at a time, whoever asks
        with httpx.Client(base_url=site.web, timeout=30, headers=FORM) as ben:  # anna from another window
            assert ben.post("/sign-in", data={"name": "anna", "password": PASSWORD}).status_code == 303
