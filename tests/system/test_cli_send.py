"""`broker echo` and `broker send` as programs, against DCMTK, pynetdicom, and peers that refuse or break off."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    MediaStorageDirectoryStorage,
    MRImageStorage,
)
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.pdu import A_ABORT_RQ
from pynetdicom.sop_class import Verification
from support.dicom.objects import SAMPLES, Encoded, ct_slice, from_sample
from support.peers.peers import orthanc, received, storescp
from support.peers.tools import ENVIRONMENT, free_port, wait_until
from support.service.program import run
from support.service.site import Site

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")  # the samples are odd on purpose
Handler = Callable[[Any], int]


def broker(*args: str | Path, cwd: Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    return run(*args, folder=cwd, environment={"PYTHONWARNINGS": "error"}, timeout=timeout)


def sent(*args: str | Path, cwd: Path, code: int) -> dict[str, Any]:
    """The summary of `broker send --json`, which is all that it prints."""
    done = broker("send", "--json", *args, cwd=cwd)
    assert done.returncode == code, done
    assert done.stderr == ""
    summary = json.loads(done.stdout)
    assert isinstance(summary, dict)
    assert summary["good"] == (code == 0)
    return summary


def put(folder: Path, *objects: Encoded) -> Path:
    """Write objects as files."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, thing in enumerate(objects):
        (folder / f"{number:04}").write_bytes(thing.part10())
    return folder


