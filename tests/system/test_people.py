"""`broker users` with the real binary, the link of the first admin, and people who sign in over TCP."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
from support.peers.tools import wait_until
from support.service.authenticator import Authenticator
from support.service.site import Site

SECOND = "/sign-in/second-factor"
PASSWORD = "green tea and rain 7"
FIRST = re.compile(r"^ +(http://127\.0\.0\.1:\d+/first/[\w-]{43})$", re.MULTILINE)


def users(site: Site, *arguments: str) -> str:
    done = site.command("users", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def send(http: httpx.Client, path: str, **form: str) -> httpx.Response:
    """Send a form as a browser does."""
    return http.post(path, data=form, headers={"Sec-Fetch-Site": "same-origin"})


def test_people_come_in_by_links_and_go_at_once(tmp_path: Path, database_url: str) -> None:
    site = Site(tmp_path / "site", database_url=database_url)
    with site, httpx.Client(base_url=site.web, timeout=30) as anna, httpx.Client(base_url=site.web, timeout=30) as ben:
        wait_until(lambda: FIRST.search(site.logged()), 20, "the link is printed")
        [first] = FIRST.findall(site.logged())
        assert "Nobody can sign in yet." in site.logged()
        assert anna.get("/").headers["Location"] == "/sign-in"
        form = {"name": "anna", "password": PASSWORD, "again": PASSWORD}
        assert send(anna, first, **form).headers["Location"] == "/"
        assert anna.get("/").status_code == 200
        invitation = users(site, "add", "Ben", "--role", "viewer", "--full-name", "Ben Okoro").strip()
        assert invitation.startswith(f"{site.web}/invite/")
        assert send(ben, invitation, password=PASSWORD, again=PASSWORD).status_code == 303
        assert ben.get("/api/v1/status").status_code == 200
        assert ben.get("/api/v1/users").status_code == 403
        listed = {one["name"]: (one["role"], one["state"]) for one in json.loads(users(site, "list", "--json"))}
        assert listed == {"anna": ("admin", "active"), "ben": ("viewer", "active")}
        assert {one["name"] for one in json.loads(users(site, "sessions", "--json"))} == {"anna", "ben"}
        users(site, "disable", "ben", "--reason", "left")
        wait_until(lambda: ben.get("/api/v1/status").status_code == 401, 10, "the session has ended")
        refused = site.command("users", "disable", "anna")
        assert (refused.returncode, "only admin" in refused.stderr) == (1, True)
        assert site.command("users", "edit", "nobody", "--role", "viewer").returncode == 1
        text = site.logged()
        assert [secret for secret in (PASSWORD, invitation, *anna.cookies.values()) if secret in text] == []
        metrics = anna.get("/metrics").text
        assert "anna" not in metrics
    printed = len(FIRST.findall(site.logged()))
    users(site, "enable", "ben")  # while no broker runs
    assert "/invite/" in users(site, "link", "ben")
    with site:
        assert len(FIRST.findall(site.logged())) == printed  # there is an admin
        assert anna.is_closed
        with httpx.Client(base_url=site.web, timeout=30, cookies=anna.cookies) as again:
            assert again.get("/api/v1/users").status_code == 200  # a restart ends no session
            assert send(again, "/sign-out").status_code == 303
            assert again.get("/api/v1/users").status_code == 401


def test_each_start_has_a_new_link_until_there_is_an_admin(tmp_path: Path) -> None:
    site = Site(tmp_path / "site", config={"web": {"url": "https://broker.hospital.example/", "port": 0}})
    links = re.compile(r"^ +https://broker\.hospital\.example(/first/[\w-]{43})$", re.MULTILINE)
    for number in (1, 2):
        with site:
            wait_until(lambda: len(links.findall(site.logged())) == number, 20, "the link is printed")  # noqa: B023
            told = [httpx.get(site.web + path, timeout=30).status_code for path in links.findall(site.logged())]
            assert told == [404] * (number - 1) + [200]


def test_a_second_factor_outlives_a_restart_and_is_reset_by_command(tmp_path: Path, database_url: str) -> None:
    site = Site(tmp_path / "site", database_url=database_url, config={"web": {"second_factor": ["admin"], "port": 0}})
    with site, httpx.Client(base_url=site.web, timeout=30) as anna:
        wait_until(lambda: FIRST.search(site.logged()), 20, "the link is printed")
        form = {"name": "anna", "password": PASSWORD, "again": PASSWORD}
        assert send(anna, FIRST.findall(site.logged())[0], **form).headers["Location"] == SECOND
        telephone = Authenticator.scanning(anna.get(SECOND).text)
        codes = send(anna, SECOND, code=telephone.code())
        assert (codes.status_code, 'ul class="codes"' in codes.text) == (200, True)
        assert anna.get("/api/v1/users").status_code == 200
        listed = {one["name"]: one["second_factor"] for one in json.loads(users(site, "list", "--json"))}
        assert listed == {"anna": True}
        [key] = (tmp_path / "site").rglob("seal.key")
        assert (key.stat().st_mode & 0o777, key.stat().st_size) == (0o600, 32)
        anna.cookies.clear()
        assert send(anna, "/sign-in", name="anna", password=PASSWORD).headers["Location"] == SECOND
        cookies = anna.cookies
    with site, httpx.Client(base_url=site.web, timeout=30, cookies=cookies) as anna:
        assert send(anna, SECOND, code=telephone.code()).headers["Location"] == "/"
        assert anna.get("/api/v1/users").status_code == 200
        users(site, "reset-second-factor", "anna", "--reason", "lost")
        wait_until(lambda: anna.get("/api/v1/users").status_code == 401, 10, "the session has ended")
        text = site.logged()
        assert [secret for secret in (PASSWORD, *cookies.values()) if secret in text] == []
    refused = site.command("users", "reset-second-factor", "anna")  # while no broker runs
    assert (refused.returncode, "no second factor" in refused.stderr) == (1, True)
