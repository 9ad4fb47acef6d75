"""What a deployment fixes: ports, paths, database, limits. `broker.toml` and `BROKER_…` variables.

Order of precedence: environment, file, default. Unknown keys are errors that name the key.
Relative paths count from the folder of the file, or from the working folder without a file.
Nodes and rules are what admins change daily: they live in the database (see `broker.site`).
"""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from zoneinfo import ZoneInfo

import tzlocal
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from broker.errors import ConfigurationError
from broker.mistakes import check_environment, explain, explain_environment
from broker.setting_types import AETitle, Count, Hours, LocalEntity, Port, Seconds, StorageUID, Token


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServiceSection(_Section):
    """`[service]`: where data lives and how many processes work."""

    data_dir: Path = Path("broker-data")
    site: Path = Path("site.toml")
    timezone: str = ""
    workers: Annotated[int, Field(ge=1, le=64)] = 1


class DatabaseSection(_Section):
    """`[database]`: empty URL means SQLite in the data directory."""

    url: str = ""


class DicomTlsSection(_Section):
    """`[dicom.tls]`: the DICOM listener for TLS, and the files that connections of ours use too. PEM files."""

    certificate: Path
    key: Path
    ca: Path
    crl: Path | None = None
    host: str = ""
    port: Port = 2762


class DicomSection(_Section):
    """`[dicom]`: the DICOM listeners. `plain = false` leaves only that of `[dicom.tls]`."""

    ae_title: AETitle = "BROKER"
    host: str = "127.0.0.1"
    port: Port = 11112
    plain: bool = True
    accept: Literal["known", "any"] = "known"
    user_identity: Literal["node", "required"] = "node"
    private_sop_classes: tuple[StorageUID, ...] = ()
    tls: DicomTlsSection | None = None

    @model_validator(mode="after")
    def _reachable(self) -> DicomSection:
        if not self.plain and self.tls is None:
            raise ValueError("plain: false needs [dicom.tls], or nothing listens")
        return self


class Hl7TlsSection(_Section):
    """`[hl7.tls]`, or `tls` of a further listener: its door for TLS. PEM files; `client_names` of certificates."""

    certificate: Path
    key: Path
    ca: Path
    crl: Path | None = None
    host: str = ""
    port: Port = 2576
    client_names: tuple[str, ...] = ()


