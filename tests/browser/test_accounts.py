"""People in a real browser: first admin, invitation, sign-in, own account; by mouse, by keys, without script."""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from support.service.authenticator import Authenticator
from support.service.people import PASSWORD, added, signed_in
from support.service.rest import application
from support.web import looking
from support.web.browser import PHONE, Browser, Screen
from support.web.issuer import CLIENT, SECRET, issuing
from support.web.serving import serving

from broker.accounts import links, users
from broker.accounts.deed import Deed
from broker.accounts.roles import UserRole
from broker.accounts.users import NewUser
from broker.settings import load
from broker.settings.web import OidcRolesSection, OidcSection
from broker.store.db.database import Database

NEW = "another tea, please"


@pytest.fixture(scope="module")
def first(database: Database) -> str:
    """The link of the first admin; afterwards there is one."""
    link = database.submit(links.first_admin, time.time()).result()
    assert link is not None
    return link.path


def invited(database: Database, name: str) -> str:
    deed = Deed("cli:test", time.time())
    row = database.submit(users.add, NewUser(name=name, role=UserRole.VIEWER), deed).result()
    return database.submit(links.invite, row, deed).result().path


def opened(browser: Browser, database: Database, url: str) -> Screen:
    """A page as an admin sees it on a telephone."""
    user = database.read(users.named, "boss").result()
    row = user.row if user else added(database, "boss", UserRole.ADMIN, time.time())
    return browser.open(url, size=PHONE, session=signed_in(database, row, time.time()).text)


def typed(page: Page, **values: str) -> None:
    for name, value in values.items():
        page.fill(f"[name={name}]:not([readonly])", value)


def test_a_new_broker_gets_its_first_admin_who_signs_out_and_in(web: str, browser: Browser, first: str) -> None:
    screen = browser.open(web + first)
    page = screen.page
    assert screen.focused() == "name"
    looking.fits(screen)
    looking.is_accessible(screen)
    typed(page, name="anna", password="password1234", again="password1234")
    page.click("button.primary")
    expect(page.locator("#password-wrong")).to_contain_text("Many people take this password")
    looking.is_accessible(screen)
    typed(page, password=PASSWORD, again=PASSWORD)
    page.click("button.primary")
    expect(page.locator("h1")).to_have_text("Now")
    page.click(".menu summary")
    page.click("#sign-out")
    expect(page.locator("h1")).to_have_text("Sign in")
    page.goto(f"{web}/users")
    assert page.url == f"{web}/sign-in?next=/users"
    typed(page, name="anna", password=PASSWORD)
    page.click("button.primary")
    expect(page.locator("h1")).to_have_text("Users")
    assert page.context.cookies()[0]["httpOnly"]
    assert [note for note in screen.complaints if "422" not in note] == []
    page.context.clear_cookies()
    page.close()


def test_signing_in_by_keys_alone(web: str, browser: Browser, database: Database) -> None:
    added(database, "keys", UserRole.VIEWER, time.time())
    screen = browser.open(f"{web}/sign-in")
    page = screen.page
    assert screen.focused() == "name"
    page.keyboard.type("keys")
    page.keyboard.press("Tab")
    assert screen.focused() == "password"
    page.keyboard.type("wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#wrong")).to_have_text("Name or password is wrong.")
    assert (screen.focused(), page.input_value("#name")) == ("password", "keys")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text("Now")
    page.context.clear_cookies()
    page.close()


def test_without_script_people_come_in_and_change_their_password(
    web: str, browser: Browser, database: Database
) -> None:
    link = invited(database, "plain")
    screen = browser.open(web + link, script=False)
    page = screen.page
    typed(page, password=PASSWORD, again=PASSWORD)
    page.click("button.primary")
    expect(page.locator("h1")).to_have_text("Now")
    page.goto(f"{web}/me")
    typed(page, current=PASSWORD, password=NEW, again=NEW)
    page.click("#change-password")
    expect(page.locator("#note")).to_contain_text("Your password is changed.")
    page.click("#everywhere-open")
    page.click("#everywhere-do")
    expect(page.locator("h1")).to_have_text("Sign in")
    looking.fits(screen)
    page.close()


