"""rsyslog as audit repository: it takes our messages over TCP and TLS, each whole and in order (RFC 5424, 5425)."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest
from support.audit.schema import checked
from support.audit.trail import ARR, Trail
from support.certificates import Authority, Files
from support.loops import run as run_in_loop
from support.loops import until
from support.peers.tools import background, free_port, missing, run

from broker.site.node_tls import NodeTls
from broker.site.remotes import Repositories
from broker.store.db.database import Database

CONFIGURATION = """
global(workDirectory="{folder}" maxMessageSize="64k" parser.escapeControlCharactersOnReceive="off"{own})
module(load="imtcp"{tls})
input(type="imtcp" port="{port}" address="127.0.0.1")
template(name="line" type="string" string="%pri%|%app-name%|%msgid%|%protocol-version%|%msg%\\n")
action(type="omfile" file="{folder}/received" template="line")
"""
OWN = """
  defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="{ca}" defaultNetstreamDriverCertFile="{certificate}"
  defaultNetstreamDriverKeyFile="{key}"
"""
TLS = """ streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="x509/name" permittedPeer="broker" """


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def configured(folder: Path, port: int, hospital: Authority | None, server: Files | None) -> Path:
    own = tls = ""
    if hospital is not None and server is not None:
        own, tls = OWN.format(ca=hospital.ca, certificate=server.certificate, key=server.key), TLS
    file = folder / "rsyslog.conf"
    file.write_text(CONFIGURATION.format(folder=folder, port=port, own=own, tls=tls), encoding="utf-8")
    return file


@pytest.mark.parametrize("secure", [False, True], ids=("tcp", "tls"))
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_rsyslog_takes_our_messages(database: Database, tmp_path: Path, secure: bool) -> None:
    hospital, port = Authority(tmp_path / "ca"), free_port()
    server, ours = hospital.issue("arr"), hospital.issue("broker", dns=("broker",))
    file = configured(tmp_path, port, hospital if secure else None, server)
    checking = run("rsyslogd", "-N1", "-f", file)
    if secure and checking.returncode:
        missing("rsyslog-gnutls")
    assert checking.returncode == 0, checking.stdout
    tls = NodeTls(certificate=str(ours.certificate), key=str(ours.key), ca=str(hospital.ca)) if secure else None
    received = tmp_path / "received"

    def lines() -> list[str]:
        return received.read_text(encoding="utf-8").splitlines() if received.exists() else []

    async def scenario() -> None:
        trail = Trail(database, replace(ARR, port=port, tls=tls), Repositories(None, tmp_path))
        trail.add(*range(1, 151))
        trail.feeder.feed(["arr"])
        async with trail.running():
            await until(lambda: len(lines()) == 150, "all rows are there", 30)

    with background("rsyslogd", "-n", "-f", file, "-i", tmp_path / "pid", ready=lambda: accepts(port), cwd=tmp_path):
        run_in_loop(scenario(), 60)
    numbers = []
    for line in lines():
        priority, application, message_id, version, message = line.split("|", 4)
        assert (priority, application, message_id, version) == ("85", "worklist-broker", "DICOM+RFC3881", "1")
        found = checked(message.lstrip(" \ufeff").encode()).find("ParticipantObjectIdentification")
        assert found is not None
        numbers.append(int(str(found.get("ParticipantObjectID")).partition("/")[2]))
    assert numbers == list(range(1, 151))
