"""A running broker sends by its rules to a folder and to a DICOMweb service, also over a crash."""

from __future__ import annotations

from pathlib import Path

from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
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

[[rule]]
name = "all"
when = {{ field = "tag.SOPClassUID", op = "exists" }}
send = ["share", "archive"]
"""


def test_objects_reach_a_folder_and_a_service(tmp_path: Path) -> None:
    items = [ct_slice(size) for size in (64, 100_000, 2 << 20)]
    busy = StowPost.say
    with stow_service(lambda post: busy(post, 503), None) as service:
        text = SITE.format(url=service.url).replace("../share", str(tmp_path / "share"))
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
            everything = [("deliver:archive", "done")] * 3 + [("deliver:share", "done")] * 3
            wait_until(lambda: lanes() == everything, 60, "all are delivered")
            for item in items:
                (path,) = (tmp_path / "share").rglob(f"{item.sop_instance}.dcm")
                assert path.read_bytes().endswith(item.data)
                assert service.stored[item.sop_instance].endswith(item.data)
            for name in ("share", "archive"):
                said = site.command("nodes", "test", name)
                assert said.returncode == 0, said.stdout + said.stderr
