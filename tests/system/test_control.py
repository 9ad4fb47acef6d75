"""The control socket and the doors of the web, with the real binary."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import signal
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.peers.tools import ENVIRONMENT, wait_until
from support.service import program
from support.service.site import Site

from broker.admin.json_text import DEPTH
from broker.cli.asking import control
from broker.cli.asking.patience import WAITING
from broker.errors import ConfigurationError, PeerFault
from broker.settings import Settings, load

TOKEN = "a-token-of-the-tests-0123456789"
OPEN = ["/metrics", "/health/live", "/health/ready", "/static/shell.css"]


def settings_of(site: Site) -> Settings:
    return load(site.folder / "broker.toml")


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A broker whose control socket others use."""
    with Site(tmp_path_factory.mktemp("busy") / "site") as running:
        yield running


def test_commands_reach_the_running_broker_alone_over_the_socket(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    settings = settings_of(site)
    assert control.call(settings, "GET", "/api/v1/status") is None
    with site:
        path = site.data / "control.sock"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(site.data.stat().st_mode) == 0o700
        answer = control.call(settings, "GET", "/api/v1/status")
        assert answer is not None
        assert answer.good
        assert answer.body["health"] == "ok"
        missing = control.call(settings, "GET", "/api/v1/nothing")
        assert missing is not None
        assert (missing.status, missing.problem) == (404, "Not Found")
        with pytest.raises(ConfigurationError, match="in use"), control.alone(settings):
            pass
    assert not path.exists()
    assert control.call(settings, "GET", "/api/v1/status") is None
    with control.alone(settings) as database:
        database.ping().result()


def test_a_stale_socket_is_replaced_and_a_folder_is_closed_to_others(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    site.start()
    site.kill()
    assert (site.data / "control.sock").exists()
    assert control.call(settings_of(site), "GET", "/api/v1/status") is None
    site.data.chmod(0o755)
    with site:
        assert stat.S_IMODE(site.data.stat().st_mode) == 0o700
        assert control.call(settings_of(site), "GET", "/health/live") == control.ServerAnswer(200, "ok\n")


def test_a_long_path_is_shortened(tmp_path: Path) -> None:
    with Site(tmp_path / ("long" * 40) / "site") as site:
        assert len(str(site.data / "control.sock")) > 108
        assert control.call(settings_of(site), "GET", "/health/live") == control.ServerAnswer(200, "ok\n")
    assert not (site.data / "control.sock").exists()


def test_a_socket_that_does_not_speak_is_an_error(tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    site.data.mkdir()
    with socket.socket(socket.AF_UNIX) as dumb, control.address(site.data) as short:
        dumb.bind(short)
        dumb.listen(1)
        dumb.settimeout(20)
        control_timeout, control.TIMEOUT = control.TIMEOUT, 0.2
        try:
            with pytest.raises(PeerFault, match="does not answer: ReadTimeout"):
                control.call(settings_of(site), "GET", "/api/v1/status")
        finally:
            control.TIMEOUT = control_timeout


def test_what_is_not_open_needs_the_token(tmp_path: Path) -> None:
    with (
        Site(tmp_path / "site", config={"web": {"port": 0, "admin_token": TOKEN}}) as site,
        httpx.Client(base_url=site.web, timeout=20) as http,
    ):
        for path in OPEN:
            assert http.get(path).status_code == 200, path
        wrong = ["", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", TOKEN]
        for given in wrong:
            for method, path in (("GET", "/api/v1/nothing"), ("POST", "/api/v1/orders"), ("GET", "/api/v1/status")):
                refused = http.request(method, path, headers={"Authorization": given} if given else {})
                assert refused.status_code == 401, (given, path)
                assert refused.headers["WWW-Authenticate"].startswith("Bearer")
                assert refused.headers["Content-Type"] == "application/problem+json"
                assert refused.headers["X-Content-Type-Options"] == "nosniff"
        for given in (f"Bearer {TOKEN}", f"bearer  {TOKEN}"):
            assert http.get("/api/v1/nothing", headers={"Authorization": given}).status_code == 404


def test_nobody_enters_over_tcp_without_a_token_in_the_configuration(tmp_path: Path) -> None:
    with Site(tmp_path / "site") as site, httpx.Client(base_url=site.web, timeout=20) as http:
        for given in ("", "Bearer", "Bearer x"):
            assert http.get("/api/v1/nothing", headers={"Authorization": given}).status_code == 401
        local = httpx.Client(transport=httpx.HTTPTransport(uds=str(site.data / "control.sock")), base_url="http://b")
        with local:
            assert local.get("/api/v1/nothing").status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" * (DEPTH + 1) + b"]" * (DEPTH + 1), 400),
        (b'{"a":' * 300_000, 413),
        (b'{"a":' * 30_000, 400),
        (b'"' + b'\\"' * 500_000, 405),  # one string without end: nothing is nested
        (b'{"a": "[[[[[[[[[[[[[[[[[[[[[[[[[[["}', 405),
        ('{"a": 1}'.encode("utf-16"), 400),
        (b'{"a": "\xff"}', 400),
        (b" " * (1024 * 1024 + 1), 413),
    ],
)
def test_bodies_are_bounded(body: bytes, status: int, shared: Site) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    for content in (body, (body[i : i + 65536] for i in range(0, len(body), 65536))):  # with its length, and chunked
        answer = httpx.post(f"{shared.web}/api/v1/status", content=content, headers=headers, timeout=20)
        assert answer.status_code == status
        assert answer.headers["Content-Type"] == "application/problem+json"
    assert httpx.get(f"{shared.web}/health/ready", timeout=20).json()["status"] == "ok"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("control")
    with Site(folder / "site", config={"web": {"port": 0, "admin_token": TOKEN}}) as site:
        yield site


def test_the_socket_knows_who_calls(shared: Site) -> None:
    from broker.service import control as server

    class Transport:
        def __init__(self, end: socket.socket) -> None:
            self._end = end

        def get_extra_info(self, name: str) -> socket.socket:
            assert name == "socket"
            return self._end

    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        assert server._user(Transport(one)) == getpass.getuser()  # type: ignore[arg-type]


@pytest.mark.parametrize("token", ["short", "fifteen-letters", "sixteen letters and a space", "ümlaute-in-a-token"])
def test_a_token_that_can_be_guessed_or_not_be_sent_is_refused(token: str, tmp_path: Path) -> None:
    (tmp_path / "broker.toml").write_text(f"[web]\nadmin_token = {json.dumps(token)}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"web\.admin_token: at least 16") as failed:
        load(tmp_path / "broker.toml")
    assert token not in str(failed.value)
    assert os.environ.get("BROKER_WEB__ADMIN_TOKEN") is None


@contextlib.contextmanager
def seats_taken(site: Site, sent: bytes, count: int = 40) -> Iterator[None]:
    """So many connections to the control socket, each of which sends this and no more, and reads nothing."""
    with contextlib.ExitStack() as held, control.address(site.data) as short:
        for _ in range(count):
            one = held.enter_context(socket.socket(socket.AF_UNIX))
            one.settimeout(20)
            one.connect(short)
            with contextlib.suppress(BrokenPipeError):
                one.sendall(sent)
        yield


HALF_BODY = (
    b"POST /api/v1/rules/check HTTP/1.1\r\nHost: b\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
)
UNREAD = b"GET /api/openapi.json HTTP/1.1\r\nHost: b\r\n\r\n" * 4


@pytest.mark.parametrize("sent", [b"", b"GET /api/v1/status HTTP/1.1\r\nHo", HALF_BODY], ids=["silent", "head", "body"])
def test_who_hangs_at_the_control_socket_gives_way(busy: Site, sent: bytes) -> None:
    with seats_taken(busy, sent):
        answer = control.call(settings_of(busy), "GET", "/api/v1/status")
        assert answer is not None
        assert answer.good


def test_where_all_seats_are_busy_it_is_said_at_once(busy: Site) -> None:
    with seats_taken(busy, UNREAD, 200):
        began = time.monotonic()
        answer = control.call(settings_of(busy), "GET", "/api/v1/status")
        assert answer is not None
        assert (answer.status, answer.problem) == (
            503, "All connections of this machine to the broker are taken: try again",
        )  # fmt: skip
        assert time.monotonic() - began < 10  # of 15 that a call may take; much less on a machine of one's own
        done = busy.command("status")
        assert (done.returncode, done.stderr.strip()) == (1, answer.problem)
    wait_until(lambda: busy.command("status").returncode == 0, 20, "it answers again")


def test_who_waits_for_the_broker_is_told_so(busy: Site) -> None:
    assert busy.process is not None
    busy.process.send_signal(signal.SIGSTOP)
    said, told = busy.folder / "said", busy.folder / "told"
    words = ("status", "--config", busy.folder / "broker.toml")
    try:
        with said.open("wb") as out, told.open("wb") as err:
            asking = program.start(*words, folder=busy.folder, environment=ENVIRONMENT, stdout=out, stderr=err)
        wait_until(lambda: told.read_text(encoding="utf-8").strip() == WAITING, 30, "it is said")
        assert asking.poll() is None
    finally:
        busy.process.send_signal(signal.SIGCONT)
    assert asking.wait(60) == 0
    assert said.read_text(encoding="utf-8").startswith("All well")
