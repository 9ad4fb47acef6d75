"""A database is put back from a backup, and the images that came after it are adopted from the old spool."""

from __future__ import annotations

import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.dicom.objects import Encoded, ct_slice
from support.dicom.raw import RawScu
from support.loops import SOON
from support.peers.peers import free_port, received, storescp
from support.peers.tools import ENVIRONMENT, wait_until
from support.service.program import start
from support.service.site import Site, destination
from support.store import postgresql as pg
from support.store.spool import spool_files

LARGE = 100_000  # bytes: such objects have files
WHY = ("--reason", "restored the backup of last night")
RULES = """
[[rule]]
name = "by the sender"
when = { field = "assoc.calling_ae", op = "is", value = "CT01" }
send = ["pacs"]
[default]
action = "discard"
"""


def sent(site: Site, count: int, caller: bytes = b"CT01") -> list[Encoded]:
    """Images that a modality sends, each acknowledged."""
    items = [ct_slice(LARGE) for _ in range(count)]
    with RawScu(site.dicom) as modality:
        modality.associate([(items[0].sop_class, items[0].transfer_syntax)], calling=caller.ljust(16))
        for item in items:
            assert modality.store(item) == 0
        modality.release()
    return items


def done(site: Site, *words: str | Path, code: int = 0) -> dict[str, Any]:
    """What a command tells as JSON."""
    ran = site.command(*words, "--json", environment={"PATH": f"{pg.PROGRAMS}:{os.environ['PATH']}"})
    assert ran.returncode == code, ran.stdout + ran.stderr
    document: dict[str, Any] = json.loads(ran.stdout)
    return document


@pytest.mark.parametrize("running", [True, False], ids=["beside", "alone"])
def test_what_came_after_the_backup_is_delivered_once(
    tmp_path: Path, database_url: str, running: bool, request: pytest.FixtureRequest
) -> None:
    port, elsewhere = free_port(), ""
    url = database_url if database_url.startswith("postgresql") else ""
    server = request.getfixturevalue("postgresql") if url else ""
    with Site(tmp_path / "site", site=destination("pacs", port) + RULES, database_url=url) as site:
        before = sent(site, 2)
        done(site, "backup", tmp_path / "backups")
        after, other = sent(site, 5), sent(site, 1, b"MR01")
    if url:
        elsewhere = pg.create(server, "adopted")
        config = site.folder / "broker.toml"
        config.write_text(config.read_text().replace(url, elsewhere))
    try:
        aside = Path(done(site, "restore", tmp_path / "backups", "--replace")["aside"]) / "spool"
        assert len(spool_files(aside)) == 8
        if not running:
            looked = done(site, "fsck")["unknown"]
            assert [(one["folder"], one["files"]) for one in looked] == [(f"{aside.parent.name}/spool", 6)]
            assert done(site, "fsck", "--adopt", "--from", aside, *WHY)["new"] == 6
        with site, storescp(tmp_path / "pacs", port=port):
            if running:
                found = done(site, "fsck", "--adopt", "--from", aside, *WHY)
                assert (found["new"], found["known"], found["left"]) == (6, 2, [])
            site.command("queue", "resume", "pacs", "--reason", "looked at")
            wanted = {item.sop_instance: item.data for item in before + after}
            wait_until(lambda: received(tmp_path / "pacs") == wanted, 60, "all is delivered")
            assert len(spool_files(aside)) == 2
            assert done(site, "fsck", "--adopt", "--from", aside, *WHY)["new"] == 0
            assert done(site, "fsck")["unknown"] == []
            trail = site.asked("/api/v1/audit?action=objects.").json()["rows"]
            [row] = [one for one in trail if one["action"] == "objects.adopted"]
            assert row["detail"]["new"] == 6
            assert row["detail"]["reason"] == WHY[1]
            assert len(list((tmp_path / "pacs").iterdir())) == len(wanted)
            assert other[0].sop_instance not in received(tmp_path / "pacs")
    finally:
        if url:
            pg.drop(server, "adopted")


@pytest.mark.parametrize("point", ["spool.sync", "spool.synced", "store.commit", "store.committed"])
def test_killed_at_any_point_it_goes_on_where_it_was(tmp_path: Path, point: str) -> None:
    port = free_port()
    with Site(tmp_path / "site", site=destination("pacs", port) + RULES) as site:
        done(site, "backup", tmp_path / "backups")
        items = sent(site, 4)
    aside = Path(done(site, "restore", tmp_path / "backups", "--replace")["aside"]) / "spool"
    command = ("fsck", "--adopt", "--from", aside, *WHY, "--config", site.folder / "broker.toml")
    with site.log.open("ab") as log:
        for passage in (1, 2, 3):
            site.faults.write_text(f"{point} kill:{passage}\n")
            environment = ENVIRONMENT | site.environment
            killed = start(*command, folder=site.folder, environment=environment, stdout=log, stderr=log)
            assert killed.wait(60) == -signal.SIGKILL
    site.faults.write_text("")
    assert done(site, "fsck", "--adopt", "--from", aside, *WHY)["left"] == []
    assert spool_files(aside) == []
    done(site, "fsck", "--adopt", *WHY)  # names in the spool that a killed one has made
    assert len(spool_files(site.data / "spool")) == 4
    with site, storescp(tmp_path / "pacs", port=port):
        site.command("queue", "resume", "pacs", "--reason", "looked at")
        wanted = {item.sop_instance: item.data for item in items}
        wait_until(lambda: received(tmp_path / "pacs") == wanted, 60, "all is delivered")
        assert done(site, "fsck")["spoiled"] == []
        assert site.rows("select count(*), count(distinct sop_instance_uid) from instance") == [(4, 4)]
        assert site.rows("select count(*) from job") == [(4,)]
        assert len(list((tmp_path / "pacs").iterdir())) == 4


