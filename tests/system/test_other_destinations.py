"""A running broker sends by its rules to a folder, a DICOMweb service and a bucket, also over a crash.

It sends elsewhere while a destination is away, and not at all while its window is closed.
"""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
from support.peers.s3_service import s3_service
from support.peers.stow_service import StowPost, stow_service
from support.peers.tools import wait_until
from support.service.site import Site

SITE = """
[[node]]
name = "share"
kind = "folder"
path = "../share"
roles = ["destination"]

[[node]]
name = "archive"
kind = "stow"
url = "{url}"
roles = ["destination"]

[[node]]
name = "vault"
kind = "s3"
url = "{bucket}"
roles = ["destination"]
[node.s3]
bucket = "images"
access_key = "AKIATEST"
secret_key_file = "{secret}"

[[rule]]
name = "all"
when = {{ field = "tag.SOPClassUID", op = "exists" }}
send = ["share", "archive", "vault"]
"""
ELSEWHERE = """
[[node]]
name = "pacs"
kind = "dicom"
ae_title = "PACS"
host = "127.0.0.1"
port = {dead}
roles = ["destination"]
failover = "share"
failover_after = 0

[[node]]
name = "share"
kind = "folder"
path = "{share}"
roles = ["destination"]

[[node]]
name = "night"
kind = "folder"
path = "{share}"
roles = ["destination"]
send_windows = "{day}"

[default]
action = "send"
send = ["pacs", "night"]
"""


def test_objects_reach_a_folder_and_a_service(tmp_path: Path) -> None:
    items = [ct_slice(size) for size in (64, 100_000, 2 << 20)]
    busy = StowPost.say
    with stow_service(lambda post: busy(post, 503), None) as service, s3_service(("PUT", None)) as store:
        secret = store.table(tmp_path)["secret_key_file"]
        text = SITE.format(url=service.url, bucket=store.url, secret=secret)
        text = text.replace("../share", str(tmp_path / "share"))
        with Site(tmp_path / "site", site=text) as site:
            with RawScu(site.dicom) as peer:
                assert peer.associate([(items[0].sop_class, items[0].transfer_syntax)])[0] == 2
                assert [peer.store(item) for item in items] == [0, 0, 0]

            def lanes() -> list[tuple[str, str]]:
                rows = site.rows("SELECT lane, state FROM job ORDER BY lane, id")
                return [(lane, state) for lane, state in rows]

            wait_until(lambda: ("deliver:share", "folder-gone") in [*site.rows("SELECT name, last_error FROM lane")],
                       20, "the folder is not there")  # fmt: skip
            said = site.command("nodes", "test", "share")
            assert said.returncode == 1
            assert "folder-gone" in said.stdout
            site.kill()
            (tmp_path / "share").mkdir()
            site.start()
            everything = [(f"deliver:{name}", "done") for name in ("archive", "share", "vault") for _ in items]
            wait_until(lambda: lanes() == everything, 60, "all are delivered")
            for item in items:
                (path,) = (tmp_path / "share").rglob(f"{item.sop_instance}.dcm")
                assert path.read_bytes().endswith(item.data)
                assert service.stored[item.sop_instance].endswith(item.data)
                (kept,) = (file for key, file in store.files().items() if item.sop_instance in key)
                assert kept == path.read_bytes()
            for name in ("share", "archive", "vault"):
                said = site.command("nodes", "test", name)
                assert said.returncode == 0, said.stdout + said.stderr


def test_images_go_elsewhere_while_a_node_is_away_and_wait_for_a_window(tmp_path: Path) -> None:
    items = [ct_slice(size) for size in (64, 100_000)]
    share = tmp_path / "share"
    share.mkdir()
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        day = f"{datetime.now(UTC) + timedelta(days=3):%a}"
        text = ELSEWHERE.format(dead=dead.getsockname()[1], share=share, day=day)
        with Site(tmp_path / "site", site=text) as site:
            with RawScu(site.dicom) as peer:
                assert peer.associate([(items[0].sop_class, items[0].transfer_syntax)])[0] == 2
                assert [peer.store(item) for item in items] == [0, 0]
            done = [("deliver:share", "done")] * 2
            moved = "SELECT lane, state FROM job WHERE lane = 'deliver:share'"
            wait_until(lambda: [*site.rows(moved)] == done, 60, "it is sent")
            for item in items:
                (path,) = share.rglob(f"{item.sop_instance}.dcm")
                assert path.read_bytes().endswith(item.data)
            ended = [*site.rows("SELECT state FROM job WHERE lane = 'deliver:pacs'")]
            assert ended == [("discarded",)] * 2
            waits = [*site.rows("SELECT state, attempts FROM job WHERE lane = 'deliver:night'")]
            assert waits == [("ready", 0)] * 2
            said = site.command("queue", "summary").stdout
            assert "deliver:night: closed until" in said
            assert "night is closed until" in site.command("status").stdout
