"""`broker mapping` and `broker hl7` as programs: beside a running broker, and on its database while none runs."""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.certificates import SERVER, Authority
from support.peers.tools import free_port
from support.service.program import run
from support.service.site import Site

TOKEN = "a-token-of-the-tests-0123456789"
MESSAGE = """MSH|^~\\&|RIS|SITE|BROKER|RAD|202603120800||ORM^O01|{0}|P|2.5
PID|||1||LEFÈVRE^ZOÉ
ORC|NW|P{0}|||||^^^20260312100000
OBR|1|P{0}||CHEST^Chest||||||||||||||A{0}||||||SPIRAL
"""
PROFILE = """# ours
name = "site"
extends = "ihe"
[senders]
match = [{{ application = "RIS" }}]
[values.Modality]
SPIRAL = "{0}"
[[station]]
when = {{ Modality = "CT" }}
ae_title = "CT1"
[[example]]
message = '''
{1}'''
[example.expect]
Modality = "{2}"
"""


def broker(site: Site, *args: str | Path, code: int = 0, text: str = "") -> str:
    """Output of a command; its exit code must be `code`."""
    config = [] if args[:2] == ("hl7", "send") else ["--config", str(site.folder / "broker.toml")]
    environment = {"PYTHONWARNINGS": "error", "COLUMNS": "200"}
    done = run(*args, *config, folder=site.folder, text=text, environment=environment)
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "site", config={"web": {"port": 0, "admin_token": TOKEN}})
    yield made
    if made.alive():
        made.kill()


def profile(site: Site, modality: str = "CT", expected: str = "") -> Path:
    file = site.folder / "own.toml"
    file.write_text(PROFILE.format(modality, MESSAGE.format(0), expected or modality), encoding="utf-8")
    return file


def message(site: Site, *numbers: int) -> Path:
    file = site.folder / "message.hl7"
    file.write_text("\n".join(MESSAGE.format(number) for number in numbers), encoding="utf-8")
    return file


def test_without_a_broker_commands_work_on_the_database(site: Site) -> None:
    assert "built-in" in broker(site, "mapping", "list")
    assert not (site.data / "broker.db").exists()  # looking changes nothing
    file = profile(site)
    assert broker(site, "mapping", "check", file) == f"{file}: profile site, 1 examples: all good\n"
    assert "expected 'MR', got 'CT'" in broker(site, "mapping", "check", profile(site, expected="MR"), code=1)
    assert "expected 'MR', got 'CT'" in broker(site, "mapping", "import", profile(site, expected="MR"), code=1)
    assert broker(site, "mapping", "import", profile(site)) == "site: version 1 in force\n"
    assert broker(site, "mapping", "import", profile(site, "MR")) == "site: version 2 in force\n"
    assert broker(site, "mapping", "rollback", "site", "1") == "site: version 3 in force\n"
    assert broker(site, "mapping", "export", "site") == profile(site).read_text(encoding="utf-8")
    history = broker(site, "mapping", "history", "site").splitlines()
    assert [line.split()[0] for line in history] == ["3", "2", "1"]
    assert "cli:" in history[0]
    assert "RIS|*" in broker(site, "mapping", "list")
    signed = ("--reason", "other scanner", "--author", "Ann")
    assert broker(site, "mapping", "import", profile(site, "MR"), *signed) == "site: version 4 in force\n"
    back = broker(site, "mapping", "rollback", "site", "3", "--reason", "was wrong")
    assert back == "site: version 5 in force\n"
    newest, before = broker(site, "mapping", "history", "site").splitlines()[:2]
    assert newest.endswith(", version 3 again: was wrong")
    assert before.endswith(" for Ann: other scanner")
    assert "no such profile" in broker(site, "mapping", "export", "nobody", code=2)
    assert "no such profile" in broker(site, "mapping", "rollback", "site", "9", code=1)
    file.write_text('name = "site"\noddity = 1', encoding="utf-8")
    assert "oddity: unknown key" in broker(site, "mapping", "check", file, code=2)