@contextmanager
def pynetdicom(
    on_store: Handler = lambda event: 0, contexts: tuple[Any, ...] = (CTImageStorage, Verification),
    syntaxes: Sequence[str] = (ExplicitVRLittleEndian, ImplicitVRLittleEndian),
    on_pdu: Callable[[Any], None] = lambda event: None, **more: Any,
) -> Iterator[str]:  # fmt: skip
    """A foreign SCP; its address as a NODE."""
    ae = AE(ae_title="PACS")
    for name, value in more.items():
        setattr(ae, name, value)
    for context in contexts:
        ae.add_supported_context(context, list(syntaxes))
    handlers = [(evt.EVT_C_STORE, on_store), (evt.EVT_PDU_RECV, on_pdu)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        yield f"PACS@127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()


# --- echo ------------------------------------------------------------------------------------------------


def test_echo_says_what_it_does(tmp_path: Path) -> None:
    with storescp(tmp_path / "pacs") as port:
        done = broker("echo", f"PACS@localhost:{port}", "--count", "3", cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert (done.returncode, len(lines)) == (0, 4)
    assert lines[0].startswith(f"PACS@localhost:{port}: connected and associated in ")
    assert [line.rsplit(" in ")[0] for line in lines[1:]] == [
        f"PACS@localhost:{port}: echo {n}: success (0000)" for n in (1, 2, 3)
    ]
    assert all(line.endswith(" ms") for line in lines)


def test_echo_says_why_not(tmp_path: Path) -> None:
    port = free_port()
    done = broker("echo", f"PACS@127.0.0.1:{port}", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"PACS@127.0.0.1:{port}: cannot connect\n")
    with pynetdicom(require_called_aet=True, require_calling_aet=["MODALITY"]) as node:
        done = broker("echo", node, cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.endswith(": rejected: calling AE title not recognized (1,1,3)\n")
        done = broker("echo", node.replace("PACS", "OTHER"), "--calling", "MODALITY", cwd=tmp_path)
        assert done.stderr.endswith(": rejected: called AE title not recognized (1,1,7)\n")
        assert broker("echo", node, "--calling", "MODALITY", cwd=tmp_path).returncode == 0
    with pynetdicom(contexts=(CTImageStorage,)) as node:
        done = broker("echo", node, cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.endswith(": the peer does not accept this SOP class\n")


def test_echo_waits_no_longer_than_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        done = broker("echo", f"PACS@127.0.0.1:{silent.getsockname()[1]}", "--timeout", "0.5", cwd=tmp_path, timeout=20)
    assert done.returncode == 1
    assert done.stderr.endswith(": no answer in time\n")


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        ("PACS@127.0.0.1", "PACS@127.0.0.1: not of the form AE@host:port"),
        ("@127.0.0.1:104", "@127.0.0.1:104: not of the form AE@host:port"),
        ("PACS@127.0.0.1:70000", "PACS@127.0.0.1:70000: not of the form AE@host:port"),
        ("SEVENTEENLETTERSX@127.0.0.1:104", "an AE title is 1 to 16 printable ASCII characters without backslash"),
        ("nobody", "node 'nobody': unknown; there are: archive"),
        ("ris", "node 'ris': no dicom node with host and port"),
        ("scanner", "node 'scanner': no dicom node with host and port"),
    ],
)
def test_what_is_no_node_is_a_configuration_error(tmp_path: Path, node: str, reason: str) -> None:
    (tmp_path / "site.toml").write_text(
        '[[node]]\nname = "archive"\nkind = "dicom"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = 104\n'
        '[[node]]\nname = "ris"\nkind = "hl7"\napplication = "RIS"\n'
        '[[node]]\nname = "scanner"\nkind = "dicom"\nae_title = "CT1"\n'
    )
    done = broker("echo", node, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("configuration error: ")
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "broker-data").exists()


def test_nodes_are_those_in_force_also_beside_a_running_broker(tmp_path: Path, database_url: str) -> None:
    """The database decides, not the file; and it is only read."""
    node = '[[node]]\nname = "archive"\nkind = "dicom"\nae_title = "PACS"\nhost = "127.0.0.1"\nport = {}\n'
    with storescp(tmp_path / "pacs") as port, Site(tmp_path, site=node.format(port), database_url=database_url) as site:
        config = tmp_path / "broker.toml"
        assert broker("echo", "archive", "--config", config, cwd=tmp_path).returncode == 0
        (tmp_path / "site.toml").write_text(node.format(1).replace("archive", "other"))
        done = broker("echo", "archive", "--config", config, cwd=tmp_path)
        assert (done.returncode, done.stdout.count("success")) == (0, 1)
        done = broker("echo", "other", "--config", config, cwd=tmp_path)
        assert done.returncode == 2
        assert "there are: archive" in done.stderr
        assert (
            broker("send", "archive", put(tmp_path / "in", ct_slice(512)), "-c", config, cwd=tmp_path).returncode == 0
        )
        site.stop()
        assert broker("echo", "archive", "--config", config, cwd=tmp_path).returncode == 0
    assert len(received(tmp_path / "pacs")) == 1


# --- send ------------------------------------------------------------------------------------------------


def test_folders_files_and_everything_that_is_no_dicom_file(tmp_path: Path) -> None:
    objects = [thing for path in sorted(SAMPLES.glob("*.dcm")) if (thing := from_sample(path))]
    chosen = [o for o in objects if o.transfer_syntax != DeflatedExplicitVRLittleEndian][:24]
    assert len({o.transfer_syntax for o in chosen}) > 4
    deep = put(tmp_path / "in" / "a" / "b c", *chosen[:20])
    put(tmp_path / "in", *chosen[20:-1])
    (deep / "notes.txt").write_text("no image")
    (deep / "empty").write_bytes(b"")
    (deep / "DICOMDIR").write_bytes(
        Encoded(MediaStorageDirectoryStorage, "1.2.3", ExplicitVRLittleEndian, b"x" * 8).part10()
    )
    os.mkfifo(deep / "pipe")
    (deep / "loop").symlink_to(tmp_path / "in")
    single = tmp_path / "one.dcm"
    single.write_bytes(chosen[-1].part10())
    with storescp(tmp_path / "pacs") as port:
        summary = sent(f"PACS@127.0.0.1:{port}", tmp_path / "in", single, cwd=tmp_path, code=0)
        wait_until(lambda: len(received(tmp_path / "pacs")) == 24, 10, "all are written")
    assert received(tmp_path / "pacs") == {o.sop_instance: o.data for o in chosen}
    assert (summary["files"], summary["sent"], summary["not_dicom"], summary["failed"]) == (24, 24, 4, 0)
    assert summary["bytes"] == sum(len(o.data) for o in chosen)


def test_several_associations_at_once(tmp_path: Path) -> None:
    objects = [ct_slice(2048) for _ in range(300)]
    associations: set[Any] = set()
    arrived: list[str] = []

    def on_store(event: Any) -> int:
        associations.add(event.assoc)
        arrived.append(str(event.request.AffectedSOPInstanceUID))
        return 0

    with pynetdicom(on_store) as node:
        summary = sent(node, put(tmp_path / "in", *objects), "--associations", "4", cwd=tmp_path, code=0)
    assert summary["sent"] == 300
    assert sorted(arrived) == sorted(o.sop_instance for o in objects)
    assert len(associations) == 4


def test_more_kinds_of_objects_than_fit_into_an_association(tmp_path: Path) -> None:
    """129 to 256 pairs of SOP class and transfer syntax need two."""
    classes = [context.abstract_syntax for context in AllStoragePresentationContexts[:75]]
    syntaxes = [ExplicitVRLittleEndian, JPEGBaseline8Bit]
    data = ct_slice(64).data
    objects = [
        Encoded(str(sop_class), f"1.2.3.{n}.{m}", syntax, data)
        for n, sop_class in enumerate(classes)
        for m, syntax in enumerate(syntaxes)
    ]
    associations: list[Any] = []

    def on_store(event: Any) -> int:
        if event.assoc not in associations:
            associations.append(event.assoc)
        return 0

    with pynetdicom(on_store, contexts=(*classes,), syntaxes=syntaxes) as node:
        assert sent(node, put(tmp_path / "in", *objects), cwd=tmp_path, code=0)["sent"] == 150
    assert len(associations) == 2


def test_the_summary_in_words(tmp_path: Path) -> None:
    """Refusals by status, warnings, contexts that are not accepted, damaged files; the rest arrives."""
    folder = put(tmp_path / "in", *(ct_slice(1024) for _ in range(10)))
    mr = ct_slice(1024, SOPClassUID=MRImageStorage)
    (folder / "mr").write_bytes(Encoded(MRImageStorage, mr.sop_instance, mr.transfer_syntax, mr.data).part10())
    (folder / "jpeg").write_bytes(Encoded(CTImageStorage, "1.2.3", JPEGBaseline8Bit, mr.data).part10())
    (folder / "torn\x1b[2J").write_bytes(ct_slice(1024).part10()[:200])
    (folder / "text").write_text("x")
    statuses = {3: 0xA700, 4: 0xB000, 5: 0xC123, 6: 0xA700}
    seen: list[Any] = []

    def on_store(event: Any) -> int:
        seen.append(event)
        return statuses.get(len(seen), 0)

    with pynetdicom(on_store) as node:
        done = broker("send", node, folder, cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (1, "")
    assert lines[0].startswith(f"{node}: 7 of 13 files sent, 0.0 MiB in ")
    assert lines[1:] == [
        "  1 with a warning: coercion of data elements (B000)",
        "  2 refused: out of resources (A700)",
        "  1 refused: cannot understand (C123)",
        "  2 without presentation context",
        "  1 failed",
        "  1 skipped, no DICOM file or a DICOMDIR",
        f"  {folder}/torn?[2J: the file header is cut off or too long",
        f"  {folder}/0002: out of resources (A700)",
        f"  {folder}/0004: cannot understand (C123)",
        f"  {folder}/0005: out of resources (A700)",
        f"  {folder}/jpeg: SOP class or transfer syntax not accepted",
        f"  {folder}/mr: SOP class or transfer syntax not accepted",
    ]


def test_only_the_first_failures_are_listed(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", *(ct_slice(64) for _ in range(30)))
    with pynetdicom(lambda event: 0xA900) as node:
        done = broker("send", node, folder, cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert lines[1] == "  30 refused: data set does not match SOP class (A900)"
    assert lines[-1] == "  … and 10 more"
    assert len(lines) == 1 + 1 + 20 + 1


def test_nothing_to_send_is_a_failure_and_a_missing_path_an_error(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    done = broker("send", "PACS@127.0.0.1:1", tmp_path / "in", cwd=tmp_path)
    assert done.returncode == 1
    assert "nothing to send" in done.stdout
    done = broker("send", "PACS@127.0.0.1:1", tmp_path / "nowhere", cwd=tmp_path)
    assert done.returncode == 2
    assert "nowhere" in done.stderr


def test_a_peer_that_is_away_or_refuses_the_association(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", *(ct_slice(64) for _ in range(5)))
    summary = sent(f"PACS@127.0.0.1:{free_port()}", folder, "--associations", "3", cwd=tmp_path, code=1)
    assert (summary["sent"], summary["unsent"], summary["trouble"]) == (0, 5, "cannot connect")
    with pynetdicom(require_called_aet=True) as node:
        done = broker("send", node.replace("PACS", "OTHER"), folder, cwd=tmp_path)
    assert done.returncode == 1
    assert "  5 not sent: rejected: called AE title not recognized (1,1,7)" in done.stdout.splitlines()


def test_a_peer_that_takes_fewer_associations_than_asked(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", *(ct_slice(64) for _ in range(50)))
    with pynetdicom(maximum_associations=2) as node:
        assert sent(node, folder, "--associations", "6", cwd=tmp_path, code=0)["sent"] == 50


def test_an_object_that_ends_its_association_does_not_stop_the_others(tmp_path: Path) -> None:
    objects = [ct_slice(512) for _ in range(6)]
    folder = put(tmp_path / "in", *objects)
    arrived: list[str] = []

    def on_store(event: Any) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        if uid == objects[2].sop_instance:
            event.assoc.abort()
        else:
            arrived.append(uid)
        return 0

    with pynetdicom(on_store) as node:
        summary = sent(node, folder, cwd=tmp_path, code=1)
    assert arrived == [o.sop_instance for o in objects if o is not objects[2]]
    assert (summary["sent"], summary["failed"], summary["unsent"]) == (5, 1, 0)
    assert summary["failures"] == [{"path": str(folder / "0002"), "reason": "the peer aborted the association"}]


def test_a_peer_that_ends_every_association_is_given_up(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", *(ct_slice(512) for _ in range(9)))

    def on_store(event: Any) -> int:
        event.assoc.abort()
        return 0

    with pynetdicom(on_store) as node:
        summary = sent(node, folder, cwd=tmp_path, code=1)
    assert (summary["sent"], summary["failed"], summary["unsent"]) == (0, 3, 6)
    assert summary["trouble"] == "the peer aborted the association"


def test_a_file_that_becomes_shorter_while_it_is_sent(tmp_path: Path) -> None:
    """Half an object can only be aborted; the others go on a new association."""
    objects = [ct_slice(512), ct_slice(24 * 1024 * 1024), ct_slice(512)]
    folder = put(tmp_path / "in", *objects)
    arrived: list[str] = []

    def on_store(event: Any) -> int:
        if not arrived:
            os.truncate(folder / "0001", 6 * 1024 * 1024)
        arrived.append(str(event.request.AffectedSOPInstanceUID))
        return 0

    with pynetdicom(on_store) as node:
        summary = sent(node, folder, cwd=tmp_path, code=1)
    assert arrived == [objects[0].sop_instance, objects[2].sop_instance]
    assert summary["failures"] == [{"path": str(folder / "0001"), "reason": "the file has become shorter"}]


def test_a_deflated_object_of_odd_length_is_padded(tmp_path: Path) -> None:
    thing = from_sample(SAMPLES / "image_dfl.dcm")
    assert thing is not None
    odd = thing.data.rstrip(b"\0")
    odd += b"" if len(odd) % 2 else b"\1"  # behind the end of the deflated stream
    folder = put(tmp_path / "in", Encoded(thing.sop_class, thing.sop_instance, thing.transfer_syntax, odd))
    with storescp(tmp_path / "pacs") as port:
        assert sent(f"PACS@127.0.0.1:{port}", folder, cwd=tmp_path, code=0)["sent"] == 1
        wait_until(lambda: received(tmp_path / "pacs"), 10, "it is written")
    assert received(tmp_path / "pacs") == {thing.sop_instance: odd + b"\0"}


def test_into_orthanc_and_into_a_running_broker(tmp_path: Path) -> None:
    objects = [ct_slice(256 * 1024) for _ in range(8)]
    folder = put(tmp_path / "in", *objects)
    with orthanc(tmp_path / "orthanc") as peer:
        assert sent(f"ORTHANC@127.0.0.1:{peer.dicom}", folder, cwd=tmp_path, code=0)["sent"] == 8
        assert peer.count() == 8
    with Site(tmp_path / "site") as site:
        node = f"BROKER@127.0.0.1:{site.dicom}"
        assert sent(node, folder, "--associations", "2", cwd=tmp_path, code=0)["sent"] == 8


def test_a_large_object_takes_no_memory(tmp_path: Path) -> None:
    """Streamed from the file: the peak does not grow with the object (here 300 MiB)."""
    head = ct_slice(1024).part10()
    large = tmp_path / "large.dcm"
    size = 300 * 1024 * 1024
    with large.open("wb") as file:
        file.write(head[: head.rindex(b"\xe0\x7f\x10\x00")] + b"\xe0\x7f\x10\x00OW\0\0" + size.to_bytes(4, "little"))
        file.truncate(file.tell() + size)
    peak = 0
    with storescp(tmp_path / "pacs", "--ignore") as port:
        process = subprocess.Popen(
            [sys.executable, "-m", "broker", "send", f"PACS@127.0.0.1:{port}", str(large)], cwd=tmp_path,
            env=ENVIRONMENT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        watched = psutil.Process(process.pid)

        def ended() -> bool:
            nonlocal peak
            if process.poll() is None:
                peak = max(peak, watched.memory_info().rss)
            return process.poll() is not None

        wait_until(ended, 60, "it is sent")
        out, _ = process.communicate()
    assert process.returncode == 0, out
    assert "1 of 1 files sent, 300.0 MiB" in out
    assert 0 < peak < 140 * 1024 * 1024


# --- people ----------------------------------------------------------------------------------------------


def test_interrupted_it_aborts_and_tells_what_it_did(tmp_path: Path) -> None:
    """In the middle of an object: its answer is held back until the peer has been told."""
    folder = put(tmp_path / "in", *(ct_slice(512) for _ in range(60)))
    arrived: list[Any] = []
    told = threading.Event()
    sockets: list[socket.socket] = []

    def on_store(event: Any) -> int:
        if not sockets:
            sockets.append(event.assoc.dul.socket.socket)
        arrived.append(event.request.AffectedSOPInstanceUID)
        if len(arrived) == 21:
            process.send_signal(signal.SIGINT)
            told.wait(20)
        return 0

    def on_pdu(event: Any) -> None:
        if isinstance(event.pdu, A_ABORT_RQ):
            told.set()

    with pynetdicom(on_store, on_pdu=on_pdu) as node:
        process = subprocess.Popen(
            [sys.executable, "-m", "broker", "send", "--json", node, str(folder)], cwd=tmp_path, env=ENVIRONMENT,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        out, err = process.communicate(timeout=60)
        assert told.is_set()
    sockets[0].close()  # the library forgets it when the peer has gone already
    assert (process.returncode, err) == (130, "")
    summary = json.loads(out)
    assert (summary["interrupted"], summary["sent"], len(arrived)) == (True, 20, 21)


def test_on_a_terminal_there_is_a_bar(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", *(ct_slice(256 * 1024) for _ in range(40)))
    ours, theirs = pty.openpty()
    with pynetdicom() as node:
        process = subprocess.Popen(
            [sys.executable, "-m", "broker", "send", node, str(folder)], cwd=tmp_path, stderr=theirs,
            stdout=subprocess.PIPE, env={**ENVIRONMENT, "TERM": "xterm", "COLUMNS": "150"}, text=True,
        )  # fmt: skip
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:  # Linux tells the end of a terminal like this
            pass
        out, _ = process.communicate(timeout=30)
    os.close(ours)
    assert process.returncode == 0
    assert out.startswith(f"{node}: 40 of 40 files sent, 10.0 MiB in ")
    assert b"/40 files" in shown
    assert b"/10.0 MiB" in shown


def test_help_is_quick_and_names_both(tmp_path: Path) -> None:
    done = broker("--help", cwd=tmp_path)
    assert "echo" in done.stdout
    assert "send" in done.stdout