class Hl7Listener(_Section):
    """`[hl7]` itself and each `[[hl7.listener]]`: one interface with its MLLP doors, plain and TLS."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,40}$")] = ""
    host: str = "127.0.0.1"
    port: Port = 2575
    plain: bool = True
    tls: Hl7TlsSection | None = None
    accept: Literal["known", "any"] = "any"
    on_transient: Literal["close", "AE", "AR"] = "close"
    answers: Literal["ack", "order"] = "ack"
    profile: str = "ihe"
    processing_ids: Annotated[tuple[Literal["P", "T", "D"], ...], Field(min_length=1)] = ("P",)
    receiving: tuple[str, ...] = ()
    optional_fields: tuple[Literal["MSH-3", "MSH-4", "MSH-5", "MSH-6", "MSH-7", "MSH-11", "MSH-12"], ...] = (
        "MSH-3", "MSH-4", "MSH-5", "MSH-6", "MSH-7",
    )  # fmt: skip
    default_version: Annotated[str, Field(pattern=r"^2\.\d(\.\d)?$")] = "2.3.1"
    charset: str = ""
    charset_errors: Literal["refuse", "replace"] = "refuse"
    segment_ends: Literal["any", "cr"] = "any"
    strict: bool = False
    duplicates: Literal["same-body", "refuse"] = "same-body"

    @model_validator(mode="after")
    def _usable(self) -> Hl7Listener:
        if not self.plain and self.tls is None:
            raise ValueError("plain: false needs a table tls, or nothing listens")
        for entry in self.receiving:
            if not entry.partition("|")[0] or entry.count("|") > 1:
                raise ValueError("receiving: each entry is APPLICATION or APPLICATION|FACILITY")
        return self


class Hl7Section(Hl7Listener):
    """`[hl7]`: the first MLLP listener, and more under `listener`; our names in messages that we send."""

    application: Annotated[str, Field(min_length=1, max_length=180)] = "BROKER"
    facility: Annotated[str, Field(max_length=180)] = ""
    listener: tuple[Hl7Listener, ...] = ()

    @model_validator(mode="after")
    def _distinct(self) -> Hl7Section:
        names = [door.name for door in self.listeners()]
        for number, name in enumerate(names[1:]):
            if name in names[: number + 1]:
                raise ValueError(f"listener.{number}.name: {name!r} is the name of another listener")
        return self

    def listeners(self) -> tuple[Hl7Listener, ...]:
        """All interfaces, the one of `[hl7]` first; those without a name are called hl7-1, hl7-2 …"""
        return tuple(
            door if door.name else door.model_copy(update={"name": f"hl7-{number}"})
            for number, door in enumerate((self, *self.listener), 1)
        )


Door = TypeVar("Door", DicomSection, Hl7Listener, Hl7Section)


class OrdersSection(_Section):
    """`[orders]`: days that a cancel waits for its order; issuer of temporary patients, empty: our AE title."""

    keep_cancels_days: Annotated[float, Field(gt=0, le=3650)] = 30
    temporary_issuer: LocalEntity = ""


class WorklistSection(_Section):
    """`[worklist]`: answers to modalities; after how many hours steps and performed steps are given up, 0 for never."""

    default_station: AETitle = "UNASSIGNED"
    max_answers: Count = 10_000
    charset: Literal[
        "ISO_IR 6", "ISO_IR 100", "ISO_IR 101", "ISO_IR 109", "ISO_IR 110", "ISO_IR 144", "ISO_IR 127", "ISO_IR 126",
        "ISO_IR 138", "ISO_IR 148", "ISO_IR 192", "GB18030",
    ] = "ISO_IR 192"  # fmt: skip
    no_show_after: Hours = 0
    expire_after: Hours = 0
    mpps_after: Hours = 24
    mpps_overdue: Literal["list", "discontinue"] = "list"
    mpps_compare_after: Hours = 1
    closing_every: Seconds = 60
    outage_copy_age: Annotated[float, Field(ge=0, le=7 * 86_400)] = 3600  # seconds; 0: no copy is kept


class DeliverySection(_Section):
    """`[delivery]`: retries in seconds, and how long delivered objects stay in the spool."""

    retry_first: Seconds = 15
    retry_last: Seconds = 1800
    give_up: Seconds = 7 * 86_400
    keep_days: Annotated[float, Field(ge=0)] = 7


class LimitsSection(_Section):
    """`[limits]`: sizes in bytes, times in seconds."""

    hl7_message: Count = 10_485_760
    hl7_connections: Count = 500
    hl7_frame_timeout: Seconds = 60
    hl7_idle_timeout: Seconds = 3600
    half_open_per_address: Count = 20
    associations_per_address: Count = 100
    associations: Count = 1000
    associations_per_second: Annotated[float, Field(gt=0)] = 50
    association_request_timeout: Seconds = 30
    tls_handshake_timeout: Seconds = 5
    pdu_timeout: Seconds = 60
    association_idle_timeout: Seconds = 600
    dicom_object: Count = 64 * 1024**3
    small_object: Annotated[int, Field(ge=0, le=1024**2)] = 32 * 1024
    web_body: Count = 1024**2


class LogSection(_Section):
    """`[log]`: never patient data at any level."""

    level: Literal["debug", "info", "warning"] = "info"
    format: Literal["console", "json"] = "console"
    identifiers: bool = False


class WebSection(_Section):
    """`[web]`: health, metrics, REST and pages."""

    host: str = "127.0.0.1"
    port: Port = 8080
    admin_token: Token = ""


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
    delivery: DeliverySection = DeliverySection()
    limits: LimitsSection = LimitsSection()
    log: LogSection = LogSection()
    web: WebSection = WebSection()

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

    def zone(self) -> ZoneInfo:
        """Time zone of the site, the machine's when none is configured."""
        return ZoneInfo(self.service.timezone or tzlocal.get_localzone_name() or "UTC")

    def database_url(self) -> str:
        """SQLAlchemy URL of the database."""
        return self.database.url or f"sqlite:///{self.service.data_dir / 'broker.db'}"

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
    return _complete(settings, document, folder, config)


def _read(config: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(config.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{config}: {error.strerror or 'cannot be read'}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
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
    return settings.model_copy(update={"service": section, "dicom": _absolute(settings.dicom, folder), "hl7": hl7})


def _absolute(section: Door, folder: Path) -> Door:
    """A section with the files of its table `tls` counted from a folder."""
    if section.tls is None:
        return section
    files = {key: folder / path for key in ("certificate", "key", "ca", "crl") if (path := getattr(section.tls, key))}
    return section.model_copy(update={"tls": section.tls.model_copy(update=files)})
