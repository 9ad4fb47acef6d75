"""`[traces]`: a collector gets the spans of the work, one trace from the socket to the destination, and no patient."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
from support.hl7.receiver import Ris, ris_node
from support.orders import documents
from support.peers.collector import Collector, Told, collecting
from support.peers.tools import wait_until
from support.service.canaries import PATIENT_DATA, TOKEN, filled, rows, told
from support.service.site import Mllp, Site, order

from broker.settings.origins import MASK

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


def a_site(folder: Path, collector: Collector, database_url: str, text: str = "", **more: Any) -> Site:
    (folder.parent / "share").mkdir(exist_ok=True)
    config = {
        "log": {"level": "debug", "format": "json"},
        "web": {"port": 0, "admin_token": TOKEN},
        "traces": {"endpoint": collector.url} | more.pop("traces", {}),
        **more,
    }
    return Site(
        folder, site=text.replace("{share}", str(folder.parent / "share")), database_url=database_url, config=config
    )


def store(site: Site, size: int = 64) -> None:
    item = ct_slice(size)
    with RawScu(site.dicom) as peer:
        assert peer.associate([(item.sop_class, item.transfer_syntax)])[0] == 2
        assert peer.store(item) == 0


def lines(site: Site, event: str) -> list[dict[str, Any]]:
    """Lines of the log about an event; the last one may still be written."""
    found = [json.loads(line) for line in site.logged().splitlines() if line.startswith("{") and line.endswith("}")]
    return [line for line in found if line["event"] == event]


def metric(site: Site, name: str) -> float:
    text = httpx.get(f"{site.web}/metrics", timeout=30).text
    return sum(float(found) for found in re.findall(rf"^{name}_total(?:{{.*}})? (\S+)$", text, re.MULTILINE))


def names(spans: list[Told]) -> list[str]:
    return [one.name for one in spans]


def test_one_trace_from_the_socket_to_the_destination(tmp_path: Path, database_url: str) -> None:
    with collecting() as collector, a_site(tmp_path / "site", collector, database_url, FOLDER) as site:
        store(site)
        wait_until(lambda: collector.named("delivery", broker_outcome="done"), 30, "its delivery is told")
        (received,) = lines(site, "instance.received")
        trace = collector.trace(received["correlation"])
        assert sorted(names(trace)) == ["C-STORE", "delivery", "queued", "write"]
        by_name = {one.name: one for one in trace}
        assert {one.notes["broker.correlation"] for one in trace} == {received["correlation"]}
        assert by_name["write"].parent == by_name["C-STORE"].number
        assert by_name["C-STORE"].notes["dicom.status"] == 0
        assert by_name["C-STORE"].began <= by_name["queued"].began <= by_name["queued"].ended
        assert by_name["queued"].ended <= by_name["delivery"].ended
        assert by_name["delivery"].notes["broker.node"] == "share"
        assert by_name["delivery"].notes["broker.attempt"] == 1
        assert not [one for one in trace if one.failed]


def test_an_order_and_its_feedback(tmp_path: Path, database_url: str) -> None:
    with (
        collecting() as collector,
        Ris() as ris,
        a_site(tmp_path / "site", collector, database_url, ris_node(ris.port)) as site,
    ):
        with Mllp(site.hl7) as sender:
            for status, control in (("SC", "NW"), ("IP", "SC")):
                text = order(1, control=control, status=status, control_id=f"1{status}")
                text = text if control == "NW" else text.replace("|RIS|HOSPITAL|", "|MPPS||", 1)
                assert sender.exchange(text)["MSA"][0][1] == "AA"
        wait_until(lambda: collector.named("delivery", broker_outcome="done"), 30, "the RIS was told")
        first, second = (line["correlation"] for line in lines(site, "hl7.message"))
        trace = collector.trace(first)
        assert sorted(names(trace)) == ["HL7 message", "answer", "convert", "write"]
        (whole,) = (one for one in trace if one.name == "HL7 message")
        assert {one.parent for one in trace if one is not whole} == {whole.number}
        assert whole.notes["hl7.type"] in ("ORM", "OMI")
        assert whole.notes["hl7.answer"] == "AA"
        assert {"HL7 message", "delivery"} <= set(names(collector.trace(second)))


def test_requests_and_what_a_caller_says(tmp_path: Path, database_url: str) -> None:
    """The name of a caller's trace is a link and nothing more; one of another form is nothing."""
    parent = f"00-{'ab' * 16}-{'cd' * 8}-00"
    with collecting() as collector, a_site(tmp_path / "site", collector, database_url) as site:
        asks = httpx.Client(base_url=site.web, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30)
        with asks as client:
            placed = client.post("/api/v1/orders", json=documents.order(1), headers={"traceparent": parent})
            assert placed.status_code == 201
            row = placed.headers["Location"]
            for wrong in ("x" * 5000, parent + "0", f"00-{'0' * 32}-{'cd' * 8}-00", parent.upper(), "00-canary-1-0"):
                assert client.get(row, headers={"traceparent": wrong}).status_code == 200
            assert client.get("/nowhere/canary%5ecarl").status_code == 404
            assert client.request("CANARY", "/").status_code in (400, 405)
            client.get("/health/live")
            client.get("/metrics")
        wait_until(lambda: len(collector.named("HTTP request")) >= 7, 30, "they are told")
        (first,) = collector.trace(placed.headers["X-Correlation-ID"])
        assert first.links == [("ab" * 16, "cd" * 8)]
        assert first.notes["http.request.method"] == "POST"
        assert first.notes["http.route"] == "/api/v1/orders"
        assert first.notes["http.response.status_code"] == 201
        others = [one for one in collector.named("HTTP request") if one != first]
        assert [one.links for one in others] == [[]] * len(others)
        routes = {one.notes["http.route"] for one in others}
        assert not [route for route in routes if str(route).startswith(("/health", "/metrics"))]
        assert "/api/v1/orders/{id}" in routes
        assert b"canary" not in b"".join(collector.bodies).lower()


