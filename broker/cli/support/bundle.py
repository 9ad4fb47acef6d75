"""`broker support FILE`: writes a bundle for who helps to find a fault. It holds no patient data and no secrets.

It works beside a running broker and without one, also while the database or the event loop hangs: all parts are
collected at once, each in a thread, and what is not there when the waiting ends is named as missing.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from broker import telemetry
from broker.cli.asking.patience import told_soon
from broker.cli.common import CommandRefused, settings_of
from broker.cli.output import say
from broker.cli.support.hiding import Hiding
from broker.cli.support.parts import PARTS, UNHIDDEN, Incomplete, Surroundings, hosts
from broker.errors import BrokerError
from broker.settings import Settings

SOON = 4.0  # seconds without a word
NAMES = 5.0  # seconds for the names of machines that are to be hidden
MOST = 6 * 1024**2  # bytes of a part


@dataclass(slots=True)
class Collected:
    """The parts by their names, and why others are missing. Once it is `closed`, what comes late changes nothing."""

    parts: dict[str, bytes] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)
    closed: bool = False

    def close(self, wanted: Iterable[str], patience: float) -> None:
        """Take no more, and name what is not there after so many seconds."""
        with self.lock:
            self.closed = True
            late = [name for name in wanted if name not in self.parts and name not in self.missing]
            self.missing |= dict.fromkeys(late, f"it took longer than {patience:.0f} s")


def run(config: Path | None, file: Path, *, addresses: bool, log: Path | None, patience: float) -> int:
    """Collect for so many seconds at most, write, and say what is missing; the exit code.

    Raises CommandRefused, ConfigurationError.
    """
    settings = settings_of(config)
    if file.exists() or file.is_symlink():
        raise CommandRefused(f"{file} is there already: name another file")
    hiding = Hiding(addresses=addresses, hosts=() if addresses else _hosts(settings))
    with told_soon(SOON, f"collecting, {patience:.0f} s at most: the broker or the machine is busy"):
        collected = collect(Surroundings(settings, config, hiding, log, patience))
    parts = collected.parts | {"missing.json": json.dumps(collected.missing, indent=2).encode()}
    _write(file, parts)
    say(f"{file}: {len(collected.parts)} parts, {file.stat().st_size / 1024:.0f} KiB, no patient data")
    for name, why in collected.missing.items():
        say(f"  not in it: {name}: {why}")
    return 0


def collect(place: Surroundings) -> Collected:
    """Collect all parts at once, for as long as one may wait."""
    collected = Collected()
    workers = [threading.Thread(target=_part, args=(place, name, collected), daemon=True) for name in PARTS]
    deadline = time.monotonic() + place.patience
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(max(0.0, deadline - time.monotonic()))
    collected.close(PARTS, place.patience)
    return collected


def _part(place: Surroundings, name: str, collected: Collected) -> None:
    data, why = None, ""
    try:
        found = PARTS[name](place)
        if isinstance(found, Incomplete):
            found, why = found.found, found.why
        text = found if isinstance(found, str) else json.dumps(found, indent=1, ensure_ascii=False, default=str)
        text = text if name in UNHIDDEN else place.hiding.text(text)
        data = text.encode("utf-8", "replace")
    except (BrokerError, CommandRefused) as error:
        why = place.hiding.text(str(error))
    except OSError as error:
        why = error.strerror or type(error).__name__
    except Exception as error:  # whatever is broken here is why somebody makes a bundle
        why = telemetry.describe(error)
    with collected.lock:
        if collected.closed:
            return
        if why:
            collected.missing[name] = why
        if data is None:
            return
        collected.parts[name] = data[:MOST]
        if len(data) > MOST:
            collected.missing[name] = f"only the first {MOST // 1024**2} MiB of it are there"


def _hosts(settings: Settings) -> list[str]:
    """Names of machines in the nodes in force, as far as the database tells them soon."""
    found: list[str] = []

    def read() -> None:
        try:
            found.extend(hosts(settings))
        except Exception as error:  # then no document that has them is collected either
            telemetry.logger().debug("store.unavailable", error=telemetry.describe(error))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(NAMES)
    return list(found)


def _write(file: Path, parts: Mapping[str, bytes]) -> None:
    """Write the bundle to a new file that nobody else may read. Raises CommandRefused."""
    folder, at = file.name.removesuffix(".tar.gz"), int(time.time())
    try:
        number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise CommandRefused(f"{file} cannot be written: {error.strerror or type(error).__name__}") from None
    try:
        with os.fdopen(number, "wb") as out:
            with tarfile.open(fileobj=out, mode="w:gz") as archive:
                for name, data in sorted(parts.items()):
                    _add(archive, f"{folder}/{name}", data, at)
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        file.unlink(missing_ok=True)
        raise CommandRefused(f"{file} cannot be written: {error.strerror or type(error).__name__}") from None


def _add(archive: tarfile.TarFile, name: str, data: bytes, at: int) -> None:
    entry: Any = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = len(data), at, 0o600
    archive.addfile(entry, io.BytesIO(data))
