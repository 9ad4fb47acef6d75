"""What became of orders reaches the RIS: in order per order, once it is there again, and after SIGKILL."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hl7apy.mllp import AbstractHandler, MLLPServer
from support.certificates import Authority
from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
from support.hl7.receiver import Ris, Told, acknowledgement, framed, ris_node
from support.peers.tools import free_port, wait_until
from support.service.site import Mllp, Site, order

EVENTS = ["started", "completed", "images"]


def say(site: Site, *messages: str) -> None:
    with Mllp(site.hl7) as sender:
        for message in messages:
            assert sender.exchange(message)["MSA"][0][1] == "AA"


def happens(site: Site, number: int, *statuses: str) -> None:
    """Another system says what became of an order."""
    for status in statuses:
        message = order(number, control="SC", status=status, control_id=f"{number}{status}")
        say(site, message.replace("|RIS|HOSPITAL|", "|MPPS||", 1))


def done(site: Site, count: int) -> bool:
    return site.rows("SELECT count(*) FROM job WHERE state = 'done'") == [(count,)]


def by_order(ris: Ris) -> dict[str, list[str]]:
    """ORC-5 in the order it came, repeats of one message left out, by placer number."""
    found: dict[str, dict[str, str]] = {}
    for told in ris.told:
        found.setdefault(told.get("ORC", 2), {}).setdefault(told.control_id, told.status)
    return {placer: list(statuses.values()) for placer, statuses in found.items()}


@pytest.mark.parametrize(
    ("message", "version"), [("ORM^O01", "2.3.1"), ("OMG^O19", "2.5.1"), ("OMI^O23", "2.5.1"), ("ORU^R01", "2.5.1")]
)
def test_a_ris_that_was_away_hears_everything_in_order(tmp_path: Path, message: str, version: str) -> None:
    port = free_port()
    with Site(tmp_path, site=ris_node(port, message=message, version=version)) as site:
        for number in (1, 2, 3):
            say(site, order(number))
            happens(site, number, "IP", "CM")
        wait_until(lambda: "lane.broken" in site.logged(), 20, "the RIS is found to be away")
        with Ris(port=port) as ris:
            wait_until(lambda: done(site, 6), 30, "everything is told")
            assert by_order(ris) == {f"PL{n}^RIS": ["IP", "CM"] for n in (1, 2, 3)}
            assert {told.get("MSH", 9) for told in ris.told} == {
                message if version == "2.3.1" else f"{message}^{message.replace('^', '_')}"
            }
            assert ris.connections == 1
            assert "Müller^Käthe" in ris.told[0].get("PID", 5)


@pytest.mark.parametrize("point", ["feedback.send", "feedback.sent", "store.committed"])
def test_sigkill_loses_nothing_and_repeats_with_the_same_control_id(tmp_path: Path, point: str) -> None:
    with Ris() as ris:
        site = Site(tmp_path, site=ris_node(ris.port))
        with site:
            say(site, order(1))
            happens(site, 1, "IP")
            wait_until(lambda: done(site, 1), 20, "the RIS has heard of it")
            site.faults.write_text(f"{point} kill\n", encoding="ascii")
            with Mllp(site.hl7) as sender:  # with the last point it dies before it answers
                sender.exchange(order(1, control="SC", status="CM").replace("|RIS|HOSPITAL|", "|MPPS||", 1))
            assert site.process is not None
            assert site.process.wait(20) == -9
            site.faults.write_text("", encoding="ascii")
            site.start()
            wait_until(lambda: done(site, 2), 20, "the RIS has heard of the rest")
        assert by_order(ris) == {"PL1^RIS": ["IP", "CM"]}
        repeats = [told for told in ris.told if told.status == "CM"]
        assert len(repeats) == (2 if point == "feedback.sent" else 1)
        assert len({told.raw for told in repeats}) == 1  # to the byte


def test_the_first_image_of_an_order_is_told(tmp_path: Path) -> None:
    with Ris() as ris, Site(tmp_path, site=ris_node(ris.port, events=EVENTS)) as site:
        say(site, order(1))
        happens(site, 1, "IP")
        thing = ct_slice(4096)
        with RawScu(site.dicom) as modality:
            assert modality.associate([(thing.sop_class, thing.transfer_syntax)])[0] == 2
            assert modality.store(thing) == 0
            assert modality.store(ct_slice(4096)) == 0
        happens(site, 1, "CM")
        wait_until(lambda: done(site, 3), 20, "everything is told")
        assert [(told.status, told.get("ORC", 16)) for told in ris.told] == [
            ("IP", ""), ("IP", "IMAGES^First images received^L"), ("CM", ""),
        ]  # fmt: skip


def test_the_state_of_the_node_is_shown(tmp_path: Path) -> None:
    with Ris() as ris, Site(tmp_path, site=ris_node(ris.port)) as site:
        say(site, order(1))
        happens(site, 1, "IP")
        wait_until(lambda: done(site, 1), 20, "the RIS has heard of it")

        def node() -> dict[str, Any]:
            [found] = site.asked("/api/v1/status").json()["nodes"]
            return dict(found)

        wait_until(lambda: node()["last_out"] is not None, 20, "it is known when the RIS heard of it")
        assert (node()["state"], node()["lanes"], node()["kind"]) == ("well", [], "hl7")


@pytest.mark.parametrize("trusted", [True, False])
def test_over_tls_both_sides_prove_who_they_are(tmp_path: Path, trusted: bool) -> None:
    ours = Authority(tmp_path / "ours")
    theirs = ours if trusted else Authority(tmp_path / "theirs", "Somebody")
    files, served = ours.issue("broker"), theirs.issue("ris")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(served.certificate, served.key)
    context.load_verify_locations(ours.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    with Ris(tls=context) as ris:
        tls = f'[node.tls]\ncertificate = "{files.certificate}"\nkey = "{files.key}"\nca = "{ours.ca}"\n'
        with Site(tmp_path / "site", site=ris_node(ris.port) + tls) as site:
            say(site, order(1))
            happens(site, 1, "IP")
            if trusted:
                wait_until(lambda: done(site, 1), 20, "the RIS has heard of it")
            else:
                reason = "reason=tls-unable-to-get-local-issuer-certificate"
                wait_until(lambda: reason in site.logged(), 20, "the handshake fails")
        assert ris.statuses() == (["IP"] if trusted else [])


class _Reply(AbstractHandler):  # type: ignore[misc]
    """A handler of hl7apy's server."""

    def __init__(self, message: str, heard: list[str]) -> None:
        super().__init__(message)
        self._heard = heard

    def reply(self) -> str:
        """AA."""
        self._heard.append(self.incoming_message)
        control_id = self.incoming_message.split("|")[9]
        return f"\x0bMSH|^~\\&|RIS||BROKER||2026||ACK|1|P|2.3.1\rMSA|AA|{control_id}\r\x1c\r"


