"""Takes one file through reception by what its header says: the same checks, rules and transaction as for a C-STORE.

The broker's own file gets a second name in the spool, or is copied where the disk knows no such thing. It is removed
after the commit. Whatever kills us in between, the file is there, or a row is: the next run goes on, and what was
committed is a duplicate then.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from broker.dicom.dataset import part10
from broker.dicom.dataset.part10 import FileHeader
from broker.dicom.dimse.message import PeerAE
from broker.dicom.dimse.served import ServiceOffer, storage
from broker.errors import BadContent, SpoolUnavailable
from broker.routing.reception import IncomingObject, Reception
from broker.settings import Settings
from broker.store.db.database import Database
from broker.store.images import instances, linked_file
from broker.store.images.spool import Spool, SpoolFile

PURGED, GONE = "purged", "gone"  # what becomes of a file beside the outcomes of a reception
_PIECE = 1 << 20  # bytes copied at once
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not make us wait
_FAULTS = {
    "symlink": "a symbolic link: it is not followed",
    "too-deep": "too many folders in one another",
    "unreadable": "cannot be read",
    "special": "not a regular file",
    "empty": "an empty file",
    "no-dicom": "no DICOM file",
    "no-sender": "its header names no sender: send it to the broker, with `broker send`",
    "not-stored": "its SOP class or transfer syntax is not received",
    "too-large": "larger than [limits] dicom_object",
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


def adopt(door: AdoptingDoor, folder: int, name: str, *, ours: bool) -> str:
    """Take in a file of an open folder; what it was, as `ReceptionOutcome`, PURGED or GONE. `ours`: it goes away then.

    Raises FileLeft, StoreUnavailable.
    """
    try:
        descriptor = os.open(name, _OPEN, dir_fd=folder)
    except FileNotFoundError:
        return GONE
    except OSError as error:
        raise _unreadable(error) from None
    try:
        info = os.fstat(descriptor)
        try:
            outcome = _received(door, folder, name, descriptor, ours=ours)
        except (BadContent, SpoolUnavailable) as error:
            raise FileLeft(error.code, str(error)) from None
        except OSError as error:
            raise _unreadable(error) from None
    finally:
        os.close(descriptor)
    if ours and outcome != PURGED:
        _remove(folder, name, info, outcome)
    return outcome


def _unreadable(error: OSError) -> FileLeft:
    return FileLeft("unreadable", f"cannot be read: {error.strerror or error}")


def _received(door: AdoptingDoor, folder: int, name: str, descriptor: int, *, ours: bool) -> str:
    header = _header(door, descriptor)
    peer = PeerAE(header.source_ae, header.receiving_ae or door.title, header.source_address)
    arrival = IncomingObject(header.sop_class, header.sop_instance, header.transfer_syntax, peer)
    arrival.check()
    try:
        if header.length <= door.reception.small:
            data = b"".join(_pieces(descriptor, header))
            if _was_purged(door, arrival, sha256(data).digest()):
                return PURGED
            return door.reception.whole(arrival, data)
        file = _linked(door, folder, name, descriptor, header) if ours else None
        if file is None:
            file = _copied(door, arrival, descriptor, header)
        try:
            purged = _was_purged(door, arrival, file.digest)
        except BaseException:
            file.abandon()
            raise
        if purged:
            file.abandon()
            return PURGED
        return door.reception.complete(arrival, file)
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
    if header.sop_class not in door.offer.classes or door.offer.choose([header.transfer_syntax]) is None:
        raise FileLeft("not-stored")
    if header.length > door.most:
        raise FileLeft("too-large")
    return header


def _linked(door: AdoptingDoor, folder: int, name: str, descriptor: int, header: FileHeader) -> SpoolFile | None:
    """The file under a second name in the spool; None if it must be copied."""
    door.spool.check_room(0)
    if not linked_file.may_link(door.spool, descriptor):
        return None
    return linked_file.link(door.spool, folder, name, descriptor, header.offset, header.length)


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


def _was_purged(door: AdoptingDoor, arrival: IncomingObject, digest: bytes) -> bool:
    return door.database.read(instances.is_purged, arrival.sop_instance, digest).result()


def _remove(folder: int, name: str, info: os.stat_result, outcome: str) -> None:
    """Remove the old name of a file that has a row now. Raises FileLeft if it cannot be."""
    try:
        if os.stat(name, dir_fd=folder, follow_symlinks=False).st_ino == info.st_ino:
            os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass
    except OSError:
        raise FileLeft("not-removed", outcome=outcome) from None