def test_an_admin_adds_a_user_and_hands_over_a_link(web: str, browser: Browser, database: Database) -> None:
    screen = opened(browser, database, f"{web}/users")
    page = screen.page
    page.fill("#new-name", "ben")
    page.fill("#new-full-name", '"><img src=x onerror=alert(1)>')
    page.select_option("#new-role", "operator")
    page.click("#add")
    expect(page.locator("#link-text")).to_have_text(re.compile(r"/invite/[\w-]{43}$"))
    assert page.locator("img").count() == 0
    looking.fits(screen)
    page.click("#disable-open")
    expect(page.locator("dialog.ask")).to_be_visible()
    looking.is_accessible(screen)
    page.fill("#reason", "left")
    page.keyboard.press("Enter")
    expect(page.locator("#note")).to_contain_text("The user is disabled")
    looking.is_quiet(screen)
    page.close()


def test_a_second_factor_is_set_up_used_and_lost(web: str, browser: Browser, database: Database) -> None:
    """By mouse, then by keys alone."""
    added(database, "phone", UserRole.VIEWER, time.time())
    screen = browser.open("about:blank")
    page = screen.page
    page.context.clear_cookies()
    page.goto(f"{web}/sign-in")
    typed(page, name="phone", password=PASSWORD)
    page.click("button.primary")
    page.goto(f"{web}/me")
    page.click("#second-factor")
    page.fill("#own", PASSWORD)
    page.click("#begin")
    expect(page.locator("#qr")).to_be_visible()
    assert screen.focused() == "code"
    looking.fits(screen)
    looking.is_accessible(screen)
    page.click("summary:has-text('No camera?')")
    telephone = Authenticator(page.locator("#secret").inner_text())
    page.fill("#code", "000000")
    page.click("#confirm")
    expect(page.locator("#code-wrong")).to_contain_text("This code is wrong")
    page.fill("#code", telephone.code())
    page.click("#confirm")
    expect(page.locator("ul.codes li")).to_have_count(10)
    codes = page.locator("ul.codes li").all_inner_texts()
    looking.fits(screen)
    looking.is_accessible(screen)
    page.click("#go-on")
    expect(page.locator("h1")).to_have_text("My account")
    page.click(".menu summary")
    page.click("#sign-out")
    for typed_code, right in (("123456", False), (telephone.code(), True)):
        if screen.focused() != "code":
            page.focus("#name")
            page.keyboard.type("phone")
            page.keyboard.press("Tab")
            page.keyboard.type(PASSWORD)
            page.keyboard.press("Enter")
            expect(page.locator("h1")).to_have_text("Second factor")
            looking.fits(screen)
            looking.is_accessible(screen)
        assert screen.focused() == "code"
        page.keyboard.type(typed_code)
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text("Now" if right else "Second factor")
    looking.is_quiet(screen)
    page.context.clear_cookies()
    page.close()
    lost = browser.open(f"{web}/sign-in", {"Accept-Language": "fr"}, PHONE, script=False)
    typed(lost.page, name="phone", password=PASSWORD)
    lost.page.click("button.primary")
    expect(lost.page.locator("h1")).to_have_text("Second facteur")
    lost.page.fill("#code", codes[3].upper())
    lost.page.click("button.primary")
    expect(lost.page.locator("h1")).to_have_text("Maintenant")
    lost.page.context.clear_cookies()
    lost.page.close()


def test_a_role_that_asks_for_a_second_factor(tmp_path: Path, sqlite_template: Path, browser: Browser) -> None:
    file = tmp_path / "broker.db"
    shutil.copyfile(sqlite_template, file)
    own, settings = Database(f"sqlite:///{file}"), load(None)
    added(own, "boss", UserRole.ADMIN, time.time())
    changed = settings.web.model_copy(update={"second_factor": ("admin",)})
    with serving(application(own, settings.model_copy(update={"web": changed}))) as web:
        for language in ("fr", "en"):
            screen = browser.open(f"{web}/sign-in?next=/users", {"Accept-Language": language}, script=language == "fr")
            typed(screen.page, name="boss", password=PASSWORD)
            screen.page.click("button.primary")
            expect(screen.page.locator("#qr")).to_be_visible()
            looking.fits(screen)
            if language == "fr":
                looking.is_accessible(screen)
                looking.is_quiet(screen)
                screen.page.context.clear_cookies()
                screen.page.close()
        page = screen.page
        page.click("summary:has-text('No camera?')")
        page.fill("#code", Authenticator(page.locator("#secret").inner_text()).code())
        page.click("button.primary")
        expect(page.locator("h1")).to_have_text("Recovery codes")
        page.click("#go-on")
        expect(page.locator("h1")).to_have_text("Users")
        page.click("a:has-text('boss')")
        page.click("#reset-open")
        page.fill("#reset-reason", "lost")
        page.click("#reset-do")
        expect(page.locator("h1")).to_have_text("Sign in")  # that was the own one
        page.context.clear_cookies()
        page.close()
    own.close()