@contextmanager
def hl7apy_server() -> Iterator[tuple[int, list[str]]]:
    heard: list[str] = []
    server = MLLPServer("127.0.0.1", 0, {"ORM^O01": (_Reply, heard)})
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1], heard
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def test_a_foreign_receiver_that_closes_after_each_message(tmp_path: Path) -> None:
    """hl7apy's MLLPServer takes one message per connection."""
    with hl7apy_server() as (port, heard), Site(tmp_path, site=ris_node(port)) as site:
        for number in range(1, 6):
            say(site, order(number))
            happens(site, number, "IP", "CM")
        wait_until(lambda: done(site, 10), 30, "everything is told")
        assert len(heard) == 10
        assert "lane.broken" not in site.logged()


def test_a_held_message_is_released_or_discarded_by_a_command(tmp_path: Path) -> None:
    code = "AR"

    def script(peer: socket.socket, told: Told) -> None:
        peer.sendall(framed(acknowledgement(told, code)))

    with Ris(script) as ris, Site(tmp_path, site=ris_node(ris.port)) as site:
        for number in (1, 2):
            say(site, order(number))
            happens(site, number, "IP")
        wait_until(lambda: site.rows("SELECT count(*) FROM job WHERE state = 'held'") == [(2,)], 20, "both are held")
        shown = queue(site, "held")
        (first,), (second,) = site.rows("SELECT id FROM job ORDER BY id")
        assert shown.returncode == 0
        assert shown.stdout.count("feedback:ris") == 2
        code = "AA"
        assert queue(site, "release", str(first)).returncode == 0
        assert queue(site, "discard", str(second), "--reason", "told by phone").returncode == 0
        again = queue(site, "discard", str(second), "--reason", "told by phone")
        refused = "0 of 1 job discarded: what is left does not wait and is not held"
        assert (again.returncode, again.stderr.strip()) == (1, refused)
        wait_until(lambda: done(site, 1), 20, "what was released is accepted")
        assert site.rows("SELECT action, detail FROM audit WHERE object_kind = 'job' ORDER BY id") == [
            ("job.released", "{}"), ("job.discarded", '{"reason":"told by phone"}'),
        ]  # fmt: skip


def queue(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    return site.command("queue", *arguments)
