"""Foreign DICOM peers: pynetdicom as sender, DCMTK's storescp and Orthanc as destinations."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydicom.uid import UID
from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.presentation import build_context

import support.peers.pausing  # noqa: F401
from support.dicom.objects import Encoded
from support.peers.tools import background, free_port, listens, tool

_config.STORE_SEND_CHUNKED_DATASET = True  # a path is sent byte by byte, without decoding
_config.LOG_HANDLER_LEVEL = "none"


@contextmanager
def association(
    port: int, pairs: Sequence[tuple[str, str]], *, called: str = "BROKER", calling: str = "MODALITY"
) -> Iterator[Association]:
    """A pynetdicom association proposing one context per (SOP class, transfer syntax)."""
    ae = AE(ae_title=calling)
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = 60
    contexts = [build_context(UID(abstract), UID(syntax)) for abstract, syntax in dict.fromkeys(pairs)]
    found = ae.associate("127.0.0.1", port, contexts=contexts, ae_title=called)
    try:
        yield found
    finally:
        if found.is_established:
            found.release()
        found.join(10)
        wire = found.dul.socket  # left open by the library when the peer was killed
        if wire is not None and wire.socket is not None:
            wire.socket.close()


def send(port: int, objects: Sequence[Encoded], folder: Path, **names: str) -> list[int]:
    """Send objects in their own transfer syntaxes over one association (128 contexts at most); the statuses."""
    statuses = []
    with association(port, [(o.sop_class, o.transfer_syntax) for o in objects], **names) as assoc:
        assert assoc.is_established
        for item in objects:
            path = folder / "sending.dcm"
            path.write_bytes(item.part10())
            response = assoc.send_c_store(path)
            statuses.append(response.Status if "Status" in response else -1)
    return statuses


@contextmanager
def sink(sop_class: str, syntaxes: Sequence[str]) -> Iterator[tuple[int, dict[str, Encoded]]]:
    """A pynetdicom provider of one storage class: its port, and what it has taken, by SOP Instance UID."""
    kept: dict[str, Encoded] = {}

    def keep(event: evt.Event) -> int:
        request, syntax = event.request, str(event.context.transfer_syntax)
        uid = str(request.AffectedSOPInstanceUID)
        kept[uid] = Encoded(str(request.AffectedSOPClassUID), uid, syntax, request.DataSet.getvalue())
        return 0

    ae = AE("SINK")
    ae.add_supported_context(sop_class, list(syntaxes))
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
    try:
        yield server.socket.getsockname()[1], kept
    finally:
        server.shutdown()


@contextmanager
def storescp(folder: Path, *options: str, port: int = 0) -> Iterator[int]:
    """DCMTK's storescp that writes what it receives, bit by bit, into `folder`; its port."""
    folder.mkdir(exist_ok=True)
    port = port or free_port()
    every = [] if "-xf" in options else ["--promiscuous", "+xa"]  # a file says itself what is taken
    arguments = ["--bit-preserving", *every, "+uf", "-od", str(folder), *options, str(port)]
    with background("storescp", *arguments, ready=lambda: listens(port), cwd=folder.parent):
        yield port


def received(folder: Path) -> dict[str, bytes]:
    """Data set bytes by SOP Instance UID of the files that storescp wrote."""
    found = {}
    for path in folder.iterdir():
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            continue  # renamed under our eyes
        if raw[128:132] != b"DICM" or len(raw) < 144:
            continue  # being written
        length = int.from_bytes(raw[140:144], "little")
        meta, data = raw[144 : 144 + length], raw[144 + length :]
        start = meta.index(b"\x02\x00\x03\x00UI") + 8
        size = int.from_bytes(meta[start - 2 : start], "little")
        found[meta[start : start + size].rstrip(b"\0").decode()] = data
    return found


class Orthanc:
    """Debian's Orthanc with an empty storage."""

    def __init__(self, dicom: int, http: int) -> None:
        self.dicom, self.http = dicom, http

    def get(self, path: str) -> Any:
        """GET of its REST API: JSON, or bytes of a file."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}{path}", timeout=30) as answer:
            body = answer.read()
            return json.loads(body) if "json" in answer.headers.get("Content-Type", "") else body

    def post(self, path: str, body: Any) -> Any:
        """POST of JSON, or of bytes, to its REST API; the JSON it answers."""
        return self._send("POST", path, body)

    def put(self, path: str, body: Any) -> None:
        """PUT of JSON to its REST API."""
        self._send("PUT", path, body)

    def _send(self, method: str, path: str, body: Any) -> Any:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", data, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or "null")

    def count(self) -> int:
        """Number of instances it holds."""
        return int(self.get("/statistics")["CountInstances"])

    def answers(self) -> bool:
        """Its REST API is up."""
        try:
            self.get("/system")
        except (urllib.error.URLError, OSError):
            return False
        return True


@contextmanager
def orthanc(folder: Path, **more: Any) -> Iterator[Orthanc]:
    """Run Orthanc until the end of the block."""
    folder.mkdir(exist_ok=True)
    peer = Orthanc(free_port(), free_port())
    configuration = {
        "Name": "PACS", "StorageDirectory": str(folder / "storage"), "IndexDirectory": str(folder / "index"),
        "DicomAet": "ORTHANC", "DicomPort": peer.dicom, "HttpPort": peer.http, "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False, "DicomServerEnabled": True, "DicomCheckCalledAet": False,
        "UnknownSopClassAccepted": True, "DicomAlwaysAllowStore": True, "Plugins": [], "OverwriteInstances": True,
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(configuration | more))
    tool("Orthanc")
    with background("Orthanc", str(folder / "orthanc.json"), ready=peer.answers, cwd=folder):
        yield peer