def test_a_draft_is_checked_and_tried_on_the_journal_before_it_is_published(site: Site) -> None:
    """Beside a running broker, and without one: mistakes by line, what would change, the last change undone."""
    broker(site, "mapping", "import", profile(site))
    site.start()
    broker(site, "hl7", "send", f"127.0.0.1:{site.hl7}", message(site, 1, 2))
    file = profile(site, "MR")
    for _ in range(2):
        said = broker(site, "mapping", "changes", file, "--since", "1d")
        assert "message 2 ORM^O01 from RIS|SITE: AA -> AA, other worklist entries" in said
        assert " Modality: CT -> MR" in said
        assert said.endswith("2 of 2 messages looked at: 2 other worklist entries\n")
        assert broker(site, "mapping", "changes", profile(site)).endswith("2 read by profiles that stay as they are\n")
        profile(site, "MR")
        if site.alive():
            site.stop()
    assert '"counts"' in broker(site, "mapping", "changes", file, "--json")
    assert "not a date or time" in broker(site, "mapping", "changes", file, "--since", "soon", code=2)
    broker(site, "mapping", "import", file, "--reason", "other scanner", "--author", "Ann")
    difference = broker(site, "mapping", "diff", "site")
    assert difference.startswith("from version 1 to 2\n")
    assert '7 - SPIRAL = "CT"' in difference
    assert '7 + SPIRAL = "MR"' in difference
    assert broker(site, "mapping", "diff", "site", "2", "2") == "from version 2 to 2\n  nothing changes\n"
    assert "no such profile" in broker(site, "mapping", "diff", "site", "1", "9", code=1)
    undone = broker(site, "mapping", "rollback", "site")
    assert "site: undone: version 2 of " in undone
    assert " for Ann: other scanner" in undone
    assert undone.endswith("site: version 3 in force\n")
    file.write_text(file.read_text(encoding="utf-8").replace('ae_title = "CT1"', "oddity = 1"), encoding="utf-8")
    assert f"{file}: line 10: station: 1: unknown key oddity" in broker(site, "mapping", "check", file, code=2)
    file.write_text('name = "alone"\nextends = "ihe"\n', encoding="utf-8")
    broker(site, "mapping", "import", file)
    assert "there is no version before the one in force" in broker(site, "mapping", "rollback", "alone", code=1)


def test_a_running_broker_reads_the_next_message_by_what_is_published(site: Site) -> None:
    site.start()
    address = f"127.0.0.1:{site.hl7}"
    refused = broker(site, "hl7", "send", address, message(site, 1), code=1)
    assert "1: AE refused: content" in refused
    assert "error 103 at OBR^1^24: Modality" in refused
    assert broker(site, "mapping", "import", profile(site)) == "site: version 1 in force\n"
    sent = broker(site, "hl7", "send", address, message(site, 1, 2), "--count", "2")
    answers = [line.split()[:2] for line in sent.splitlines() if not line.startswith(" ")]
    assert answers == [["1:", "AA"], ["2:", "AA"]] * 2
    assert broker(site, "mapping", "import", profile(site, "MR")) == "site: version 2 in force\n"
    assert "in use" not in broker(site, "mapping", "rollback", "site", "1")
    assert [line.split()[0] for line in broker(site, "mapping", "history", "site").splitlines()] == ["3", "2", "1"]
    broker(site, "mapping", "import", profile(site, "MR"), "--reason", "other scanner", "--author", "Ann")
    broker(site, "mapping", "rollback", "site", "1", "--reason", "was wrong")
    newest, before = broker(site, "mapping", "history", "site").splitlines()[:2]
    assert newest.endswith(", version 1 again: was wrong")
    assert before.endswith(" for Ann: other scanner")


def test_a_file_is_read_as_its_bytes_would_be_received(site: Site) -> None:
    text = MESSAGE.format(1).replace("|P|2.5", "|P|2.3.1||||||8859/2").replace("LEFÈVRE^ZOÉ", "ŠIMEK^ŽOFIE")
    (site.folder / "order.hl7").write_bytes(text.replace("SPIRAL", "CT").encode("cp1250"))
    shown = broker(site, "hl7", "test", str(site.folder / "order.hl7"))
    assert "the database was not asked" in shown
    assert "ŠIMEK^ŽOFIE" in shown
    assert "Text is in a Windows code page, not in the declared character set" in shown


def test_a_pasted_message_is_explained(site: Site) -> None:
    pasted = MESSAGE.format(1).replace("|P|2.5", "|P|2.3.1||||||8859/1")
    refused = broker(site, "hl7", "test", "-", text=pasted, code=1)
    assert "answer AE  profile ihe" in refused
    shown = broker(site, "hl7", "test", "--profile", profile(site), text=pasted)
    assert "answer AA  profile site" in shown
    rows = {line.split()[0]: line for line in shown.splitlines() if line.strip()}
    assert "LEFÈVRE^ZOÉ" in rows["PatientName"]
    assert "PID-5:XPN (PID^1^5)" in rows["PatientName"]
    assert "value table: 'SPIRAL'" in rows["Modality"]
    assert "station rule: rule 1" in rows["ScheduledStationAETitle"]
    assert "answer AA  profile legacy-23" in broker(
        site, "hl7", "test", "--profile", "legacy-23", text=pasted.replace("SPIRAL", "NMR")
    )
    assert "no message" in broker(site, "hl7", "test", "-", text="nothing", code=2)
    assert "no such profile" in broker(site, "hl7", "test", "--profile", "nobody", text=pasted, code=2)
    assert not (site.data / "broker.db").exists()


