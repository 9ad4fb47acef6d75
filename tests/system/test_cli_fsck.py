"""`broker fsck` beside a running broker and without one: what it prints, and its exit code."""

from __future__ import annotations

import json
from pathlib import Path

from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
from support.peers.tools import free_port
from support.service.site import Site, destination
from support.store.spool import spool_files

RULE = '[[rule]]\nname = "all"\nwhen = { field = "tag.Modality", op = "is", value = "CT" }\nsend = ["pacs"]\n'


def test_a_spoiled_object_is_found_held_and_let_go(tmp_path: Path) -> None:
    port = free_port()  # nobody listens: all waits
    with Site(tmp_path / "site", site=destination("pacs", port) + RULE) as site:
        with RawScu(site.dicom) as modality:
            for size in (1024, 65_536):  # in the database, and in a file
                item = ct_slice(size)
                modality.associate([(item.sop_class, item.transfer_syntax)]) if size == 1024 else None
                assert modality.store(item) == 0
        clean = site.command("fsck")
        assert (clean.returncode, clean.stdout) == (0, "2 objects of 0.1 MiB read, 0 are not as received\n")
        [file] = [path for path in spool_files(site.data / "spool") if path.stat().st_size]
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
        found = site.command("fsck")
        assert found.returncode == 1
        assert "o2" in found.stdout
        assert "file-altered" in found.stdout
        assert "its bytes are not those that were received" in found.stdout
        refused = site.command("fsck", "--repair")
        assert refused.returncode == 1
        assert "say in the reason why" in refused.stderr
        told = site.command("fsck", "--repair", "--reason", "the disk fails", "--json")
        assert told.returncode == 1
        report = json.loads(told.stdout)
        assert (report["objects"], report["held"], report["released"]) == (2, 1, 0)
        assert [(one["object"], one["fault"]) for one in report["spoiled"]] == [(2, "file-altered")]
        assert "file-altered" in site.command("holds", "list").stdout
    data[-1] ^= 1
    file.write_bytes(data)  # restored, while no broker runs
    mended = site.command("fsck", "--repair", "--reason", "restored from the backup")
    assert mended.returncode == 0
    assert mended.stdout.splitlines()[-1] == "deliveries held: 0, released: 1"