def test_spans_name_no_patient(tmp_path: Path, database_url: str) -> None:
    url = database_url if database_url.startswith("postgresql") else ""
    with collecting() as collector:
        with filled(tmp_path / "site", url, {"traces": {"endpoint": collector.url}}) as full:
            ours = url or f"sqlite:///{full.site.data / 'broker.db'}"
            wait_until(lambda: len(collector.named("delivery")) >= 2, 30, "they are told")
            values = {str(row[0]) for query in PATIENT_DATA for row in rows(ours, query)}
        values = {value for value in values if len(value) > 4 and not value.startswith("1.2.840.10008.")}
        assert len(values) > 30
        assert {"HL7 message", "C-STORE", "C-FIND", "MPPS N-CREATE", "HTTP request"} <= set(names(collector.spans))
        sent = b"".join(collector.bodies).decode("utf-8", "replace")
        assert told(sent) == []
        assert [value for value in values if value in sent] == []
        assert TOKEN not in sent
        kinds = {one.notes.get("hl7.type") for one in collector.named("HL7 message")}
        assert "other" in kinds
        assert "ZZZ" not in kinds


def test_a_collector_that_fails_costs_nothing_and_is_told_once(tmp_path: Path, database_url: str) -> None:
    with collecting() as collector, a_site(tmp_path / "site", collector, database_url, FOLDER) as site:
        collector.status = 503
        store(site)
        wait_until(lambda: collector.asked >= 3, 30, "it was asked again")
        assert [line["reason"] for line in lines(site, "traces.not_sent")] == ["status-503"]
        collector.status = 200
        wait_until(lambda: collector.named("delivery", broker_outcome="done"), 60, "what waited is there")
        assert len(lines(site, "traces.not_sent")) == len(lines(site, "traces.sent_again")) == 1
        collector.status = 400  # the same batch would be refused again
        store(site)
        wait_until(lambda: metric(site, "broker_spans_dropped") > 0, 30, "it is counted")
        assert "status-400" in {line["reason"] for line in lines(site, "traces.not_sent")}
        assert metric(site, "broker_spans_sent") >= 4


