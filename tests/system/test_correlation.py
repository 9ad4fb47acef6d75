"""One name leads through the log: from the socket to the answer of the destination, over a restart, never mixed up."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
from support.hl7.receiver import Ris, ris_node
from support.orders import documents
from support.peers.tools import wait_until
from support.service.site import Mllp, Site, order

TOKEN = "a-token-of-the-tests-0123456789"
FOLDER = """
[[node]]
name = "share"
kind = "folder"
path = "{share}"
roles = ["destination"]

[default]
action = "send"
send = ["share"]
"""


def lines(site: Site) -> list[dict[str, Any]]:
    """The log, of which the last line may still be written."""
    return [json.loads(line) for line in site.logged().splitlines() if line.startswith("{") and line.endswith("}")]


def of(site: Site, event: str) -> list[dict[str, Any]]:
    return [line for line in lines(site) if line["event"] == event]


def grep(site: Site, correlation: str) -> set[str]:
    return {line["event"] for line in lines(site) if line.get("correlation") == correlation}


def a_site(folder: Path, database_url: str, text: str) -> Site:
    (folder.parent / "share").mkdir()
    config = {"log": {"level": "debug", "format": "json"}, "web": {"port": 0, "admin_token": TOKEN}}
    return Site(folder, site=text, database_url=database_url, config=config)


def store(site: Site, size: int) -> None:
    item = ct_slice(size)
    with RawScu(site.dicom) as peer:
        assert peer.associate([(item.sop_class, item.transfer_syntax)])[0] == 2
        assert peer.store(item) == 0


def test_objects_are_followed_to_their_destination(tmp_path: Path, database_url: str) -> None:
    with a_site(tmp_path / "site", database_url, FOLDER.format(share=tmp_path / "share")) as site:
        with ThreadPoolExecutor(2) as both:
            list(both.map(lambda size: store(site, size), (64, 100_000)))
        wait_until(lambda: len(of(site, "job.done")) == 2, 30, "both are delivered")
        received = of(site, "instance.received")
        assert len({line["correlation"] for line in received}) == len({line["connection"] for line in received}) == 2
        associations = {line["connection"]: line["correlation"] for line in of(site, "dicom.associated")}
        for line in received:
            assert line["instance"] == line["correlation"]
            assert associations[line["connection"]] == line["connection"]
            events = grep(site, line["correlation"])
            assert events >= {"instance.received", "delivery.answered", "job.done"}
            assert events & {"job.claimed", "job.handed_over"}
            (done,) = [one for one in of(site, "job.done") if one["correlation"] == line["correlation"]]
            jobs = {one["job"] for one in lines(site) if one.get("correlation") == line["correlation"] and "job" in one}
            assert jobs == {done["job"]}


def test_a_delivery_has_its_name_after_a_crash(tmp_path: Path, database_url: str) -> None:
    site = a_site(tmp_path / "site", database_url, FOLDER.format(share=tmp_path / "share"))
    site.faults.write_text("delivery.send kill\n", encoding="ascii")
    site.start()
    store(site, 64)
    assert site.process is not None
    site.process.wait(30)
    (received,) = of(site, "instance.received")
    assert not of(site, "job.done")
    site.faults.write_text("", encoding="ascii")
    with site:
        wait_until(lambda: len(of(site, "job.done")) == 1, 30, "it is delivered")
        assert of(site, "job.done")[0]["correlation"] == received["correlation"]


def test_messages_are_followed_to_the_answer_of_the_ris(tmp_path: Path, database_url: str) -> None:
    def happens(number: int) -> None:
        with Mllp(site.hl7) as sender:
            for status, control in (("SC", "NW"), ("IP", "SC"), ("CM", "SC")):
                text = order(number, control=control, status=status, control_id=f"{number}{status}")
                text = text if control == "NW" else text.replace("|RIS|HOSPITAL|", "|MPPS||", 1)
                assert sender.exchange(text)["MSA"][0][1] == "AA"

    with Ris() as ris, a_site(tmp_path / "site", database_url, ris_node(ris.port)) as site:
        with ThreadPoolExecutor(2) as both:
            list(both.map(happens, (1, 2)))
        wait_until(lambda: len(of(site, "feedback.answered")) == 4, 30, "the RIS has heard of both")
        told = of(site, "hl7.message")
        assert len({line["correlation"] for line in told}) == len(told) == 6  # each message has its own
        assert len({line["connection"] for line in told}) == 2
        ways: dict[str, list[str]] = {}  # names of the messages about one order, as they came
        for line in told:
            ways.setdefault(line["accession"], []).append(line["correlation"])
        answered = {line["control_id"]: line["correlation"] for line in of(site, "feedback.answered")}
        heard: dict[str, dict[str, str]] = {}  # by order and status: whose feedback it is
        for one in ris.told:
            heard.setdefault(one.get("ORC", 2), {})[one.status] = answered[one.control_id]
        assert sorted(way[1:] for way in ways.values()) == sorted([said["IP"], said["CM"]] for said in heard.values())
        for name in answered.values():
            assert grep(site, name) >= {"hl7.message", "job.claimed", "feedback.answered", "job.done"}


def test_a_request_has_its_name_in_the_header_and_in_the_log(tmp_path: Path, database_url: str) -> None:
    def placed(number: int) -> httpx.Response:
        headers = {"Authorization": f"Bearer {TOKEN}", "X-Correlation-ID": "made-up-by-a-caller"}
        return httpx.post(f"{site.web}/api/v1/orders", json=documents.order(number), headers=headers, timeout=30)

    with a_site(tmp_path / "site", database_url, "") as site:
        with ThreadPoolExecutor(2) as both:
            answers = list(both.map(placed, (1, 2)))
        assert [answer.status_code for answer in answers] == [201, 201]
        names = {answer.headers["X-Correlation-ID"] for answer in answers}
        assert {line["correlation"] for line in of(site, "order.placed")} == names
        assert len(names) == 2
        refused = httpx.post(f"{site.web}/api/v1/orders", json={}, headers={"Authorization": f"Bearer {TOKEN}"})
        assert refused.status_code == 422
        assert refused.json()["reference"] == refused.headers["X-Correlation-ID"]
        assert "made-up-by-a-caller" not in site.logged()
