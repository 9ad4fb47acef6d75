"""A running broker tells a webhook and a mail server that rules acted: once for a study, over refusals and a crash."""

from __future__ import annotations

import json
from pathlib import Path

from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
from support.peers.mail_server import MailServer, threaded_mail_server
from support.peers.tools import wait_until
from support.peers.webhooks import webhook
from support.service.site import Site

NODES = """
[[node]]
name = "desk"
kind = "webhook"
url = "{url}"
timeout = {timeout}
roles = ["notify"]

[[node]]
name = "mail"
kind = "mail"
host = "127.0.0.1"
port = {port}
mail = {{ sender = "broker@hospital.example", to = "it@hospital.example", security = "none" }}
roles = ["notify"]
"""
RULE = """
[[rule]]
name = "CT came"
when = { field = "tag.Modality", value = "CT" }
action = "hold"
notify = ["desk", "mail"]
"""


def store(site: Site, study: str, count: int) -> None:
    items = [ct_slice(64, StudyInstanceUID=study, PatientName="Canary^Anna") for _ in range(count)]
    with RawScu(site.dicom) as peer:
        assert peer.associate([(items[0].sop_class, items[0].transfer_syntax)])[0] == 2
        assert [peer.store(item) for item in items] == [0] * count


def states(site: Site) -> list[tuple[str, str]]:
    return [(lane, state) for lane, state in site.rows("SELECT lane, state FROM job ORDER BY lane, id")]


def test_a_study_is_told_once_over_refusals_and_a_crash(tmp_path: Path) -> None:
    mail = MailServer()
    mail.data = ["451 later", "break"]
    with threaded_mail_server(mail), webhook((429, {"Retry-After": "0"}), 0, -1, 503) as found:
        nodes = NODES.format(url=found.url, port=mail.port, timeout=1)
        with Site(tmp_path, site=nodes + RULE, config={"web": {"url": "https://broker.example"}}) as site:
            store(site, "2.999.1", 30)
            wait_until(lambda: len(found.posts) >= 3, 30, "the webhook was tried, and says nothing")
            site.kill()
            site.start()
            store(site, "2.999.1", 3)
            wait_until(lambda: states(site) == [("notify:desk", "done"), ("notify:mail", "done")], 40, "all are told")
            assert len(set(found.keys)) == 1
            assert len({one["Message-ID"] for one in mail.mails}) == 1
            _, document = found.posts[-1]
            assert document["objects"] in (30, 31, 32, 33)
            assert (document["rule"], document["action"]) == ("CT came", "hold")
            assert document["link"] == "https://broker.example/rules"
            told = json.dumps(document) + mail.mails[-1].as_string()
            assert "canary" not in told.casefold()
            assert "2.999" not in told

            found.usual, mail.data = 422, ["554 no"]
            store(site, "2.999.2", 2)
            wait_until(
                lambda: [state for _, state in states(site)] == ["done", "held"] * 2, 30, "what is refused is held"
            )
            listed = site.command("queue", "held").stdout
            assert "http-422" in listed
            assert "smtp-554" in listed

            tested = site.command("nodes", "test", "mail")
            assert tested.returncode == 0, tested.stdout + tested.stderr
            assert "no mail was sent" in " ".join(tested.stdout.split())
            found.usual = 405
            before = len(found.posts)
            tested = site.command("nodes", "test", "desk")
            assert tested.returncode == 0, tested.stdout + tested.stderr
            assert (len(found.posts), found.heads) == (before, 1)
            removed = site.command("nodes", "remove", "desk", "--anyway", "--reason", "a test")
            assert removed.returncode != 0
            assert "Rule CT came notifies it" in " ".join((removed.stdout + removed.stderr).split())