@pytest.mark.parametrize("running", [True, False])
def test_stored_messages_are_run_again(running: bool, site: Site) -> None:
    site.start()
    broker(site, "hl7", "send", f"127.0.0.1:{site.hl7}", message(site, 1, 2), code=1)
    if not running:
        site.stop()
    shown = broker(site, "hl7", "replay", "--id", "1", "--profile", profile(site))
    assert "message 1 ORM^O01 from RIS|SITE: AE -> AA by site" in shown
    assert "new step Modality: (nothing) -> CT" in shown
    assert "1 message, 1 would change the worklist" in shown
    assert "AE -> AE by ihe" in broker(site, "hl7", "replay", code=1)
    broker(site, "mapping", "import", profile(site))
    kept = broker(site, "hl7", "replay", "--since", "2020-01-01", "--sender", "RIS", "--answer", "AE", "--write")
    assert "2 messages, 2 changed the worklist" in kept
    assert "2 messages, 0 would change" in broker(site, "hl7", "replay", "--type", "ORM")
    assert "not a date" in broker(site, "hl7", "replay", "--since", "soon", code=2)


def test_mappings_by_rest(site: Site) -> None:
    with site, httpx.Client(base_url=site.web, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30) as http:
        assert httpx.get(f"{site.web}/api/v1/mappings", timeout=30).status_code == 401
        assert {one["name"] for one in http.get("/api/v1/mappings").json()} == {"ihe", "ihe-fr", "legacy-23"}
        text = profile(site).read_text(encoding="utf-8")
        assert http.post("/api/v1/mappings/check", json={"toml": text}).json() == {
            "name": "site", "examples": 1, "unchanged": False
        }  # fmt: skip
        made = http.post("/api/v1/mappings", json={"toml": text})
        assert (made.status_code, made.json()) == (201, {"name": "site", "version": 1})
        assert http.get("/api/v1/mappings/site").text == text
        bad = http.post("/api/v1/mappings", json={"toml": profile(site, expected="MR").read_text(encoding="utf-8")})
        assert bad.status_code == 422
        assert bad.json()["errors"][0]["text"] == "example '1': Modality: expected 'MR', got 'CT'"
        assert http.post("/api/v1/mappings", json={"toml": "x"}).status_code == 422
        assert http.get("/api/v1/mappings/nobody").status_code == 404
        assert http.post("/api/v1/mappings/site/rollback", json={"version": 7}).status_code == 404
        assert http.post("/api/v1/mappings/site/rollback", json={"version": 1}).json()["version"] == 1
        assert [one["source"] for one in http.get("/api/v1/mappings/site/history").json()] == ["api"]
        other = {"toml": profile(site, "MR").read_text(encoding="utf-8"), "reason": "other scanner", "author": "Ann"}
        assert http.post("/api/v1/mappings", json=other).json()["version"] == 2
        tag = http.get("/api/v1/mappings/site").headers["ETag"]
        stale = {"If-Match": '"7"'}
        assert http.post("/api/v1/mappings", json={"toml": text + "# x"}, headers=stale).status_code == 412
        assert http.post("/api/v1/mappings/site/rollback", json={"version": 1}, headers=stale).status_code == 412
        assert http.post("/api/v1/mappings", json=other, headers={"If-Match": tag}).status_code == 201
        assert http.post("/api/v1/mappings", json={"toml": text}, headers={"If-Match": "x"}).status_code == 412
        wrong = http.post("/api/v1/mappings/check", json={"toml": text.replace("SPIRAL =", "SPIRAL = 1.5 #")}).json()
        assert wrong["errors"][0]["path"] == "line 7/values.Modality"
        same = http.get("/api/v1/mappings/site/diff", params={"from": 1, "to": 1}).json()
        assert same == {"before": 1, "after": 1, "changes": [], "places": []}
        again = http.post("/api/v1/mappings/site/rollback", json={"version": 1, "reason": "was wrong", "author": "Bob"})
        assert again.json()["version"] == 3
        history = http.get("/api/v1/mappings/site/history").json()
        assert [(entry["author"], entry["reason"]) for entry in history] == [
            ("Bob", "was wrong"), ("Ann", "other scanner"), ("api", "")
        ]  # fmt: skip
        for field in ("reason", "author"):
            assert http.post("/api/v1/mappings", json={"toml": text, field: "x" * 501}).status_code == 422
        assert http.post("/api/v1/mappings/check", json={"toml": text, "reason": "x"}).status_code == 422
        tested = http.post("/api/v1/messages/test", json={"message": MESSAGE.format(1)}).json()
        assert (tested["code"], tested["profile"]) == ("AA", "site")
        assert http.post("/api/v1/messages/test", json={"message": "MSH", "mapping": "nobody"}).status_code == 422
        assert http.post("/api/v1/messages/replay", json={}).json() == []
        assert http.post("/api/v1/messages/replay", json={"limit": 501}).status_code == 422
        assert "/api/v1/messages/replay" in http.get("/api/docs").json()["paths"]