def test_what_cannot_be_adopted_is_told(tmp_path: Path) -> None:
    with Site(tmp_path / "site", site=destination("pacs", free_port()) + RULES) as site:
        [item] = sent(site, 1)
        folder = tmp_path / "stick"
        folder.mkdir()
        (folder / "note.txt").write_text("no image")
        (folder / "\x1b[31mred").write_text("no image")
        (folder / "good.dcm").write_bytes(spool_files(site.data / "spool")[0].read_bytes())
        ran = site.command("fsck", "--adopt", "--from", folder, *WHY)
        assert ran.returncode == 1
        assert "note.txt" in ran.stdout
        assert "no DICOM file" in ran.stdout
        assert "\x1b" not in ran.stdout
        assert "1 file of objects that were known with the same bytes" in ran.stdout
        assert (folder / "good.dcm").exists()
        for words in (("--adopt",), ("--adopt", "--reason", " "), ("--from", folder), ("--adopt", "--repair", *WHY)):
            refused = site.command("fsck", *words)
            assert refused.returncode == 1
            assert refused.stderr
        missing = site.command("fsck", "--adopt", "--from", tmp_path / "none", *WHY)
        assert missing.returncode == 1
        assert "No such file" in missing.stderr
        assert item.sop_instance not in site.logged()


def test_files_that_a_killed_broker_left_are_adopted_from_unclaimed(tmp_path: Path) -> None:
    port = free_port()
    site = Site(tmp_path / "site", site=destination("pacs", port) + RULES)
    item = ct_slice(LARGE)
    with site:
        site.faults.write_text("spool.synced kill\n")
        with RawScu(site.dicom) as modality:
            modality.associate([(item.sop_class, item.transfer_syntax)], calling=b"CT01".ljust(16))
            assert modality.store(item) is None  # never acknowledged
        wait_until(lambda: not site.alive(), SOON, "it is dead")
    site.faults.write_text("")
    with site, storescp(tmp_path / "pacs", port=port):
        unclaimed = site.data / "spool" / "unclaimed"
        wait_until(lambda: unclaimed.is_dir() and list(unclaimed.iterdir()), 60, "it is set aside")
        assert done(site, "fsck")["unknown"][0]["folder"] == "spool/unclaimed"
        assert done(site, "fsck", "--adopt", *WHY)["new"] == 1
        with RawScu(site.dicom) as modality:  # its sender comes again
            modality.associate([(item.sop_class, item.transfer_syntax)], calling=b"CT01".ljust(16))
            assert modality.store(item) == 0
        wait_until(lambda: received(tmp_path / "pacs") == {item.sop_instance: item.data}, 60, "it is delivered")
        assert site.rows("select count(*) from instance") == [(1,)]
        assert site.rows("select count(*) from job") == [(1,)]


def test_from_afar_only_folders_of_the_broker_can_be_named(tmp_path: Path) -> None:
    config = {"web": {"admin_token": "t" * 40}}
    with Site(tmp_path / "site", site=destination("pacs", free_port()) + RULES, config=config) as site:
        sent(site, 1)
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "a.dcm").write_bytes(spool_files(site.data / "spool")[0].read_bytes())

        def asked(token: str = "t" * 40, **body: Any) -> httpx.Response:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            return httpx.post(f"{site.web}/api/v1/fsck/files", json=body, headers=headers, timeout=SOON)

        assert asked(token="").status_code == 401
        assert asked(token="x" * 40).status_code == 401
        for folder in (str(outside), "../../outside", "/", "/proc/self/root", "spool/../..", "before-restore-x/../.."):
            for more in ({}, {"adopt": True, "reason": "from afar"}):
                answer = asked(folder=folder, **more)
                assert answer.status_code == 422
                assert "a.dcm" not in answer.text
        assert asked(adopt=True).status_code == 422  # without a reason
        for after in ("../../x", "%00", "%FF/%2e%2e", "/" * 30_000):
            assert asked(after=after).status_code == 200
        good = asked(adopt=True, reason="from afar")
        assert (good.status_code, good.json()["known"], good.json()["next"]) == (200, 1, None)


def test_images_that_come_while_files_are_adopted_are_not_doubled(tmp_path: Path) -> None:
    port = free_port()
    with (
        Site(tmp_path / "site", site=destination("pacs", port) + RULES) as site,
        storescp(tmp_path / "pacs", port=port),
    ):
        items: list[Encoded] = []
        coming = threading.Thread(target=lambda: items.extend(sent(site, 60)))
        coming.start()
        asked = 0
        while coming.is_alive() or not asked:
            found = site.asked("/api/v1/fsck/files", {"adopt": True, "reason": "beside a modality"}).json()
            assert (found["new"], found["version"], found["duplicate"], found["left"]) == (0, 0, 0, [])
            asked += 1
        coming.join()
        wanted = {item.sop_instance: item.data for item in items}
        assert len(wanted) == 60
        wait_until(lambda: received(tmp_path / "pacs") == wanted, 60, "all is delivered")
        assert site.rows("select count(*), count(distinct sop_instance_uid) from instance") == [(60, 60)]
        assert len(list((tmp_path / "pacs").iterdir())) == 60
        assert done(site, "fsck")["spoiled"] == []
