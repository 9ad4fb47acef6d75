"""All 25 questions that support staff ask at night, by the table of the guide: each command and each path is tried.

What each answer must say in all its variants stands in `test_questions.py` and the files it names. Here one broker in
trouble is asked all of them, once on the pages and once by command, and the guide says how.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import expect
from support.dicom.objects import Encoded, ct_slice
from support.dicom.raw import RawScu
from support.hl7.receiver import ris_node
from support.mpps.performed import creation, final, item, modality
from support.peers.tools import free_port, run, wait_until
from support.service.site import Mllp, Site, destination, order
from support.tree import ROOT
from support.web.at_night import TOKEN, AtNight
from support.web.browser import Browser

from browser.test_delivery_questions_browser import refusing

GUIDE = (ROOT / "config" / "operate.md").read_text(encoding="utf-8")
CLOCK = r"\d\d:\d\d"
STUDY = "2.999.7.4711"
MODALITY = '[[node]]\nname = "ct1"\nkind = "dicom"\nae_title = "CT01"\nroles = ["modality"]\n'
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
CONFIG = {
    "web": {"port": 0, "admin_token": TOKEN},
    "dicom": {"port": 0, "accept": "known"},
    "delivery": {"retry_first": 600, "retry_last": 1200},
}


@dataclass(frozen=True)
class Question:
    """A row of the guide."""

    number: int
    words: str
    path: list[str]
    commands: list[str]


def questions() -> list[Question]:
    """The table of the guide."""
    _, _, text = GUIDE.partition("### Questions at night\n")
    rows = re.findall(r"^\| (\d+) \| (.+?) \| (.+?) \| (.+?) \|$", text.partition("\n## ")[0], re.MULTILINE)
    return [Question(int(n), words, path.split(" › "), re.findall("`(.+?)`", told)) for n, words, path, told in rows]


QUESTIONS = questions()


@contextmanager
def prepared(folder: Path) -> Iterator[Site]:
    """A broker in trouble: its PACS and RIS are away, an order was refused, objects are held, rules were changed."""
    pacs = free_port()
    nodes = MODALITY + destination("pacs", pacs) + destination("cad", free_port()) + ris_node(free_port())
    config = CONFIG | {"backup": {"folder": str(folder / "backups")}}
    refused = ct_slice(64, AccessionNumber="A78", PatientID="QZPAT78")
    with Site(folder / "site", site=nodes + RULES, config=config) as site:
        with refusing(pacs, refused):
            store(site, refused)
            wait_until(lambda: site.rows("select 1 from job where state = 'held'"), 30, "it is held")
        ordered(site)
        store(
            site,
            ct_slice(2_000, StudyInstanceUID=STUDY, AccessionNumber="A4711", PatientID="QZPAT4711", SliceThickness="8"),
            ct_slice(2_000, Modality="US", AccessionNumber="A77", PatientID="QZPAT77"),
        )
        for calling, called in (("CT01", "BROKER"), ("US07", "BROKER"), ("CT01", "BROKRE")):
            query(site, calling, called)
        for text, why in ((RULES, "as it was"), (WITHOUT_CAD, "CAD is on loan")):
            publish(site, "rules", text, why)
        for code, why in (("CT", "the new RIS"), ("MR", "a slip")):
            publish(site, "mapping", f'name = "own"\nextends = "ihe"\n[values.Modality]\nSPIRAL = "{code}"\n', why)
        away = "select 1 from lane where failures > 0 and name in ('deliver:pacs', 'feedback:ris')"
        wait_until(lambda: len(site.rows(away)) == 2, 30, "the PACS and the RIS are found away")
        known = ("restored for a trial", "RIS|HOSPITAL: sending")
        wait_until(lambda: all(one in site.command("status").stdout for one in known), 60, "a backup, and who sends")
        yield site


def ordered(site: Site) -> None:
    """Five exams, one of them for another station, one cancelled, one done; and an order that is refused."""
    with Mllp(site.hl7) as ris:
        for number, station in ((4711, "CT01"), (4712, "MR01"), (4713, "CT01"), (4714, "CT01"), (4715, "CT01")):
            assert ris.exchange(order(number, station=station))["MSA"][0][1] == "AA"
        assert ris.exchange(order(4713, control="CA"))["MSA"][0][1] == "AA"
        assert ris.exchange(order(4716).replace("|QZPAT4716^^^HOSPITAL|", "||"))["MSA"][0][1] == "AE"
    with modality(site.dicom) as device:
        assert device.create(creation(item(4714), patient="QZPAT4714"), "2.999.8.7").Status == 0
        assert device.change(final(), "2.999.8.7").Status == 0


def store(site: Site, *items: Encoded) -> None:
    with RawScu(site.dicom) as device:
        device.associate([(one.sop_class, one.transfer_syntax) for one in items], calling=b"CT01")
        assert [device.store(one) for one in items] == [0] * len(items)


def query(site: Site, calling: str, called: str) -> None:
    key = "ScheduledProcedureStepSequence[0].ScheduledStationAETitle=CT01"
    keys = ("-k", "AccessionNumber", "-k", key)
    run("findscu", "-W", "-aet", calling, "-aec", called, "127.0.0.1", str(site.dicom), *keys)


def publish(site: Site, noun: str, text: str, why: str) -> None:
    file = site.folder / "own.toml"
    file.write_text(text, encoding="utf-8")
    done = site.command(noun, "import", file, "--reason", why, "--author", "Anna")
    assert done.returncode == 0, done.stderr


def test_the_guide_has_all_of_them() -> None:
    assert [one.number for one in QUESTIONS] == list(range(1, 26))
    assert ANSWERS.keys() == PATHS.keys() == {one.number for one in QUESTIONS}
    assert all(one.commands and one.path for one in QUESTIONS)


# What the commands of a question must say, together. They are run in the order of the guide.
ANSWERS = {
    1: "not shown: ct1 asked last at .* the step has station MR01, and the device asks for CT01",
    2: rf"{CLOCK}:\d\d change Step SPS4713 was called off. \(order:CA\) hl7:RIS\|HOSPITAL",
    3: rf"the answer to a query that it asked at .*{CLOCK}.* A4711 .*A4715",
    4: rf"{CLOCK}:\d\d RIS\|HOSPITAL OMI\^O23 .* AE error 101 at PID\^1\^3: Patient identifier is missing",
    5: rf"received .*{CLOCK}.*: AA .* PID\|1\|\|QZPAT4711\^\^\^HOSPITAL\|\|Müller",
    6: rf"RIS\|HOSPITAL: sending, last message {CLOCK}",
    7: rf"ris completed waits .*{CLOCK}",
    8: "A4711 CT 1 pacs: 1 waiting",
    9: "true CT to the PACS .* false thin slices to CAD .* false tag.SliceThickness lt: saw 8.0",
    10: rf"deliver:pacs: down since {CLOCK}: no connection",
    11: "1 is tried now",
    12: rf"o\d .*{CLOCK} no-rule-matched .*A77 QZPAT77",
    13: "1",
    14: "1 goes there now|2 go there now",
    15: rf"version 2, .*{CLOCK}.*, Anna: CAD is on loan rule 'thin slices to CAD' removed",
    16: "version 3 in force rule 'thin slices to CAD' added",
    17: rf"undone: version 2 of .*{CLOCK}.* for Anna: a slip own: version 3 in force",
    18: rf"US07 .* 1 .*{CLOCK}:\d\d unknown worklist",
    19: rf"refused .*{CLOCK}.* with a wrong AE title for this broker",
    20: rf"query .*{CLOCK}.* image .*{CLOCK}",
    21: r"order \d+: created, accession \w+",
    22: "order 5: updated.* order 5: canceled.* order 5: reopened",
    23: "Disks data, spool: .* GB free, how fast it fills is not known yet",
    24: rf"the last good one began at {CLOCK} .* restored for a trial at .* to restore it, .*: broker restore /",
    25: rf"^Needs attention .*pacs is down since {CLOCK}",
}  # fmt: skip


def test_each_is_answered_by_one_command(tmp_path: Path) -> None:
    wrong = []
    with prepared(tmp_path) as site:
        for one in QUESTIONS:
            said = []
            for command in one.commands:
                program, *words = shlex.split(command)
                assert program == "broker"
                ran = site.command(*words, environment={"COLUMNS": "250"})  # a wide terminal
                said.append(f"{ran.stdout} {ran.stderr}")
            text = " ".join(" ".join(said).split())
            if not re.search(ANSWERS[one.number], text):
                wrong.append((one.number, one.words, text))
    assert not wrong, "\n".join(map(str, wrong))


def shown(night: AtNight, selector: str, *texts: str) -> None:
    """A part of the page says all of it."""
    for text in texts:
        expect(night.page.locator(selector)).to_contain_text(re.compile(text, re.DOTALL))


def pressed(night: AtNight, area: str, typed: str) -> None:
    """Type into a field and press Enter."""
    night.page.fill(area, typed)
    night.page.keyboard.press("Enter")


def go(night: AtNight, *places: str) -> None:
    """Press links and buttons; `nav` is the navigation of all pages."""
    for place in places:
        name = place.removeprefix("nav ")
        night.click(f"nav.pages >> text={name}" if place != name else place)


def exam(night: AtNight, number: str) -> None:
    pressed(night, "#find", number)
    go(night, "main a[href^='/exams/']")


def why_not(night: AtNight) -> None:
    go(night, "nav Worklist", "text=What ct1 sees")
    pressed(night, "#missing", "A4712")
    shown(night, "#why", "the step has station MR01, and the device asks for CT01")


def cancelled(night: AtNight) -> None:
    exam(night, "A4713")
    shown(night, "#story", rf"{CLOCK}.*Step SPS4713 was called off.*RIS HOSPITAL")


def on_the_list(night: AtNight) -> None:
    go(night, "nav Worklist", "text=What ct1 sees")
    shown(night, "#sight tbody >> nth=0", "A4711", "A4715")


def refused_orders(night: AtNight) -> None:
    go(night, "nav Messages", "text=Refused today")
    shown(night, "#journal tbody", "AE: refused", "101", CLOCK)


def as_sent(night: AtNight) -> None:
    go(night, "nav Messages")
    pressed(night, "#number", "A4711")
    go(night, "#message-in-1")
    shown(night, "#raw", r"PID\|1\|\|QZPAT4711")


def ris_sends(night: AtNight) -> None:
    assert "sending" in night.row("senders", "RIS|HOSPITAL")


def ris_heard(night: AtNight) -> None:
    go(night, "nav Messages")
    pressed(night, "#number", "A4714")
    row = night.page.locator("tr", has=night.page.get_by_role("rowheader", name="completed", exact=True))
    expect(row).to_contain_text("waits")


def all_of_it(night: AtNight) -> None:
    go(night, "nav Studies")
    pressed(night, "#filter-accession", "A4711")
    go(night, "[id^=study-]")
    shown(night, "#study", "pacs", "1 waiting")


def which_rule(night: AtNight) -> None:
    exam(night, "A4711")
    go(night, "#images")
    shown(night, "section.tried", "CT to the PACS", "thin slices to CAD", "saw 8.0")


def pacs_down(night: AtNight) -> None:
    shown(night, "#verdict", rf"pacs is down since {CLOCK} .*no connection.*images: 1 waiting")


def send_now(night: AtNight) -> None:
    go(night, "#verdict a:has-text('Show pacs')", "#send-now")
    shown(night, "#note", "tried now")


def held(night: AtNight) -> None:
    go(night, "nav Holds")
    row = night.page.locator("#held tbody tr", has_text="A77")
    for text in ("no rule says where it goes", "CT01", "QZPAT77"):
        expect(row).to_contain_text(text)


def release(night: AtNight) -> None:
    go(night, "#verdict li:has-text('held') >> nth=0 >> a", "#release")
    shown(night, "#note", "1 job is tried again")


def elsewhere(night: AtNight) -> None:
    go(night, "nav Queue")
    pressed(night, "#filter-accession", "A4711")
    shown(night, "#jobs .found b", "1")
    go(night, "#reroute-all-open")
    for typed in ("cad", "the PACS is down"):
        night.page.keyboard.type(typed)
        night.page.keyboard.press("Tab" if typed == "cad" else "Enter")
    shown(night, "#note", "goes? to cad now")


def who_changed(night: AtNight) -> None:
    go(night, "nav Rules", "main nav >> text=History")
    shown(night, "#rule_history li >> nth=0", "Anna", "CAD is on loan", CLOCK, "thin slices to CAD")


def undo_rules(night: AtNight) -> None:
    go(night, "nav Rules", "#undo-open")
    pressed(night, "#undo-reason", "undone at night")
    shown(night, "#rules", "thin slices to CAD", "undone at night")


def undo_mapping(night: AtNight) -> None:
    go(night, "nav Mappings")
    shown(night, "#mappings tbody tr:has-text('own')", "Anna", "a slip", CLOCK)
    go(night, "#undo-own-open")
    night.page.get_by_role("button", name="Undo", exact=True).press("Enter")
    shown(night, "#note", "own: version 1 is in force again")


def knocking(night: AtNight) -> None:
    go(night, ".needs li:has-text('knock') a", "#knocks tr:has-text('US07') a[id$=-admit-open]")
    expect(night.page.get_by_role("button", name="Admit", exact=True)).to_be_visible()


def why_refused(night: AtNight) -> None:
    go(night, "section[aria-labelledby=nodes-title] a:has-text('ct1')")
    shown(night, "#node tr:has-text('refused')", "with a wrong AE title for this broker", CLOCK)


def alive(night: AtNight) -> None:
    row = night.page.locator("section[aria-labelledby=nodes-title] tr", has_text="ct1")
    for label in ("Last query", "Last image"):
        assert re.search(CLOCK, row.locator(f"td[data-label='{label}']").inner_text())


def emergency(night: AtNight) -> None:
    go(night, "nav Exams", "#emergency")
    night.page.select_option("#modality", "CT")
    night.page.fill("#procedure", "CT polytrauma")
    night.page.press("#procedure", "Enter")
    shown(night, "#note", "on the worklist")


def by_hand(night: AtNight) -> None:
    exam(night, "A4715")
    for deed, told in (("move", "The step was moved"), ("calloff", "was called off"), ("reopen", "can begin again")):
        night.page.press(f"#{deed}-open", "Enter")
        if deed == "move":
            night.page.fill("#move-station", "CT02")
        night.page.fill(f"#{deed}-reason", "by phone")
        night.page.press(f"#{deed}-do", "Enter")
        shown(night, "#note", told)


def disk(night: AtNight) -> None:
    shown(night, "section[aria-labelledby=house-title]", "Disk of data, spool", "free", "not known yet|full")


def backup(night: AtNight) -> None:
    shown(night, "#backup", "good", "the last good one", CLOCK, "read again and restored for a trial")
    go(night, "text=How to restore")
    shown(night, "main", "broker restore /srv/backup/broker")


def all_well(night: AtNight) -> None:
    shown(night, "#verdict-word", "Needs attention")
    assert night.clicks == 0


PATHS: dict[int, Callable[[AtNight], None]] = {
    1: why_not, 2: cancelled, 3: on_the_list, 4: refused_orders, 5: as_sent, 6: ris_sends, 7: ris_heard, 8: all_of_it,
    9: which_rule, 10: pacs_down, 11: send_now, 12: held, 13: release, 14: elsewhere, 15: who_changed, 16: undo_rules,
    17: undo_mapping, 18: knocking, 19: why_refused, 20: alive, 21: emergency, 22: by_hand, 23: disk, 24: backup,
    25: all_well,
}  # fmt: skip


def test_each_is_answered_on_the_pages_in_two_clicks(tmp_path: Path, browser: Browser) -> None:
    wrong = []
    with prepared(tmp_path) as site:
        night = AtNight(browser, site)
        for number, path in PATHS.items():
            night.page.goto(site.web)
            night.clicks = 0
            try:
                path(night)
            except (AssertionError, PlaywrightError) as error:
                wrong.append((number, str(error)[:1500]))
        night.page.close()
    assert not wrong, "\n".join(map(str, wrong))
