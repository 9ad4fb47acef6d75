"""Reads `broker.toml` and the environment into `Settings`, and checks what concerns more than one key.

Order of precedence: environment, file, default. Unknown keys are errors that name the key.
Relative paths count from the folder of the file, or from the working folder if there is no file.
Nodes and rules, which admins change daily, are not settings: they live in the database (see `broker.site`).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import tzlocal
from pydantic import PrivateAttr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from broker.errors import ConfigurationError
from broker.settings.backup import BackupSection
from broker.settings.hl7 import Hl7Listener, Hl7Section
from broker.settings.mistakes import check_environment, explain, explain_environment
from broker.settings.origins import EffectiveKey, KeySource, effective, sources
from broker.settings.sections import (
    DatabaseSection,
    DeliverySection,
    DicomSection,
    LimitsSection,
    LogSection,
    OrdersSection,
    RetentionSection,
    RulesSection,
    ServiceSection,
    WorklistSection,
)
from broker.settings.toml_text import NotToml, parse_toml
from broker.settings.traces import TracesSection
from broker.settings.web import WebSection
from broker.whole_files import read_text

Door = TypeVar("Door", DicomSection, Hl7Listener, Hl7Section, WebSection)


class Settings(BaseSettings):
    """The whole of `broker.toml`."""

    model_config = SettingsConfigDict(
        env_prefix="BROKER_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    service: ServiceSection = ServiceSection()
    database: DatabaseSection = DatabaseSection()
    dicom: DicomSection = DicomSection()
    hl7: Hl7Section = Hl7Section()
    orders: OrdersSection = OrdersSection()
    worklist: WorklistSection = WorklistSection()
    rules: RulesSection = RulesSection()
    delivery: DeliverySection = DeliverySection()
    retention: RetentionSection = RetentionSection()
    backup: BackupSection = BackupSection()
    limits: LimitsSection = LimitsSection()
    log: LogSection = LogSection()
    traces: TracesSection = TracesSection()
    web: WebSection = WebSection()

    _sources: dict[str, KeySource] = PrivateAttr(default_factory=dict)  # by `section.key`, without defaults

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file (which arrives as constructor arguments)."""
        return env_settings, init_settings

    def in_force(self) -> list[EffectiveKey]:
        """Every key with its value and its source, for people."""
        return effective(self, self._sources)

    def zone(self) -> ZoneInfo:
        """Time zone of the site, the machine's when none is configured."""
        return ZoneInfo(self.service.timezone or tzlocal.get_localzone_name() or "UTC")

    def database_url(self) -> str:
        """SQLAlchemy URL of the database."""
        return self.database.url or f"sqlite:///{self.service.data_dir / 'broker.db'}"

    def temporary_issuer(self) -> str:
        """Issuer of the identifiers that patients of emergency orders get."""
        return self.orders.temporary_issuer or self.dicom.ae_title

    def is_sqlite(self) -> bool:
        """True when the database is the embedded one."""
        return self.database_url().startswith("sqlite")


def load(config: Path | None = None) -> Settings:
    """Read settings from `config` (optional) and the environment.

    Raises ConfigurationError with one line that names the file and the key.
    """
    document: dict[str, Any] = {}
    folder = Path.cwd()
    if config is not None:
        document = _read(config)
        folder = config.resolve().parent
    check_environment(Settings)
    for key in document:
        if key not in Settings.model_fields:  # the library would take `_env_file` and the like for its own switches
            raise ConfigurationError(f"{config}: {key}: unknown key")
    try:
        settings = Settings(**document)
    except ValidationError as error:
        raise ConfigurationError(explain(error, config)) from None
    except SettingsError:
        raise ConfigurationError(explain_environment(Settings)) from None
    settings._sources.update(sources(document, os.environ))
    return _complete(settings, document, folder, config)


def _read(config: Path) -> dict[str, Any]:
    try:
        return parse_toml(read_text(config))
    except OSError as error:
        raise ConfigurationError(f"{config}: {error.strerror or 'cannot be read'}") from None
    except (NotToml, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{config}: not valid TOML: {error}") from None


def _complete(settings: Settings, document: dict[str, Any], folder: Path, config: Path | None) -> Settings:
    """Make paths absolute and check what needs more than one key."""
    place = f"{config}: " if config else ""
    data_dir = folder / settings.service.data_dir
    site = folder / settings.service.site
    named = "site" in document.get("service", {}) or "BROKER_SERVICE__SITE" in os.environ
    if named and not site.is_file():
        raise ConfigurationError(f"{place}service.site: no such file: {site}")
    if settings.service.workers > 1 and settings.is_sqlite():
        raise ConfigurationError(f"{place}service.workers: more than 1 needs PostgreSQL (database.url)")
    if settings.service.workers > 1 and sys.platform != "linux":
        raise ConfigurationError(f"{place}service.workers: more than 1 needs Linux, which spreads the connections")
    try:
        settings.zone()
    except (KeyError, ValueError, OSError):
        raise ConfigurationError(f"{place}service.timezone: unknown time zone") from None
    if not settings.database_url().startswith(("sqlite:", "postgresql+psycopg:")):
        raise ConfigurationError(f"{place}database.url: use postgresql+psycopg://… or leave it empty")
    section = settings.service.model_copy(update={"data_dir": data_dir, "site": site})
    doors = tuple(_absolute(door, folder) for door in settings.hl7.listener)
    hl7 = _absolute(settings.hl7, folder).model_copy(update={"listener": doors})
    web, dicom = _absolute(settings.web, folder), _absolute(settings.dicom, folder)
    if web.breached_passwords is not None:
        file = folder / web.breached_passwords
        if not file.is_file():
            raise ConfigurationError(f"{place}web.breached_passwords: no such file: {file}")
        web = web.model_copy(update={"breached_passwords": file})
    backup = settings.backup
    if backup.folder is not None:
        backup = backup.model_copy(update={"folder": folder / backup.folder})
    return settings.model_copy(update={"service": section, "dicom": dicom, "hl7": hl7, "web": web, "backup": backup})


def _absolute(section: Door, folder: Path) -> Door:
    """A section with the files of its table `tls` counted from a folder."""
    if section.tls is None:
        return section
    files = {
        key: folder / path for key in ("certificate", "key", "ca", "crl") if (path := getattr(section.tls, key, None))
    }
    return section.model_copy(update={"tls": section.tls.model_copy(update=files)})
