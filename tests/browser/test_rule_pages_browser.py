"""The pages of rules in a real browser: a rule is made, proven on stored studies, put in force and undone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect
from support.dicom.objects import ct_slice
from support.orders.intake import take
from support.service.rest import TOKEN
from support.service.site import order
from support.web import looking
from support.web.browser import Browser, Screen
from support.web.held import hold_object

from broker.store.db.database import Database

KNOWN = {"Authorization": f"Bearer {TOKEN}"}
NODES = [
    {
        "name": name,
        "kind": "dicom",
        "ae_title": name.upper(),
        "host": "127.0.0.1",
        "port": 104,
        "roles": ["destination"],
    }
    for name in ("pacs", "ws4")
]  # fmt: skip
RULES = [
    {"name": "all to the archive", "when": {"field": "tag.Modality", "op": "exists"}, "send": ["pacs"]},
    {"name": "phantoms", "when": {"field": "tag.PatientID", "op": "glob", "value": "QA*"}, "action": "discard",
     "reason": "of nobody"},
]  # fmt: skip
HERE = {
    "PatientName": "Müller^Käthe",
    "PatientBirthDate": "19760229",
    "PatientSex": "F",
    "IssuerOfPatientID": "HOSPITAL",
    "SpecificCharacterSet": "ISO_IR 192",
}


@pytest.fixture(scope="module")
def filled(database: Database) -> Database:
    """Yesterday's studies: CTs of ward 4W and of another one, at night and by day, and an MR of the ward."""
    yesterday = datetime.now(UTC) - timedelta(days=1)
    for number, ward in ((1, "4W"), (2, "ICU"), (3, "4W")):
        take(database, order(number).replace("PV1|1|O|AMB", f"PV1|1|I|{ward}").encode())
    for number, exam, hour, modality in ((1, 1, 19, "CT"), (2, 1, 5, "CT"), (3, 2, 22, "CT"), (4, 3, 12, "CT"),
                                         (5, 3, 23, "MR")):  # fmt: skip
        local = yesterday.replace(hour=hour, minute=30).replace(tzinfo=None).isoformat(timespec="seconds")
        more = {"AccessionNumber": f"A{exam}", "PatientID": f"QZPAT{exam}", "StudyInstanceUID": f"2.999.7.{exam}"}
        hold_object(database, number, time.time() - 86_400 + number, local, Modality=modality, **more, **HERE)
    return database


@pytest.fixture
def screen(filled: Database, web: str, browser: Browser) -> Iterator[Screen]:
    for draft in httpx.get(f"{web}/api/v1/rules/drafts", headers=KNOWN).json():
        assert httpx.post(f"{web}/api/v1/rules/drafts/{draft['id']}/drop", json={}, headers=KNOWN).is_success
    site = {"node": NODES, "rule": RULES, "replace": True, "reason": "as it was"}
    assert httpx.post(f"{web}/api/v1/site", json=site, headers=KNOWN).status_code == 201
    opened = browser.open(f"{web}/rules", KNOWN)
    yield opened
    looking.is_quiet(opened)
    opened.page.close()


def leaf(page: Page, path: str, field: str, op: str, *values: str) -> None:
    """Fill in a test of the tree."""
    page.fill(f"#field-{path.replace('.', chr(92) + '.')}", field)
    page.select_option(f"#op-{path.replace('.', chr(92) + '.')}", op)
    page.fill(f"#value-{path.replace('.', chr(92) + '.')}", "\n".join(values))


def rules_in_force(web: str) -> list[dict[str, object]]:
    """As REST tells them."""
    found: list[dict[str, object]] = httpx.get(f"{web}/api/v1/rules", headers=KNOWN).json()["document"]["rule"]
    return found


