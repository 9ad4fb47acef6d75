"""What support staff ask about routing at three in the morning, each answered by one command, in words and with times.

The numbers are those of the list of questions: 9 which rule sent a study where, and why not to another node, 12 what
is held, of whom, why, 15 who changed the rules, what, when, 16 put the rules of before back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
from support.peers.tools import wait_until
from support.service.site import Mllp, Site, destination, order

CLOCK = r"\d\d:\d\d"
RULES = """
[[rule]]
name = "CT to the PACS"
when = { field = "tag.Modality", value = "CT" }
send = ["pacs"]

[[rule]]
name = "thin slices to CAD"
when = { all = [{ field = "tag.Modality", value = "CT" }, { field = "tag.SliceThickness", op = "lt", value = 2 }] }
send = ["cad"]
"""
WITHOUT_CAD = RULES[: RULES.index('[[rule]]\nname = "thin')]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A thick CT of an ordered exam, and an ultrasound image that no rule matches."""
    nodes = destination("pacs", 9) + destination("cad", 9)
    with Site(tmp_path_factory.mktemp("night"), site=nodes + RULES) as running:
        with Mllp(running.hl7) as ris:
            assert ris.exchange(order(4711))["MSA"][0][1] == "AA"
        things = [
            ct_slice(2_000, StudyInstanceUID="2.999.7.4711", SliceThickness="8"),
            ct_slice(2_000, Modality="US", StudyInstanceUID="2.999.7.4712", AccessionNumber="A4712", PatientID="QZ7"),
        ]
        with RawScu(running.dicom) as modality:
            modality.associate([(things[0].sop_class, things[0].transfer_syntax)], calling=b"CT01")
            assert [modality.store(thing) for thing in things] == [0, 0]
        yield running


def told(site: Site, *command: str | Path) -> str:
    """What one command says."""
    done = site.command(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    return " ".join(done.stdout.split())


@pytest.mark.parametrize("wanted", ["A4711", "2.999.7.4711"])
def test_9_which_rule_sent_the_study_where_and_why_not_to_cad(site: Site, wanted: str) -> None:
    text = told(site, "rules", "explain", wanted)
    assert re.search(rf"1 object from CT01, .*{CLOCK}.*: routed, by the rules of version 1", text)
    assert "true CT to the PACS true tag.Modality is: saw CT" in text
    assert "false thin slices to CAD true tag.Modality is: saw CT false tag.SliceThickness lt: saw 8.0" in text
    assert "pacs: 1 ready" in text or "pacs: 1 leased" in text
    assert "cad:" not in text


def test_12_what_is_held_of_whom_and_why(site: Site) -> None:
    text = told(site, "holds", "list")
    assert re.search(rf"o2 .*{CLOCK}.* no-rule-matched .*A4712 QZ7", text), text
    assert "objects (o): route, send, discard" in text
    (one,) = json.loads(told(site, "holds", "list", "--json"))
    assert (one["study"], one["device"], one["why"]) == ("2.999.7.4712", "CT01", "no rule says where it goes")
    assert told(site, "holds", "list", "--accession", "A4712").count("no-rule-matched") == 1
    assert "o2" not in told(site, "holds", "list", "--accession", "A4711")


def test_15_and_16_who_changed_the_rules_and_put_them_back(site: Site) -> None:
    file = site.folder / "new.toml"
    file.write_text(WITHOUT_CAD, encoding="utf-8")
    told(site, "rules", "import", file, "--reason", "CAD is on loan", "--author", "Anna")
    changed = told(site, "rules", "diff")
    assert re.search(rf"^version 2, .*{CLOCK}.*, Anna: CAD is on loan", changed)
    assert "thin slices to CAD" in changed
    assert re.search(rf"2 .*{CLOCK}.* Anna CAD is on loan", told(site, "rules", "history"))
    assert "version 3" in told(site, "rules", "rollback", "--reason", "undone at night")
    assert "thin slices to CAD" in told(site, "rules", "list")
    thin = ct_slice(2_000, SliceThickness="1")
    with RawScu(site.dicom) as modality:
        modality.associate([(thin.sop_class, thin.transfer_syntax)], calling=b"CT01")
        assert modality.store(thin) == 0
    query = (
        "select lane from job join instance on instance.id = subject where kind = 'deliver' and sop_instance_uid = ?"
    )
    wait_until(lambda: len(site.rows(query, thin.sop_instance)) == 2, 20, "the new object goes by them")
