"""`broker backup` and `broker restore`: copy all that the broker keeps while it works, and put it back."""

from __future__ import annotations

import getpass
import os
from contextlib import suppress
from datetime import datetime, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker.cli.common import settings_of
from broker.cli.output import say, say_json, show_table

if TYPE_CHECKING:
    from broker.backup.manifest import Manifest
    from broker.backup.restoring import BackupCheck, Restored

NICE = 10  # the broker comes first
SHOWN = 20  # damaged objects that are named


def make(config: Path | None, into: Path, *, keep: int, verify: bool, as_json: bool) -> int:
    """Make a backup and print what it holds; the exit code. Raises BrokerError."""
    from broker.backup import proving

    with suppress(OSError):  # a unit may forbid it
        os.nice(NICE)
    done = proving.make(settings_of(config), config, into, keep=keep, verify=verify)
    if as_json:
        damaged = None if done.check is None else [{"object": row, "fault": fault} for row, fault in done.check.spoiled]
        document = {"folder": str(done.folder), **done.manifest.model_dump(), "damaged": damaged}
        say_json({**document, "restored": done.restored if verify else None}, indent=2)
    else:
        say(f"{done.folder}: {_contents(done.manifest)}, in {done.manifest.seconds:.1f} s")
        _warn(done.manifest, done.check)
        if done.restored:
            say("the database was restored for a trial")
        elif verify:
            say("the database was not restored for a trial: the role of PostgreSQL needs CREATEDB for that")
    return 0 if done.good else 1


def restore(config: Path | None, folder: Path, *, replace: bool, resume: bool, only_check: bool, as_json: bool) -> int:
    """Restore a backup, or only read it as a whole; the exit code. Raises BrokerError."""
    from broker.backup import restoring

    settings = settings_of(config)
    found = restoring.check(folder)
    done: Restored | None = None
    if not only_check:
        from broker.service.datadir import DataDirectory

        data = DataDirectory(settings.service.data_dir)  # its lock: no broker runs
        try:
            done = restoring.restore(settings, found, f"cli:{getpass.getuser()}", replace=replace, resume=resume)
        finally:
            data.close()
    if as_json:
        say_json(_document(found, done), indent=2)
    else:
        _show(found, done, settings.zone())
    return 1 if found.spoiled else 0


def _contents(manifest: Manifest) -> str:
    size = (manifest.size + manifest.file_bytes) / 2**20
    linked = f" ({manifest.linked} linked to an earlier backup)" if manifest.linked else ""
    return f"the database and {manifest.files} files{linked}, {size:.1f} MiB"


def _warn(manifest: Manifest, found: BackupCheck | None) -> None:
    if manifest.lacking:
        say(f"{manifest.lacking} objects had no file when the backup was made: see `broker fsck`", err=True)
    if found is not None:
        for row, fault in found.spoiled[:SHOWN]:
            say(f"object o{row}: {fault}", err=True)
        more = len(found.spoiled) - SHOWN
        say(f"and {more} more" if more > 0 else "all was read again", err=more > 0)


def _document(found: BackupCheck, done: Restored | None) -> dict[str, Any]:
    return {
        "folder": str(found.folder),
        **found.manifest.model_dump(),
        "damaged": [{"object": row, "fault": fault} for row, fault in found.spoiled],
        "restored": done is not None,
        "paused": [] if done is None else list(done.paused),
        "senders": [] if done is None else [{"name": one.name, "last_at": one.last_at} for one in done.senders],
        "aside": None if done is None or done.aside is None else str(done.aside),
    }


def _show(found: BackupCheck, done: Restored | None, zone: tzinfo) -> None:
    def when(at: float) -> str:
        return datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M:%S")

    made = when(found.manifest.made_at)
    say(f"{found.folder}: made at {made} by version {found.manifest.broker}: {_contents(found.manifest)}")
    _warn(found.manifest, found)
    if done is None:
        return
    say("restored")
    if done.aside is not None:
        say(f"what was there before is in {done.aside}")
        if (done.aside / "spool").exists():
            say(f"take in images that came after {made}: `broker fsck --adopt --from {done.aside}/spool --reason …`")
    if done.paused:
        say(f"paused, since what waits may have been sent after {made}: {', '.join(done.paused)}")
        say("look at `broker queue summary`, then `broker queue resume NODE --reason …`")
    if done.senders:
        say(f"messages that came after {made} are not there: ask these senders for them again")
        show_table(("sender", "last message"), [(one.name, when(one.last_at)) for one in done.senders])
    if found.spoiled or found.manifest.lacking:
        say("hold the deliveries of damaged objects: `broker fsck --repair --reason …`", err=True)