def test_a_new_workstation_gets_the_cts_of_a_ward_at_night(screen: Screen, web: str) -> None:
    page = screen.page
    expect(page.locator("#rule-1")).to_contain_text("tag.Modality is present")
    looking.is_accessible(screen)
    looking.fits(screen)
    page.click("#begin")
    page.click("#add")
    page.fill("#name", "CTs of ward 4W at night")
    leaf(page, "r.0", "tag.Modalty", "is", "CT")
    page.click("#add-test-r")
    expect(page.locator("#field-r\\.1")).to_be_focused()
    leaf(page, "r.1", "order.ward", "starts_with", "4W")
    page.click("#add-test-r")
    leaf(page, "r.2", "time.window", "is", "18:00-07:00")
    page.check("input[name=send][value=ws4]")
    page.fill("#owner", "radiology IT")
    page.click("#save")
    expect(page.locator("#field-r\\.0-wrong")).to_contain_text("There is no such field")
    looking.is_accessible(screen)
    looking.fits(screen)
    page.fill("#field-r\\.0", "tag.Modality")
    page.click("#save")
    row = page.locator("#rule-3")
    expect(row).to_contain_text("tag.Modality is “CT” and order.ward starts with “4W” and time.window is “18:00-07:00”")
    expect(row).to_contain_text("send it to ws4")
    page.click("#replay")
    found = page.locator("#replayed tbody tr")
    expect(found).to_have_count(1)  # the CTs of the ward at night, and nothing else
    expect(found).to_contain_text("2.999.7.1")
    expect(found).to_contain_text("send it to pacs, ws4")
    expect(page.locator("#replayed")).to_contain_text("3 would go as before.")
    expect(found.locator("td.n")).to_have_text("2")
    looking.is_accessible(screen)
    looking.fits(screen)
    assert rules_in_force(web) == RULES  # until now nothing acts
    page.click("#why-1")
    expect(page.locator("#tried-1")).to_have_text("send it to pacs, ws4")
    expect(page.locator(".tried")).to_contain_text("true time.window is “18:00-07:00” saw")
    looking.is_accessible(screen)
    looking.fits(screen)
    page.go_back()
    page.fill("#reason", "new workstation on ward 4W")
    page.click("#activate")
    expect(page.locator("#note")).to_contain_text("of the rules is in force.")
    assert [one["name"] for one in rules_in_force(web)] == [*(one["name"] for one in RULES), "CTs of ward 4W at night"]
    page.click("#undo-open")
    page.fill("#undo-reason", "the workstation is not delivered yet")
    page.click("#undo-do")
    expect(page.locator("#note")).to_contain_text("is in force again")
    assert rules_in_force(web) == RULES
    page.goto(f"{web}/rules/history")
    expect(page.locator(".versions > li >> nth=1")).to_contain_text("rule 'CTs of ward 4W at night'")
    looking.is_accessible(screen)
    looking.fits(screen)


