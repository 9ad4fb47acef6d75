"""Takes one file through reception by what its header says: the same checks, rules and transaction as for a C-STORE.

The broker's own file gets a second name in the spool, or is copied where the disk knows no such thing. It is removed
after the commit, unless a row knows it by then. Whatever kills us in between, the file is there, or a row is: the next
run goes on, and what was committed is a duplicate then.

No sender stands behind the file that could be asked again. So more is left alone than at the door: bytes that a row has
otherwise, and what is older than the bytes that are known of the same object.
"""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Container, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256

from broker.dicom.dataset import part10
from broker.dicom.dataset.part10 import FileHeader
from broker.dicom.dataset.scan import scan
from broker.dicom.dataset.walk import Buffer
from broker.dicom.dimse.message import PeerAE
from broker.dicom.dimse.served import ServiceOffer, storage
from broker.errors import BadContent, SpoolUnavailable
from broker.routing.reception import IncomingObject, Reception
from broker.routing.recording import ReceptionOutcome
from broker.settings import Settings
from broker.store.db.database import Database
from broker.store.images import instances, linked_file
from broker.store.images.instances import EarlierVersion, InstanceState
from broker.store.images.spool import Spool, SpoolFile

PURGED, GONE, CLAIMED = "purged", "gone", "known"  # what becomes of a file beside the outcomes of a reception
_PIECE = 1 << 20  # bytes copied at once
_ROWS = 0x00280010  # what has them has pixels, of one of these kinds or elsewhere
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010, 0x56000020, 0x00287FE0})
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not make us wait
_FAULTS = {
    "symlink": "a symbolic link: it is not followed",
    "too-deep": "too many folders in one another",
    "unreadable": "cannot be read",
    "special": "not a regular file",
    "empty": "an empty file",
    "no-dicom": "no DICOM file",
    "no-sender": "its header names no sender: send it to the broker, with `broker send`",
    "other-broker": "it was sent to another AE title than ours: if it is to come here, send it with `broker send`",
    "not-stored": "its SOP class or transfer syntax is not received",
    "too-large": "larger than [limits] dicom_object",
    "no-pixels": "cut short, an image without its pixels: have its modality send it again",
    "altered": "its bytes are not those that were received under this name: use a copy from elsewhere",
    "older": "the database knows the same object with other bytes that came later: those stay in force",
    "not-removed": "taken in, but the file cannot be removed",
}


class FileLeft(Exception):
    """A file that stays where it is. `code` says why; `text` in words. `outcome`: it was taken in all the same."""

    def __init__(self, code: str, text: str = "", outcome: str = "") -> None:
        super().__init__(code)
        self.outcome = outcome
        self.code = code
        self.text = text or _FAULTS.get(code, code)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptingDoor:
    """Where files go in: the reception of C-STORE, what that door takes, and the broker's own AE title.

    `most`: bytes of a data set.
    """

    database: Database
    reception: Reception
    spool: Spool
    offer: ServiceOffer
    title: str
    most: int


def door_of(settings: Settings, database: Database, reception: Reception, spool: Spool) -> AdoptingDoor:
    """The door of a broker with these settings."""
    offer, title = storage(settings.dicom.private_sop_classes), settings.dicom.ae_title
    most = settings.limits.dicom_object
    return AdoptingDoor(database=database, reception=reception, spool=spool, offer=offer, title=title, most=most)


@dataclass(frozen=True, slots=True)
class StrayFile:
    """A file of an open folder. `ours`: it goes away once it is taken in.

    `row`: the row of this path has lost its file, and this may be it. `spooled`: its path, if it lies in the spool
    where receptions put theirs.
    """

    folder: int
    name: str
    ours: bool
    row: str = ""
    spooled: str = ""


def adopt(door: AdoptingDoor, file: StrayFile) -> str:
    """Take in a file; what it was, as `ReceptionOutcome`, PURGED, GONE or CLAIMED.

    Raises FileLeft, StoreUnavailable.
    """
    try:
        descriptor = os.open(file.name, _OPEN, dir_fd=file.folder)
    except FileNotFoundError:
        return GONE
    except OSError as error:
        raise _unreadable(error) from None
    try:
        info = os.fstat(descriptor)
        try:
            outcome = _received(door, file, descriptor, info)
        except BadContent as error:
            raise FileLeft(error.code, f"no whole DICOM object ({error}): have its modality send it again") from None
        except SpoolUnavailable as error:
            raise FileLeft(error.code, str(error)) from None
        except OSError as error:
            raise _unreadable(error) from None
    finally:
        os.close(descriptor)
    if file.spooled and door.database.read(instances.known_paths, [file.spooled]).result():
        return CLAIMED  # its own reception has ended meanwhile: one of both was the duplicate
    if file.ours and outcome != PURGED:
        _remove(file, info, outcome)
    return outcome


def _unreadable(error: OSError) -> FileLeft:
    return FileLeft("unreadable", f"cannot be read: {error.strerror or error}")