def test_a_token_is_made_and_revoked_by_keys(web: str, browser: Browser, database: Database) -> None:
    screen = opened(browser, database, f"{web}/tokens")
    page = screen.page
    page.focus("#new-name")
    page.keyboard.type("monitor")
    page.keyboard.press("Enter")
    expect(page.locator("#token-text")).to_have_text(re.compile(r"^wlb_[\w-]{43}$"))
    page.focus("[id^=revoke-][id$=-open]")
    page.keyboard.press("Enter")
    expect(page.locator("dialog.ask[open]")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog.ask[open]")).to_have_count(0)
    page.keyboard.press("Enter")
    page.locator("dialog.ask[open] input").fill("gone")
    page.keyboard.press("Enter")
    expect(page.locator("#note")).to_have_text("The token is revoked.")
    looking.is_quiet(screen)
    page.close()


def test_a_token_is_made_and_revoked_by_mouse(web: str, browser: Browser, database: Database) -> None:
    screen = opened(browser, database, f"{web}/tokens")
    page = screen.page
    page.fill("#new-name", "ris")
    page.click("#make")
    expect(page.locator("#token-text")).to_have_text(re.compile(r"^wlb_[\w-]{43}$"))
    page.locator("tr", has_text="ris").locator("[id$=-open]").click()
    looking.is_accessible(screen)
    page.locator("dialog[open] input").fill("gone")
    page.locator("dialog[open] button").click()
    expect(page.locator("#note")).to_have_text("The token is revoked.")
    looking.is_quiet(screen)
    page.close()


def test_a_user_is_added_by_keys(web: str, browser: Browser, database: Database) -> None:
    screen = opened(browser, database, f"{web}/users")
    page = screen.page
    page.focus("#new-name")
    page.keyboard.type("chloe")
    page.keyboard.press("Tab")
    assert screen.focused() == "new-full-name"
    page.keyboard.type("Chloé Martin")
    page.keyboard.press("Enter")
    expect(page.locator("#link-text")).to_be_visible()
    page.focus("#disable-open")
    page.keyboard.press("Enter")
    assert screen.focused() == "reason"
    page.keyboard.press("Escape")
    assert screen.focused() == "disable-open"
    page.focus("#full_name")
    page.keyboard.type("x")
    page.keyboard.press("Enter")
    expect(page.locator("#note .note")).to_be_visible()
    looking.is_quiet(screen)
    page.close()


def test_a_user_and_a_token_are_made_without_script(web: str, browser: Browser, database: Database) -> None:
    row = added(database, "plainboss", UserRole.ADMIN, time.time())
    session = signed_in(database, row, time.time()).text
    page = browser.open(f"{web}/users", script=False, session=session).page
    page.fill("#new-name", "dina")
    page.click("#add")
    assert "/invite/" in page.inner_text("#link-text")
    page.click("#disable-open")
    page.click("#disable-do")
    assert "The user is disabled" in page.inner_text("#note")
    page.goto(f"{web}/tokens")
    page.fill("#new-name", "lab")
    page.click("#make")
    assert page.inner_text("#token-text").startswith("wlb_")
    page.close()


def test_a_person_ends_a_session_and_signs_out_everywhere_by_mouse(
    web: str, browser: Browser, database: Database
) -> None:
    row = added(database, "mouse", UserRole.VIEWER, time.time())
    other = signed_in(database, row, time.time())
    screen = browser.open(f"{web}/me", session=signed_in(database, row, time.time()).text)
    page = screen.page
    page.select_option("#language", "fr")
    page.click("#speak")
    expect(page.locator("html")).to_have_attribute("lang", "fr")
    page.click(f"#end-{other.row}")
    expect(page.locator(f"#end-{other.row}")).to_have_count(0)
    page.click("#everywhere-open")
    page.click("#everywhere-do")
    page.wait_for_url("**/sign-in")
    looking.is_quiet(screen)
    page.close()


def test_a_password_is_changed_by_keys(web: str, browser: Browser, database: Database) -> None:
    row = added(database, "turner", UserRole.VIEWER, time.time())
    screen = browser.open(f"{web}/me", session=signed_in(database, row, time.time()).text)
    page = screen.page
    page.focus("#current")
    for place, text in (("current", PASSWORD), ("password", NEW), ("again", NEW)):
        assert screen.focused() == place
        page.keyboard.type(text)
        page.keyboard.press("Tab")
    assert screen.focused() == "change-password"
    page.keyboard.press("Enter")
    expect(page.locator("#note")).to_contain_text("Your password is changed.")
    looking.is_quiet(screen)
    page.close()


def test_a_password_is_set_by_an_invitation(web: str, browser: Browser, database: Database) -> None:
    """By keys, which are slow to learn the rules; then by mouse."""
    screen = browser.open(web + invited(database, "guest"))
    page = screen.page
    assert screen.focused() == "password"
    page.keyboard.type("short")
    page.keyboard.press("Tab")
    assert screen.focused() == "again"
    page.keyboard.type("short")
    page.keyboard.press("Enter")
    expect(page.locator("#password-wrong")).to_be_visible()
    looking.is_accessible(screen)
    typed(page, password=PASSWORD, again=PASSWORD)
    page.click("button.primary")
    expect(page.locator("h1")).to_have_text("Now")
    looking.is_quiet(screen)
    page.context.clear_cookies()
    page.close()


def test_people_sign_in_and_out_without_script(web: str, browser: Browser, database: Database) -> None:
    added(database, "quiet", UserRole.VIEWER, time.time())
    page = browser.open(f"{web}/sign-in?next=/help", script=False).page
    typed(page, name="quiet", password=PASSWORD)
    page.click("button.primary")
    assert page.inner_text("h1") == "Help"
    page.click(".menu summary")
    page.click("#sign-out")
    assert page.inner_text("h1") == "Sign in"
    page.close()


def test_the_first_admin_is_made_without_script(tmp_path: Path, sqlite_template: Path, browser: Browser) -> None:
    file = tmp_path / "broker.db"
    shutil.copyfile(sqlite_template, file)
    own = Database(f"sqlite:///{file}")
    link = own.submit(links.first_admin, time.time()).result()
    assert link is not None
    with serving(application(own, load(None))) as web:
        page = browser.open(web + link.path, script=False).page
        typed(page, name="anna", password=PASSWORD, again=PASSWORD)
        page.click("button.primary")
        assert page.inner_text("h1") == "Now"
        page.context.clear_cookies()
        page.close()
    own.close()


def test_people_come_in_by_the_hospital_account(tmp_path: Path, sqlite_template: Path, browser: Browser) -> None:
    """The way leads by a link to another host and back: the policy of the page lets it."""
    file = tmp_path / "broker.db"
    shutil.copyfile(sqlite_template, file)
    own, settings = Database(f"sqlite:///{file}"), load(None)
    with issuing() as issuer:
        roles = OidcRolesSection(viewer=("broker-viewers",))
        oidc = OidcSection(issuer=issuer.address, client_id=CLIENT, client_secret=SECRET, roles=roles)
        changed = settings.web.model_copy(update={"oidc": oidc, "url": "http://127.0.0.1:1"})
        app = application(own, settings.model_copy(update={"web": changed}))
        with serving(app) as web:
            object.__setattr__(changed, "url", web)  # the port is known only now
            screen = browser.open(f"{web}/sign-in?next=/help")
            looking.is_accessible(screen)
            screen.page.focus("#oidc")
            screen.page.keyboard.press("Enter")
            expect(screen.page.locator("h1")).to_have_text("Help")
            screen.page.goto(f"{web}/me")
            expect(screen.page.locator("h2").first).to_contain_text("ben")
            assert screen.page.locator("#change-password").count() == 0  # the issuer has the password
            looking.is_quiet(screen)
            screen.page.context.clear_cookies()
            screen.page.close()
    own.close()