def test_rules_are_moved_and_switched_by_keys_alone(screen: Screen, web: str) -> None:
    page = screen.page
    page.focus("#down-1")
    page.keyboard.press("Enter")
    expect(page.locator("#up-2")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#down-1")).to_be_focused()
    page.focus("#off-2")
    page.keyboard.press("Enter")
    expect(page.locator("#on-2")).to_be_focused()
    expect(page.locator("#rule-2")).to_contain_text("off")
    page.keyboard.press("Enter")
    expect(page.locator("#off-2")).to_be_focused()
    expect(page.locator("#rule_draft")).to_contain_text("They say the same.")
    page.focus("#drop-open")
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    page.focus("#remove-2")
    page.keyboard.press("Enter")
    expect(page.locator("#rule-2")).to_have_count(0)
    page.focus("#reason")
    page.keyboard.type("no phantoms any more")
    page.focus("#when")
    page.fill("#when", (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M"))
    page.focus("#activate")
    page.keyboard.press("Enter")
    expect(page.locator("#rules")).to_contain_text("is planned to come into force")
    looking.is_accessible(screen)
    looking.fits(screen)
    assert rules_in_force(web) == RULES
    page.focus("#cancel-plan-open")
    page.keyboard.press("Enter")
    expect(page.locator("#cancel-plan-reason")).to_be_focused()
    page.keyboard.type("phantoms stay")
    page.keyboard.press("Enter")
    expect(page.locator("#note")).to_have_text("The planned activation is cancelled.")


def test_a_condition_is_built_by_keys_alone(screen: Screen, web: str) -> None:
    page = screen.page
    httpx.put(f"{web}/api/v1/rules/draft", json={"rule": RULES}, headers=KNOWN)
    number = httpx.get(f"{web}/api/v1/rules/drafts", headers=KNOWN).json()[0]["id"]
    page.goto(f"{web}/rules/drafts/{number}/rules/2")
    page.focus("#add-test-r")
    page.keyboard.press("Enter")
    expect(page.locator("#field-r\\.1")).to_be_focused()
    page.keyboard.type("tag.Modality")
    for _ in range(2):
        page.keyboard.press("Tab")
    assert screen.focused() == "op-r.1"
    page.keyboard.type("is one")
    page.focus("#look")
    page.keyboard.press("Enter")
    expect(page.locator("textarea#value-r\\.1")).to_be_visible()
    page.focus("#value-r\\.1")
    page.keyboard.type("CT")
    page.keyboard.press("Enter")
    page.keyboard.type("MR")
    page.focus("#negate-r\\.1")
    page.keyboard.press("Enter")
    expect(page.locator("#field-r\\.1\\.0")).to_have_value("tag.Modality")
    page.focus("#add-group-r")
    page.keyboard.press("Enter")
    expect(page.locator("#field-r\\.2\\.0")).to_be_focused()
    page.focus("#remove-r\\.2")
    page.keyboard.press("Enter")
    expect(page.locator("#field-r\\.2\\.0")).to_have_count(0)
    page.focus("#save")
    page.keyboard.press("Enter")
    expect(page.locator("#rule-2")).to_contain_text("and not tag.Modality is one of “CT”, “MR”")
    kept = httpx.get(f"{web}/api/v1/rules/drafts/{number}", headers=KNOWN).json()["document"]["rule"][1]["when"]
    negated = {"not": {"field": "tag.Modality", "op": "in", "value": ["CT", "MR"]}}
    assert kept == {"all": [RULES[1]["when"], negated]}


def test_a_dropped_file_is_tried(screen: Screen, web: str, tmp_path: Path) -> None:
    page = screen.page
    file = tmp_path / "large.dcm"
    file.write_bytes(ct_slice(1_000_000, Modality="CT").part10())
    page.goto(f"{web}/rules/try")
    page.set_input_files("#dropped", file)
    expect(page.locator("#size")).to_have_value(str(file.stat().st_size))
    page.fill("#facts", "assoc.calling_ae=CT7")
    page.click("#try")
    expect(page.locator("#tried-1")).to_have_text("send it to pacs")
    expect(page.locator("#rule_try")).to_contain_text("Only the beginning of the file was read")
    expect(page.locator(".tried")).to_contain_text("from CT7")
    looking.is_accessible(screen)
    looking.fits(screen)


def test_all_of_it_works_without_script(screen: Screen, web: str, browser: Browser) -> None:
    page = browser.open(f"{web}/rules", KNOWN, script=False).page
    page.click("#down-1")
    expect(page.locator("#rule-1")).to_contain_text("phantoms")
    page.click("#edit-1")
    page.click("#add-test-r")
    leaf(page, "r.1", "tag.Modality", "is_not", "CT")
    page.select_option("#missing-r\\.1", "true")
    page.click("#save")
    expect(page.locator("#rule-1")).to_contain_text("and (tag.Modality is not “CT”, or is missing)")
    page.click("#replay")
    expect(page.locator("#replayed")).to_contain_text("5 objects were judged")
    page.fill("#reason", "only phantoms of other devices")
    page.click("#activate")
    assert "is in force" in page.inner_text("#note")
    page.goto(f"{web}/rules/try")
    page.fill("#study", "2.999.7.2")
    page.click("#try")
    expect(page.locator("#tried-1")).to_have_text("send it to pacs")
    page.goto(f"{web}/rules/history")
    version = page.locator(".versions > li >> nth=1").locator("a.danger")
    version.click()
    dialog = page.locator("dialog:target")
    dialog.locator("input[name=reason]").fill("it was wrong")
    dialog.locator("button").click()
    assert "is in force again" in page.inner_text("#note")
    assert rules_in_force(web) == RULES
    page.close()
