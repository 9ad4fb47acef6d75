"""Rules of study level in the running broker: over a crash and two processes, by the end of an association."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from support.dicom.objects import Encoded, ct_slice
from support.dicom.raw import RawScu
from support.peers.peers import received, storescp
from support.peers.tools import run, wait_until
from support.service.site import Site, destination

STUDY, OTHER = "2.999.7.77", "2.999.7.78"
WHOLE = """
[[rule]]
name = "whole study"
level = "study"
when = { field = "study.instances", op = "ge", value = 6 }
send = ["archive"]

[completion.study]
quiet = 1

[[completion.required]]
series = ["last*"]
"""
ENDS = """
[[rule]]
name = "all"
level = "study"
when = { field = "study.complete", value = "association" }
send = ["archive"]

[completion.study]
quiet = 3600
association_end = true
"""


def image(description: str = "first", study: str = STUDY) -> Encoded:
    return ct_slice(2048, StudyInstanceUID=study, SeriesDescription=description)


def store(site: Site, process: psutil.Process, *items: Encoded) -> None:
    """Store objects on an association that a certain process serves."""
    with ExitStack() as stack:
        for _ in range(60):
            peer = stack.enter_context(RawScu(site.dicom))
            assert peer.associate([(items[0].sop_class, items[0].transfer_syntax)])[0] == 2
            port = peer.socket.getsockname()[1]
            if any(c.raddr and c.raddr.port == port for c in process.net_connections("tcp")):
                assert [peer.store(item) for item in items] == [0] * len(items)
                return
    pytest.fail("60 connections in a row went to the other process")


def processes(site: Site) -> list[psutil.Process]:
    assert site.process is not None
    first = psutil.Process(site.process.pid)
    return [first, *first.children(recursive=True)]


def query(database_url: str, text: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database_url.replace("+psycopg", "")) as connection:
        return connection.execute(text).fetchall()


@pytest.mark.skipif(sys.platform != "linux", reason="more than one worker is for Linux")
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_study_is_judged_once_over_a_crash_and_two_processes(tmp_path: Path, database_url: str) -> None:
    archive, sent = tmp_path / "archive", [image() for _ in range(5)]
    with storescp(archive) as port:
        site = Site(
            tmp_path / "site",
            site=destination("archive", port) + WHOLE,
            config={"service": {"workers": 2}},
            database_url=database_url,
        )
        with site:
            first, second = processes(site)
            store(site, first, *sent[:2])
            store(site, second, sent[2])
            site.kill()
            psutil.wait_procs([second], 20)
            assert query(database_url, "SELECT state, count(*) FROM instance GROUP BY state") == [("waiting", 3)]
            site.start()
            first, second = processes(site)
            store(site, second, sent[3])
            store(site, first, sent[4])
            assert received(archive) == {}
            sent.append(image("last of all"))
            store(site, second, sent[5])
            wait_until(lambda: len(received(archive)) == 6, 30, "the whole study is delivered")
            late = image()
            store(site, first, late)
            wait_until(lambda: len(received(archive)) == 7, 30, "the late image is delivered")
            wait_until(lambda: query(database_url, "SELECT state FROM gathering") == [("done",)], 30, "it is done")
            assert query(database_url, "SELECT count(*), sum(attempts) FROM job WHERE kind = 'deliver'") == [(7, 7)]
            assert received(archive) == {item.sop_instance: item.data for item in [*sent, late]}
            told = json.loads(site.command("rules", "explain", STUDY, "--json").stdout)
            (level,) = told["levels"]
            assert (level["complete"], level["rules"], level["sent_to"]) == ("quiet", ["whole study"], ["archive"])


def test_the_end_of_an_association_completes_a_study(tmp_path: Path) -> None:
    archive, files = tmp_path / "archive", []
    for number in range(3):
        files.append(tmp_path / f"{number}.dcm")
        files[-1].write_bytes(image().part10())
    with storescp(archive) as port, Site(tmp_path / "site", site=destination("archive", port) + ENDS) as site:
        broken = image(study=OTHER)
        with RawScu(site.dicom) as modality:  # which goes away without a release
            assert modality.associate([(broken.sop_class, broken.transfer_syntax)])[0] == 2
            assert modality.store(broken) == 0
        tried = site.command("rules", "test", *files).stdout
        assert tried.count("wait waits-for-study") == 3
        assert "once its study is complete: hold no-rule-matched" in tried
        tried = site.command("rules", "test", *files, "--fact", "study.complete=association").stdout
        assert tried.count("once its study is complete: send archive") == 3
        assert "study: all" in tried
        run("storescu", "-aec", "BROKER", "127.0.0.1", str(site.dicom), *map(str, files))
        wait_until(lambda: len(received(archive)) == 3, 30, "the study is delivered")
        assert site.rows("SELECT state, reason FROM instance WHERE study_instance_uid = ?", OTHER) == [
            ("waiting", "waits-for-study")
        ]
        assert "study: 1 object" in site.command("rules", "explain", OTHER).stdout
        listed = site.command("holds", "list", "--cause", "waits-for-study").stdout
        assert OTHER in listed
        told = "1 series or study waits until it is complete"
        wait_until(lambda: told in site.command("status").stdout, 30, "the status tells of it")
        (one,) = json.loads(site.command("holds", "list", "--cause", "waits-for-study", "--json").stdout)
        refused = site.command("holds", "release", "--all", "--cause", "waits-for-study")
        assert (refused.returncode, "no job matches" in refused.stderr) == (1, True)
        told = site.command("holds", "route", f"o{one['id']}", "--reason", "nothing more comes").stdout
        assert told == "objects: 1 goes with its study\n"
        wait_until(
            lambda: (
                site.rows("SELECT state, reason FROM instance WHERE study_instance_uid = ?", OTHER)
                == [("held", "no-rule-matched")]
            ),
            30,
            "it is judged",
        )
