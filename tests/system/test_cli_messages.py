"""`broker messages`: the journal of a running broker, by REST and by command; what was left out is seen in the text."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import httpx
from support.service.site import Mllp, Site

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