def test_a_collector_that_hangs_delays_neither_work_nor_the_end(tmp_path: Path, database_url: str) -> None:
    with collecting() as collector, a_site(tmp_path / "site", collector, database_url, FOLDER) as site:
        collector.hangs = True
        store(site)
        wait_until(lambda: collector.asked >= 1, 30, "it hangs")
        began = time.monotonic()
        store(site)
        wait_until(lambda: len(lines(site, "job.done")) == 2, 30, "both are delivered")
        assert time.monotonic() - began < 5
        began = time.monotonic()
        assert site.process is not None
        site.process.send_signal(signal.SIGTERM)
        assert site.process.wait(30) == 0
        assert time.monotonic() - began < 8  # 2 s for it, and what the broker needs otherwise


def test_none_is_there(tmp_path: Path, database_url: str) -> None:
    with collecting() as collector:
        pass
    with a_site(tmp_path / "site", collector, database_url, FOLDER) as site:
        store(site)
        wait_until(lambda: lines(site, "traces.not_sent"), 30, "it is told")
        wait_until(lambda: lines(site, "job.done"), 30, "the object is delivered")
        assert [line["reason"] for line in lines(site, "traces.not_sent")] == ["ConnectError"]


def test_a_share_is_whole_traces_and_a_secret_goes_with_it(tmp_path: Path, database_url: str) -> None:
    with collecting() as collector:
        site = a_site(tmp_path / "site", collector, database_url, FOLDER, traces={"share": 0.5})
        site.environment["BROKER_TRACES__HEADERS"] = json.dumps({"Authorization": "Bearer s3cret-of-the-collector"})
        with site:
            for _ in range(12):
                store(site)
            wait_until(lambda: len(lines(site, "job.done")) == 12, 30, "all are delivered")
            expected = {
                line["correlation"]
                for line in lines(site, "instance.received")
                if int(line["correlation"][:8], 16) < 2**31
            }
            wait_until(lambda: len(collector.named("delivery")) == len(expected), 30, "those of the share are told")
            assert site.command("support", tmp_path / "x.tar.gz", environment=site.environment).returncode == 0
            with tarfile.open(tmp_path / "x.tar.gz") as archive:
                settings = archive.extractfile("x/settings.json")
                assert settings is not None
                told_of = {one["key"]: one["value"] for one in json.loads(settings.read())}
            assert told_of["traces.headers"] == MASK
            assert "s3cret" not in site.logged()
        for name in ("C-STORE", "write", "queued", "delivery"):
            assert {one.notes["broker.correlation"] for one in collector.named(name)} == expected
        assert {head["Authorization"] for head in collector.headers} == {"Bearer s3cret-of-the-collector"}


@pytest.mark.skipif(sys.platform != "linux", reason="more than one worker is for Linux")
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_each_process_tells_its_own(tmp_path: Path, database_url: str) -> None:
    with (
        collecting() as collector,
        a_site(tmp_path / "site", collector, database_url, FOLDER, service={"workers": 2}) as site,
    ):
        number = 0

        def by_both() -> bool:
            nonlocal number
            number += 1
            store(site)
            return {one.worker for one in collector.named("C-STORE")} == {"1", "2"}

        wait_until(by_both, 60, "both receive")
        wait_until(lambda: len(collector.named("delivery", broker_outcome="done")) == number, 30, "all are told")
        second = next(one for one in collector.named("C-STORE") if one.worker == "2")
        trace = collector.trace(str(second.notes["broker.correlation"]))
        assert {one.worker for one in trace if one.name == "delivery"} == {"1"}
        assert len(psutil.Process(site.listeners["pid"]).children()) == 1


def test_without_the_packages_the_start_says_what_to_install(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import sys\nsys.modules['opentelemetry.proto'] = None\n", encoding="ascii"
    )
    site = Site(tmp_path / "site", config={"traces": {"endpoint": "http://127.0.0.1:4318"}})
    environment = os.environ | {"PYTHONPATH": str(hidden)}
    ran = site.command("serve", environment=environment)
    assert ran.returncode == 2
    assert "pip install 'worklist-broker[traces]'" in ran.stderr
    findings = site.command("doctor", environment=environment)
    assert "worklist-broker[traces]" in findings.stdout