def _received(door: AdoptingDoor, file: StrayFile, descriptor: int, info: os.stat_result) -> str:
    header = _header(door, descriptor)
    peer = PeerAE(header.source_ae, header.receiving_ae or door.title, header.source_address)
    arrival = IncomingObject(header.sop_class, header.sop_instance, header.transfer_syntax, peer)
    arrival.check()
    try:
        if header.length <= door.reception.small:
            data = b"".join(_pieces(descriptor, header))
            _check_pixels(data, header)
            if _purged(door, arrival, sha256(data).digest(), file, info):
                return PURGED
            return door.reception.whole(arrival, data)
        spooled = _linked(door, file, descriptor, header) if file.ours else None
        if spooled is None:
            spooled = _copied(door, arrival, descriptor, header)
        try:
            _check_file(spooled, header)
            purged = _purged(door, arrival, spooled.digest, file, info)
        except BaseException:
            spooled.abandon()
            raise
        if purged:
            spooled.abandon()
            return PURGED
        outcome = door.reception.complete(arrival, spooled)
        if outcome != ReceptionOutcome.DUPLICATE:
            with suppress(OSError):  # it says when the object came, see `_came`
                os.utime(spooled.path, ns=(info.st_atime_ns, info.st_mtime_ns))
        return outcome
    finally:
        door.reception.parted(peer, released=False)  # more of its studies may come: they are complete when it is quiet


def _header(door: AdoptingDoor, descriptor: int) -> FileHeader:
    info = os.fstat(descriptor)
    if not stat.S_ISREG(info.st_mode):
        raise FileLeft("special")
    if not info.st_size:
        raise FileLeft("empty")
    with open(descriptor, "rb", buffering=0, closefd=False) as file:
        header = part10.read_open(file)
    if header is None:
        raise FileLeft("no-dicom")
    if not header.source_ae:
        raise FileLeft("no-sender")
    if header.receiving_ae not in ("", door.title):
        raise FileLeft("other-broker")
    if header.sop_class not in door.offer.classes or door.offer.choose([header.transfer_syntax]) is None:
        raise FileLeft("not-stored")
    if header.length > door.most:
        raise FileLeft("too-large")
    return header


def _linked(door: AdoptingDoor, file: StrayFile, descriptor: int, header: FileHeader) -> SpoolFile | None:
    """The file under a second name in the spool; None if it must be copied."""
    door.spool.check_room(0)
    if not linked_file.may_link(door.spool, descriptor):
        return None
    return linked_file.link(door.spool, file.folder, file.name, descriptor, header.offset, header.length)


def _copied(door: AdoptingDoor, arrival: IncomingObject, descriptor: int, header: FileHeader) -> SpoolFile:
    file = door.reception.begin(arrival)
    try:
        for piece in _pieces(descriptor, header):
            file.write(piece)
    except BaseException:
        file.abandon()
        raise
    return file


def _pieces(descriptor: int, header: FileHeader) -> Iterator[bytes]:
    """The data set. Raises FileLeft for a file that became shorter."""
    done = 0
    while done < header.length:
        piece = os.pread(descriptor, min(_PIECE, header.length - done), header.offset + done)
        if not piece:
            raise FileLeft("truncated", "the file becomes shorter")
        done += len(piece)
        yield piece


class _Seen(Container[int]):
    """Notes which of some elements a walk comes by, and wants the value of none."""

    def __init__(self) -> None:
        self.rows = self.pixels = False

    def __contains__(self, tag: object) -> bool:
        self.rows |= tag == _ROWS
        self.pixels |= tag in _PIXELS
        return False


def _check_pixels(data: Buffer, header: FileHeader) -> None:
    """Raise FileLeft for an image that ends before its pixels: a broker died between two elements of it."""
    seen = _Seen()
    scan(data, header.transfer_syntax, seen)
    if seen.rows and not seen.pixels:
        raise FileLeft("no-pixels")


def _check_file(file: SpoolFile, header: FileHeader) -> None:
    with mmap.mmap(file.descriptor, 0, prot=mmap.PROT_READ) as mapped, memoryview(mapped) as view:
        data = view[file.data_offset :]
        try:
            _check_pixels(data, header)
        finally:
            data.release()


def _purged(door: AdoptingDoor, arrival: IncomingObject, digest: bytes, file: StrayFile, info: os.stat_result) -> bool:
    """The bytes were received and purged since: they do not come back by themselves.

    Raises FileLeft for bytes that a row has otherwise, and for those older than what is known of the same object.
    """
    known = door.database.read(instances.earlier, arrival.sop_instance).result()
    twins = [one for one in known if one.digest == digest]
    if file.row and all(one.path != file.row for one in twins):
        raise FileLeft("altered")
    if not twins and any(_came(door, one) > info.st_mtime for one in known):
        raise FileLeft("older")
    return bool(twins) and all(one.state == InstanceState.PURGED for one in twins)


def _came(door: AdoptingDoor, known: EarlierVersion) -> float:
    """When an object came: an adopted one has its file from then, one that was restored its row."""
    with suppress(OSError):
        if known.path:
            return min(known.received_at, door.spool.locate(known.path).stat().st_mtime)
    return known.received_at


def _remove(file: StrayFile, info: os.stat_result, outcome: str) -> None:
    """Remove the old name of a file that has a row now. Raises FileLeft if it cannot be."""
    try:
        if os.stat(file.name, dir_fd=file.folder, follow_symlinks=False).st_ino == info.st_ino:
            os.unlink(file.name, dir_fd=file.folder)
    except FileNotFoundError:
        pass
    except OSError:
        raise FileLeft("not-removed", outcome=outcome) from None
