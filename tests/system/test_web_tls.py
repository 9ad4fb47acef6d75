"""HTTPS on the port of the web, with the real binary, and a proxy before it."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.certificates import Authority
from support.peers.tools import wait_until
from support.service.people import PASSWORD, added
from support.service.site import Site

from broker.accounts.roles import UserRole
from broker.store.db.database import Database

HERE = "127.0.0.1"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def site(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    own = authority.issue(HERE)
    tls = {"certificate": str(own.certificate), "key": str(own.key)}
    made = Site(
        tmp_path_factory.mktemp("https") / "site",
        config={"web.tls": tls, "limits": {"tls_handshake_timeout": 1}},
    )
    with made as running:
        yield running


def port_of(site: Site) -> int:
    return int(site.listeners["web"][0][1])


def client(site: Site, authority: Authority) -> httpx.Client:
    context = ssl.create_default_context(cafile=str(authority.ca))
    return httpx.Client(base_url=f"https://{HERE}:{port_of(site)}", verify=context, timeout=30)


def test_the_web_speaks_https_and_nothing_less(site: Site, authority: Authority) -> None:
    with client(site, authority) as https:
        answer = https.get("/sign-in")
        assert answer.status_code == 200
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://{HERE}:{port_of(site)}/health/live", timeout=10)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(authority.ca)
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.set_ciphers("AES128-SHA256:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError), socket.create_connection((HERE, port_of(site)), 10) as plain:
        old.wrap_socket(plain, server_hostname=HERE)


def test_the_link_and_the_cookie_are_those_of_https(site: Site, authority: Authority) -> None:
    wait_until(lambda: f"https://{HERE}:{port_of(site)}/first/" in site.logged(), 20, "the link is printed")
    with client(site, authority) as https:
        [path] = [
            line.strip().partition(f":{port_of(site)}")[2] for line in site.logged().splitlines() if "/first/" in line
        ]
        form = {"name": "anna", "password": PASSWORD, "again": PASSWORD}
        answer = https.post(path, data=form, headers={"Sec-Fetch-Site": "same-origin"})
        assert answer.status_code == 303
        assert answer.headers["Set-Cookie"].startswith("__Host-broker_session=")
        assert "Secure" in answer.headers["Set-Cookie"]
        assert https.get("/").status_code == 200


def test_who_does_not_finish_the_handshake_must_go(site: Site, authority: Authority) -> None:
    silent = [socket.create_connection((HERE, port_of(site)), 10) for _ in range(30)]  # more than one address may
    half = socket.create_connection((HERE, port_of(site)), 10)
    half.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
    for connection in (*silent, half):
        connection.settimeout(10)
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b""
        connection.close()
    with client(site, authority) as https:
        assert https.get("/health/live").text == "ok\n"


def test_what_is_pipelined_after_the_handshake_is_answered(site: Site, authority: Authority) -> None:
    context = ssl.create_default_context(cafile=str(authority.ca))
    connection = http.client.HTTPSConnection(HERE, port_of(site), timeout=20, context=context)
    for _ in range(3):
        connection.request("GET", "/health/live")
        assert connection.getresponse().read() == b"ok\n"
    connection.close()


def test_a_certificate_that_cannot_be_used_is_named_at_the_start(authority: Authority, tmp_path: Path) -> None:
    own, other = authority.issue(HERE), authority.issue("other")
    made = Site(tmp_path / "site", config={"web.tls": {"certificate": str(own.certificate), "key": str(other.key)}})
    made.launch()
    assert made.process is not None
    assert made.process.wait(30) == 2
    assert "web.tls.key" in made.logged()


def test_behind_a_trusted_proxy_the_address_is_that_of_the_browser(tmp_path: Path) -> None:
    made = Site(tmp_path / "site", config={"web": {"port": 0, "proxy": ["127.0.0.0/8"]}})
    with made as site:
        database = Database(f"sqlite:///{site.data / 'broker.db'}")
        added(database, "ben", UserRole.VIEWER, time.time())
        database.close()
        told = {
            "X-Forwarded-For": "203.0.113.1, 198.51.100.7",
            "X-Forwarded-Proto": "https",
            "Sec-Fetch-Site": "same-origin",
        }
        with httpx.Client(base_url=site.web, timeout=30) as browser:
            answer = browser.post("/sign-in", data={"name": "ben", "password": PASSWORD}, headers=told)
            assert answer.status_code == 303
            assert answer.headers["Set-Cookie"].startswith("__Host-broker_session=")
        assert site.rows("SELECT address FROM user_session") == [("198.51.100.7",)]
