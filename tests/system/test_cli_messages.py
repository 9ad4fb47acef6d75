"""`broker messages`: the journal of a running broker, by REST and by command; what was left out is seen in the text."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import httpx
from support.hl7.receiver import Ris, ris_node
from support.peers.tools import wait_until
from support.service.site import Mllp, Site, order

TOKEN = "a-token-of-the-tests-0123456789"
LATIN = """MSH|^~\\&|POLISH|SITE|BROKER|RAD|20300101080000||ORM^O01|M1|P|2.5.1
PID|||QZPAT1||Šimek^Žofie||19700000
ORC|NW|P1|||||^^^20300115100000
OBR|1|P1||CHEST^Chest||||||||||||||A1||||||CT
"""
REFUSED = LATIN.replace("|M1|", "|M2|").replace("|CT\n", "|TQQ9\n")
PROFILE = """name = "polish"
extends = "ihe"
[senders]
match = [{ application = "POLISH" }]
[reading]
charset = "WIN-1250"
"""


def messages(site: Site, *words: str) -> subprocess.CompletedProcess[str]:
    """What a command says."""
    return site.command(*words, environment={"COLUMNS": "200"})


def test_a_message_is_listed_with_its_findings_and_shown_as_it_was_read(tmp_path: Path) -> None:
    with Site(tmp_path / "site", config={"web": {"port": 0, "admin_token": TOKEN}}) as site:
        profile = tmp_path / "polish.toml"
        profile.write_text(PROFILE, encoding="utf-8")
        assert messages(site, "mapping", "import", str(profile)).returncode == 0
        with Mllp(site.hl7) as sender:
            for text, code in ((LATIN, "AA"), (REFUSED, "AE")):
                answer = sender.exchange(text.replace("\n", "\r").encode("cp1250"))
                assert answer["MSA"][0][1] == code

        listed = json.loads(messages(site, "messages", "list", "--json").stdout)
        assert [(one["row"], one["control_id"], one["answer"]) for one in listed] == [(2, "M2", "AE"), (1, "M1", "AA")]
        assert any("PID^1^7" in line for line in listed[1]["findings"])
        only = json.loads(messages(site, "messages", "list", "--answer", "AE", "--json").stdout)
        assert [one["row"] for one in only] == [2]
        assert "TQQ9" in messages(site, "messages", "list").stdout

        shown = messages(site, "messages", "show", "1").stdout
        assert "PID|||QZPAT1||Šimek^Žofie||19700000" in shown  # the birth date that the worklist leaves out
        assert "MSA|AA|M1" in shown
        missing = messages(site, "messages", "show", "9")
        assert (missing.returncode, "No such message" in missing.stderr) == (1, True)

        url = f"{site.web}/api/v1/messages"
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert httpx.get(f"{url}/1", headers=headers).json()["text"].splitlines()[0].startswith("MSH|")
        assert httpx.get(url).status_code == 401


def test_questions_of_support_by_one_command(tmp_path: Path) -> None:
    """Which orders were refused today and why (4), what exactly came for an order (5), did the RIS hear of it (7)?"""
    with Ris() as ris, Site(tmp_path / "site", site=ris_node(ris.port, events=["completed"])) as site:
        done = order(1, control="SC", status="CM", control_id="DONE").replace("|RIS|HOSPITAL|", "|MPPS||", 1)
        with Mllp(site.hl7) as sender:
            assert sender.exchange(order(1))["MSA"][0][1] == "AA"
            assert sender.exchange(done)["MSA"][0][1] == "AA"
            assert sender.exchange(REFUSED.replace("\n", "\r"))["MSA"][0][1] == "AE"
        wait_until(lambda: site.rows("SELECT count(*) FROM job WHERE state = 'done'") == [(1,)], 20, "the RIS heard")

        refused = messages(site, "messages", "list", "--refused", "--since", "today").stdout
        assert "OBR^1^24" in refused
        assert "M2" in refused
        came = messages(site, "messages", "show", "--accession", "A1")
        assert came.returncode == 0, came.stderr
        assert order(1).splitlines()[0] in came.stdout.replace("\n", "\r").splitlines()
        heard = json.loads(messages(site, "messages", "feedback", "A1", "--json").stdout)
        assert [(one["event"], one["state"]) for one in heard] == [("completed", "done")]
        words = ("messages", "list", "--accession", "A1", "--direction", "out", "--json")
        sent = json.loads(messages(site, *words).stdout)
        assert [(one["event"], one["answer"], one["control_id"]) for one in sent] == [
            ("completed", "AA", ris.told[0].control_id)
        ]
        assert messages(site, "messages", "show", str(sent[0]["row"]), "--sent").returncode == 0
        again = messages(site, "messages", "send-again", str(heard[0]["job"]), "--reason", "restored")
        assert again.returncode == 0, again.stderr
        wait_until(lambda: len(ris.told) == 2, 20, "the RIS is told again")
        assert ris.told[1].control_id != ris.told[0].control_id

        assert messages(site, "messages", "dealt", "3", "--reason", "typed in").stdout.startswith("1 of 1")
        assert json.loads(messages(site, "messages", "list", "--refused", "--json").stdout) == []
        assert messages(site, "messages", "undealt", "3", "--reason", "a mistake").returncode == 0
        assert len(json.loads(messages(site, "messages", "list", "--refused", "--json").stdout)) == 1
