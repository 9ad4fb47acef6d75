"""`broker tokens` with the real binary: a program gets a token, uses it over TCP, and is refused once it is revoked."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
from support.peers.tools import wait_until
from support.service.program import run
from support.service.site import Site


def tokens(site: Site, *arguments: str) -> str:
    done = run("tokens", *arguments, "--config", site.folder / "broker.toml", folder=site.folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_program_gets_a_token_and_loses_it(tmp_path: Path, database_url: str) -> None:
    site = Site(tmp_path / "site", database_url=database_url)
    before = tokens(site, "add", "monitor", "--role", "viewer").strip()  # while no broker runs
    with site:

        def status(token: str, path: str) -> int:
            answer = httpx.get(f"{site.web}/api/v1{path}", headers={"Authorization": f"Bearer {token}"}, timeout=30)
            return answer.status_code

        operator = tokens(site, "add", "ris-import", "--role", "operator", "--days", "2").strip()
        assert [status(before, "/holds"), status(before, "/mpps")] == [200, 403]
        assert [status(operator, "/mpps"), status(operator, "/messages"), status(operator, "/tokens")] == [
            200,
            403,
            403,
        ]
        assert status(operator[:-1] + "?", "/holds") == 401
        again = run(
            "tokens", "add", "monitor", "--role", "admin", "--config", site.folder / "broker.toml", folder=site.folder
        )
        assert again.returncode == 1
        assert "A token of this name is in force" in again.stderr
        listed = {one["name"]: one for one in json.loads(tokens(site, "list", "--json"))}
        assert {name: (one["role"], one["state"]) for name, one in listed.items()} == {
            "monitor": ("viewer", "active"), "ris-import": ("operator", "active"),
        }  # fmt: skip
        assert "ris-import" in tokens(site, "list")
        tokens(site, "revoke", str(listed["ris-import"]["id"]), "--reason", "the machine is gone")
        wait_until(lambda: status(operator, "/mpps") == 401, 10, "it is refused")
        assert status(before, "/holds") == 200
        assert operator not in site.logged()
        assert before not in site.logged()
    site.assert_private()
