"""What support staff ask at three in the morning, of a real broker: in two clicks at most, and by one command.

The numbers are those of the list of questions: 1 why is an exam not on a device, 3 what is on its list, 6 is the RIS
sending, 7 did it hear that an exam is done, 12 what is held, of whom, why, 17 who changed the mapping (undo it), 18 an
unknown device wants in, 19 why is a modality refused, 20 is a modality alive, 25 is all well. Those about routing stand
in `test_routing_questions_browser.py`, and in `tests/system/test_routing_questions.py` by one command.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, expect
from support.dicom.objects import ct_slice
from support.dicom.raw import RawScu
from support.hl7.receiver import Ris, ris_node
from support.mpps.performed import creation, final, item, modality
from support.orders.documents import order
from support.peers.peers import storescp
from support.peers.tools import free_port, run, wait_until
from support.service.faketime import FakeTime
from support.service.site import Mllp, Site, destination
from support.service.site import order as hl7_order
from support.store.journal import busy, receive
from support.web.at_night import AtNight, told
from support.web.browser import Browser

from broker.store.db.database import Database

TOKEN = "a-token-of-the-tests-0123456789"
CONFIG = {"web": {"port": 0, "admin_token": TOKEN}, "dicom": {"port": 0, "accept": "known"}}
MODALITY = '[[node]]\nname = "ct1"\nkind = "dicom"\nae_title = "CT01"\nroles = ["modality"]\n'
RULE = '[[rule]]\nname = "CT"\nwhen = { field = "tag.Modality", op = "is", value = "CT" }\nsend = ["pacs"]\n'
STEP = "ScheduledProcedureStepSequence[0]."
CLOCK = r"\d\d:\d\d"
SINCE = rf".{{0,12}}{CLOCK}"  # with the day before it, if that is another one


@pytest.fixture
def night(browser: Browser, site: Site) -> Iterator[AtNight]:
    person = AtNight(browser, site)
    yield person
    person.page.close()


@pytest.fixture(scope="module")
def pacs() -> int:
    return free_port()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, pacs: int) -> Iterator[Site]:
    document = MODALITY + destination("pacs", pacs) + RULE
    with Site(tmp_path_factory.mktemp("night") / "site", site=document, config=CONFIG) as running:
        yield running


def query(site: Site, calling: str, called: str = "BROKER", keys: tuple[str, ...] = ("AccessionNumber",)) -> bool:
    """A device asks for its worklist; whether it is served."""
    given = [part for key in keys for part in ("-k", key)]
    return run("findscu", "-W", "-aet", calling, "-aec", called, "127.0.0.1", str(site.dicom), *given).returncode == 0


@pytest.fixture
def exams(site: Site) -> None:
    """An exam for CT01, and one for another device."""
    with httpx.Client(base_url=site.web, headers={"Authorization": f"Bearer {TOKEN}"}) as http:
        orders = [order(1), order(2, step={"ScheduledStationAETitle": ["MR01"]})]
        assert http.post("/api/v1/orders/batch", json={"orders": orders}).status_code == 200


@pytest.mark.usefixtures("exams")
def test_3_what_is_on_the_list_of_ct1_now(site: Site, night: AtNight) -> None:
    assert query(site, "CT01", keys=("AccessionNumber", f"{STEP}ScheduledStationAETitle=CT01"))
    command = told(site, "worklist", "show", "ct1")
    night.page.reload()
    night.click("section[aria-labelledby=nodes-title] a:has-text('ct1')")
    night.click("#sees")
    expect(night.page.locator("#now-title")).to_have_text("1 exam now")
    expect(night.page.locator("#sight tbody tr").first).to_contain_text("A1")
    assert re.search(rf"the answer to a query that it asked at .*{CLOCK}.* A1.* 1 answers, status 0000", command)


@pytest.mark.usefixtures("exams")
def test_1_why_is_this_exam_not_on_ct1(site: Site, night: AtNight) -> None:
    assert query(site, "CT01", keys=("AccessionNumber", f"{STEP}ScheduledStationAETitle=CT01"))
    why = "the step has station MR01, and the device asks for CT01"
    assert why in told(site, "worklist", "explain", "--device", "ct1", "--accession", "A2", code=3)
    night.page.reload()
    night.click("nav.pages >> text=Worklist")
    night.click("text=What ct1 sees")
    night.page.fill("#missing", "A2")
    night.page.keyboard.press("Enter")
    expect(night.page.locator("#why")).to_contain_text(why)
    expect(night.page.locator("#why tr", has_text="station").first).to_contain_text("fails")


def test_17_who_changed_the_mapping_undo_it(site: Site, night: AtNight) -> None:
    """By two clicks and by one command: who, when, why, and the version of before is in force again."""
    file = site.folder / "own.toml"
    for code, why in (("CT", "the new RIS"), ("MR", "a slip"), ("XA", "another slip")):
        file.write_text(f'name = "own"\nextends = "ihe"\n[values.Modality]\nSPIRAL = "{code}"\n', encoding="utf-8")
        told(site, "mapping", "import", str(file), "--reason", why, "--author", "Anna")
    undone = told(site, "mapping", "rollback", "own", "--reason", "undone at night")
    assert re.search(rf"own: undone: version 3 of [\d-]+ {CLOCK}.* for Anna: another slip", undone)
    assert undone.endswith("own: version 4 in force")
    assert 'SPIRAL = "MR"' in told(site, "mapping", "export", "own")
    difference = told(site, "mapping", "diff", "own")
    assert '- SPIRAL = "XA"' in difference
    assert '+ SPIRAL = "MR"' in difference
    told(site, "mapping", "rollback", "own", "3", "--reason", "for the test", "--author", "Ben")
    night.page.reload()
    night.click("nav.pages >> text=Mappings")
    row = night.page.locator("#mappings tbody tr", has_text="own")
    expect(row).to_contain_text("Ben")
    expect(row).to_contain_text("for the test")
    expect(row).to_contain_text(re.compile(CLOCK))
    night.click("#undo-own-open")
    night.page.get_by_role("button", name="Undo", exact=True).press("Enter")
    expect(night.page.locator("#note")).to_have_text("own: version 4 is in force again, as 6.")
    assert 'SPIRAL = "MR"' in told(site, "mapping", "export", "own")


def test_18_an_unknown_device_wants_in(site: Site, night: AtNight) -> None:
    assert not query(site, "US07")
    command = told(site, "nodes", "knocking")
    night.page.reload()
    night.click(".needs li:has-text('knocks') a")
    row = night.page.locator("#knocks tbody tr", has_text="US07")
    expect(row).to_contain_text("It is no node.")
    expect(row).to_contain_text("worklist")
    expect(row).to_contain_text(re.compile(CLOCK))
    night.click("#knocks tr:has-text('US07') a[id$=-admit-open]")
    expect(night.page.get_by_role("button", name="Admit", exact=True)).to_be_visible()
    assert "US07" in command
    assert "worklist" in command


def test_19_why_is_this_modality_refused(site: Site, night: AtNight) -> None:
    """It calls a wrong AE title, comes from another address, was blocked: each is told in words, with a time."""
    causes = (
        ((), "BROKRE", "with a wrong AE title for this broker"),
        (("edit", "ct1", "--set", "host=127.0.0.9"), "BROKER", "from 127.0.0.1, which is not its address here"),
        (("edit", "ct1", "--unset", "host"), "BROKRE", "with a wrong AE title for this broker"),
        (("block", "ct1"), "BROKER", "from 127.0.0.1 while it is blocked"),
    )
    for change, called, why in causes:
        if change:
            told(site, "nodes", *change)
        assert not query(site, "CT01", called)
        night.page.goto(site.web)
        night.clicks = 0
        night.click("section[aria-labelledby=nodes-title] a:has-text('ct1')")
        refused = night.page.locator("#node tr", has_text="refused")
        expect(refused).to_contain_text(why)
        expect(refused).to_contain_text(re.compile(CLOCK))
        assert why in told(site, "nodes", "show", "ct1")
    told(site, "nodes", "enable", "ct1")
    night.page.goto(site.web)
    night.clicks = 0
    night.click("nav.pages >> text=Nodes")
    night.click("text=Knocking")  # which title it called is told here
    assert query(site, "CT01")


def contacts(site: Site, name: str) -> dict[str, float]:
    """When a node was last in contact, by kind, as the status says it, whether or not all is well."""
    nodes = json.loads(site.command("status", "--json").stdout)["nodes"]
    found: dict[str, float] = next(node["contacts"] for node in nodes if node["name"] == name)
    return found


def test_12_what_is_held_of_whom_and_why(site: Site, night: AtNight) -> None:
    item = ct_slice(1024, Modality="US", AccessionNumber="A77", PatientID="QZPAT77")
    with RawScu(site.dicom) as modality:
        modality.associate([(item.sop_class, item.transfer_syntax)], calling=b"CT01")
        assert modality.store(item) == 0
    command = told(site, "holds", "list", "--accession", "A77")
    night.page.reload()
    night.click("nav.pages >> text=Holds")
    row = night.page.locator("#held tbody tr", has_text="A77")
    for what in ("no rule says where it goes", "CT01", "QZPAT77", re.compile(CLOCK)):
        expect(row).to_contain_text(what)
    assert re.search(rf"o\d+ .*{CLOCK}.* no-rule-matched .*A77 QZPAT77", command)
    told(site, "holds", "discard", "--all", "--accession", "A77", "--reason", "a test image")


def test_20_is_this_modality_alive(site: Site, night: AtNight, tmp_path: Path, pacs: int) -> None:
    item = ct_slice(1024)
    with storescp(tmp_path / "archive", port=pacs):
        assert query(site, "CT01")
        with RawScu(site.dicom) as modality:
            modality.associate([(item.sop_class, item.transfer_syntax)], calling=b"CT01")
            assert modality.store(item) == 0
        shown = told(site, "nodes", "show", "ct1")
        # what the door noted is in the next status, which is drawn at most once in so many seconds
        wait_until(lambda: {"query", "image"} <= contacts(site, "ct1").keys(), 30, "the status tells of both")
    device = contacts(site, "ct1")
    for kind in ("query", "image"):
        assert re.search(rf"{kind} .*?{CLOCK}", shown)
        assert device[kind] > 0
    night.page.reload()
    row = night.page.locator("section[aria-labelledby=nodes-title] tr", has_text="ct1")
    for label in ("Last query", "Last image"):
        assert re.search(CLOCK, row.locator(f"td[data-label='{label}']").inner_text())
    assert "in contact" in night.row("nodes", "ct1")


def test_25_is_everything_all_right(site: Site, night: AtNight, tmp_path: Path, pacs: int) -> None:
    """It is not while the PACS is away, and is when it is back; page and command say the same."""
    item = ct_slice(1024)
    with RawScu(site.dicom) as modality:
        modality.associate([(item.sop_class, item.transfer_syntax)], calling=b"CT01")
        assert modality.store(item) == 0
    wait_until(lambda: site.command("status").returncode == 1, 60, "the PACS is found away")
    night.page.reload()
    assert night.page.locator("#verdict-word").inner_text() == "Needs attention"
    assert re.search(rf"pacs is down since {CLOCK}", night.read())
    assert re.search(rf"^Needs attention pacs is down since {CLOCK}", told(site, "status", code=1))
    with storescp(tmp_path / "archive", port=pacs):
        wait_until(lambda: site.command("status").returncode == 0, 60, "the PACS is found again")
        assert told(site, "status").startswith("All well")
        expect(night.page.locator("#verdict-word")).to_have_text("All well", timeout=30_000)
    assert night.clicks == 0


def test_6_is_the_ris_sending_and_since_when_not(tmp_path: Path, browser: Browser) -> None:
    """It is silent when as much is missing as it usually sends; who has just sent is not."""
    site = Site(tmp_path / "site", config=CONFIG)
    site.data.mkdir(mode=0o700)
    journal = Database(f"sqlite:///{site.data / 'broker.db'}")
    receive(journal, busy("RIS|HOSPITAL", 8, time.time()))
    journal.close()
    clock = FakeTime(site)
    with site:
        wait_until(lambda: "RIS|HOSPITAL: sending" in site.command("status").stdout, 60, "what was sent is counted")
        night = AtNight(browser, site)
        assert "sending" in night.row("senders", "RIS|HOSPITAL")
        clock.set("+3h")
        wait_until(lambda: site.command("status").returncode == 1, 60, "the silence is noticed")
        command = told(site, "status", code=1)
        assert re.search(rf"RIS\|HOSPITAL is silent since {SINCE} \(3 h.*?\): about 1\d messages", command)
        night.page.reload()
        assert re.search(rf"RIS\|HOSPITAL is silent since {SINCE} \(3 h.*?\): about 1\d messages", night.read())
        row = night.row("senders", "RIS|HOSPITAL")
        assert "silent" in row
        assert re.search(CLOCK, row)
        assert night.clicks == 0


def test_7_did_the_ris_hear_that_it_is_done(tmp_path: Path, browser: Browser) -> None:
    """It is told while the RIS is away that it has not heard yet, and when it has heard, each time with the time."""
    port = free_port()
    with Site(tmp_path / "site", site=MODALITY + ris_node(port), config=CONFIG) as site:
        with Mllp(site.hl7) as sender:
            assert sender.exchange(hl7_order(7))["MSA"][0][1] == "AA"
        with modality(site.dicom) as device:
            assert device.create(creation(item(7), patient="QZPAT7"), "2.999.8.7").Status == 0
            assert device.change(final(), "2.999.8.7").Status == 0
        wait_until(lambda: "lane.broken" in site.logged(), 30, "the RIS is found away")
        waiting = told(site, "messages", "feedback", "A7")
        assert re.search(rf"ris completed waits .*{CLOCK}", waiting)
        assert "heard" not in waiting
        night = AtNight(browser, site)

        def ask() -> Locator:
            night.page.goto(site.web)
            night.clicks = 0
            night.click("nav.pages >> text=Messages")
            night.page.fill("#number", "A7")
            night.page.keyboard.press("Enter")
            return night.page.locator("tr", has=night.page.get_by_role("rowheader", name="completed", exact=True))

        expect(ask()).to_contain_text("waits")
        with Ris(port=port) as ris:
            wait_until(lambda: ris.statuses() == ["IP", "CM"], 60, "the RIS is told")
            wait_until(lambda: "waits" not in told(site, "messages", "feedback", "A7"), 30, "its answer is noted")
        assert re.search(rf"ris completed heard .*{CLOCK}", told(site, "messages", "feedback", "A7"))
        row = ask()
        expect(row).to_contain_text("heard")
        expect(row).to_contain_text(re.compile(CLOCK))
