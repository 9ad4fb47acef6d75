"""Warns at the start of files with secrets that every user of the machine can read."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from broker import telemetry
from broker.settings import Settings


def warn_of_open_files(settings: Settings, config: Path | None) -> None:
    """Log a warning for each file with a secret that others may read. `config` is the file of the settings."""
    for file, key in open_secrets(settings, config):
        telemetry.logger().warning("secret.open_file", path=str(file), key=key)


def open_secrets(settings: Settings, config: Path | None) -> Iterator[tuple[Path, str]]:
    """Files with a secret that every user of the machine can read, and the key for which each holds it."""
    for file, key in _secrets(settings, config):
        try:
            mode = file.stat().st_mode
        except OSError:
            continue  # whoever needs the file says so
        if mode & stat.S_IROTH:
            yield file, key


def _secrets(settings: Settings, config: Path | None) -> Iterator[tuple[Path, str]]:
    """Files, and the key for which each holds a secret."""
    if config is not None and settings.web.admin_token:
        yield config, "web.admin_token"
    if config is not None and _has_password(settings.database.url):
        yield config, "database.url"
    if settings.dicom.tls is not None:
        yield settings.dicom.tls.key, "dicom.tls.key"
    for listener in settings.hl7.listeners():
        if listener.tls is not None:
            yield listener.tls.key, "hl7.tls.key"


def _has_password(url: str) -> bool:
    try:
        return bool(url) and make_url(url).password is not None
    except ArgumentError:
        return False