def test_the_folder_beside_the_site_file_and_the_profile_of_the_listener(tmp_path: Path) -> None:
    made = Site(tmp_path / "site", config={"hl7": {"port": 0, "profile": "site"}})
    (made.folder / "mapping").mkdir()
    profile(made).rename(made.folder / "mapping" / "own.toml")
    with made:
        file = made.folder / "message.hl7"
        file.write_text(MESSAGE.format(1).replace("|RIS|", "|ELSE|"), encoding="utf-8")
        assert "1: AA" in broker(made, "hl7", "send", f"127.0.0.1:{made.hl7}", file)
        assert "mapping folder" in broker(made, "mapping", "list")
    (made.folder / "mapping" / "own.toml").write_text("name = 1", encoding="utf-8")
    assert "own.toml: name" in broker(made, "serve", code=2)
    other = Site(tmp_path / "other", config={"hl7": {"port": 0, "profile": "nobody"}})
    assert "'nobody': no such profile" in broker(other, "serve", code=2)


def test_sending_says_what_goes_wrong(site: Site) -> None:
    port = free_port()
    assert "cannot be reached" in broker(site, "hl7", "send", f"127.0.0.1:{port}", message(site, 1), code=1)
    assert "host:port" in broker(site, "hl7", "send", "nowhere", message(site, 1), code=2)
    assert "no message" in broker(site, "hl7", "send", f"127.0.0.1:{port}", "-", text="nothing", code=2)
    assert "--tls-key" in broker(site, "hl7", "send", f"127.0.0.1:{port}", message(site, 1), "--tls-ca", "x", code=2)


def test_sending_over_tls(site: Site) -> None:
    """A receiver behind TLS that wants our certificate, as a RIS has it."""
    authority = Authority(site.folder / "ca")
    server = authority.issue("ris", usage=(SERVER,))
    client = authority.issue("sender")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate, server.key)
    context.load_verify_locations(authority.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            plain, _ = listener.accept()
            with context.wrap_socket(plain, server_side=True) as peer:
                got.append(peer.recv(65536))
                peer.sendall(b"\x0bMSH|^~\\&|A|B|C|D|T||ACK|1|P|2.5\rMSA|AA|1\r\x1c\r")
                peer.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        options = ["--tls-ca", authority.ca, "--tls-certificate", client.certificate, "--tls-key", client.key]
        sent = broker(site, "hl7", "send", f"127.0.0.1:{listener.getsockname()[1]}", message(site, 1), *options)
        thread.join(20)
    assert sent.startswith("1: AA accepted")
    assert got[0].startswith(b"\x0bMSH|")
    assert got[0].endswith(b"SPIRAL\r\x1c\r")


def test_a_copied_configuration_puts_no_example_in_force(tmp_path: Path) -> None:
    config = Path(__file__).parents[2] / "config"
    site = Site(tmp_path / "copy", site=(config / "site.toml").read_text(encoding="utf-8"))
    shutil.copytree(config / "mapping", site.folder / "mapping")
    try:
        site.start()
        shown = broker(site, "mapping", "list")
        assert "built-in" in shown
        assert "mapping folder" not in shown
        assert not [file.stem for file in (config / "mapping").glob("*.toml") if f"\n{file.stem} " in shown]
    finally:
        if site.alive():
            site.kill()


def test_several_profiles_are_checked_in_one_go(site: Site) -> None:
    good, bad = profile(site), site.folder / "bad.toml"
    bad.write_text(PROFILE.format("CT", MESSAGE.format(0), "MR").replace('"site"', '"bad"'), encoding="utf-8")
    told = broker(site, "mapping", "check", bad, good, code=1)
    assert f"{good}: profile site, 1 examples: all good" in told
    assert f"{bad}: " in told
