"""S3-compatible storage by moto's server, and in front of it one that fails as a test says.

What stands in front checks the content as real storage does (Content-MD5, the SHA-256 that is signed), which moto does
not, and passes on all that no script is for.
"""

from __future__ import annotations

import atexit
import http.client
import logging
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from hashlib import md5, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from moto.moto_server.threaded_moto_server import ThreadedMotoServer
from moto.s3 import models

BUCKET, ACCESS_KEY, SECRET = "images", "AKIATEST", "s3cret/key"
Script = Callable[["S3Request"], object]


class S3Request:
    """One request, and how to answer it."""

    def __init__(self, handler: BaseHTTPRequestHandler, body: bytes, back: int) -> None:
        self._handler, self.body, self._back = handler, body, back
        self.method, self.path = handler.command, handler.path
        self.headers = {name.lower(): value for name, value in handler.headers.items()}

    def say(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answer."""
        self._handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self._handler.send_header(name.replace("_", "-"), value)
        self._handler.end_headers()
        if self.method != "HEAD":
            self._handler.wfile.write(body)

    def fail(self, status: int, code: str, **headers: str) -> None:
        """An error of S3."""
        self.say(status, f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode(), **headers)

    def altered(self) -> None:
        """Its content was changed on its way: storage sees that by the checksums."""
        self.body = self.body[:-1] + bytes([self.body[-1] ^ 1])
        self.keep()

    def keep(self) -> None:
        """Do what it asks for, if its content is as it says."""
        given = self.headers.get("content-md5")
        if given is not None and given != b64encode(md5(self.body).digest()).decode():
            return self.fail(400, "BadDigest")
        if self.headers["x-amz-content-sha256"] != sha256(self.body).hexdigest():
            return self.fail(400, "XAmzContentSHA256Mismatch")
        connection = http.client.HTTPConnection("127.0.0.1", self._back, timeout=30)
        try:
            connection.request(self.method, self.path, self.body, dict(self._handler.headers.items()))
            answer = connection.getresponse()
            status, body = answer.status, answer.read()
            length = answer.getheader("Content-Length", "0") if self.method == "HEAD" else str(len(body))
            headers = {
                n: v for n, v in answer.getheaders() if n.lower() not in ("content-length", "connection", "date")
            }
        finally:
            connection.close()
        return self.say(status, body, **(headers | {"Content-Length": length}))


class S3Store:
    """The storage: what came, and what is done. Each of `script` once for a request with its method, then it keeps.

    None breaks off within a request.
    """

    def __init__(self, client: Any, back: int) -> None:
        self.client, self.back, self.port, self.scheme = client, back, 0, "http"
        self.script: list[tuple[str, Script | None]] = []
        self.requests: list[S3Request] = []
        self.over = threading.Event()

    @property
    def url(self) -> str:
        """The address of the storage."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def table(self, folder: Path, **more: Any) -> dict[str, Any]:
        """The table `s3` of a node; its secret stands in a file of the folder."""
        (folder / "s3.secret").write_text(SECRET + "\n")
        return {"bucket": BUCKET, "access_key": ACCESS_KEY, "secret_key_file": str(folder / "s3.secret")} | more

    def files(self) -> dict[str, bytes]:
        """What is in the bucket, read by boto3."""
        listed = self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return {one["Key"]: self.client.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read() for one in listed}

    def uploads(self) -> int:
        """Uploads in parts that have not ended."""
        return len(self.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", []))

    def next_step(self, method: str) -> Script | None:
        """What is done with a request."""
        for number, (name, _) in enumerate(self.script):
            if name == method:
                return self.script.pop(number)[1]
        return S3Request.keep


@cache
def _moto() -> tuple[str, int]:
    """Where moto's server listens: one for all tests of a process."""
    models.S3_UPLOAD_PART_MIN_SIZE = 1 << 20  # type: ignore[attr-defined]  # tests need no large objects
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    atexit.register(server.stop)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    host, port = server.get_host_and_port()
    return host, port


@contextmanager
def s3_service(*script: tuple[str, Script | None], tls: ssl.SSLContext | None = None) -> Iterator[S3Store]:
    """Storage on a loopback port, with an empty bucket."""
    host, back = _moto()
    client = boto3.client(
        "s3", endpoint_url=f"http://{host}:{back}", region_name="us-east-1", aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET, config=Config(retries={"max_attempts": 0}, s3={"addressing_style": "path"}),
    )  # fmt: skip
    with closing(http.client.HTTPConnection(host, back, timeout=30)) as connection:
        connection.request("POST", "/moto-api/reset")
        connection.getresponse().read()
    client.create_bucket(Bucket=BUCKET)
    store = S3Store(client, back)
    store.script = [*script]
    with _front(store, tls):
        yield store


@contextmanager
def _front(store: S3Store, tls: ssl.SSLContext | None) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _do(self) -> None:
            step = store.next_step(self.command)
            if step is None:
                self.rfile.read(100)
                self.close_connection = True
                return
            request = S3Request(self, self.rfile.read(int(self.headers.get("Content-Length", "0"))), store.back)
            store.requests.append(request)
            step(request)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _do

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: object) -> None:
            pass  # a client that went

    with Server(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
            store.scheme = "https"
        store.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            store.over.set()
            server.shutdown()
            thread.join()
