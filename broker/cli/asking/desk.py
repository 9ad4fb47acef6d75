"""Commands about mappings and messages: asked of the running broker, or done on its database while none runs."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from broker.errors import BrokerError, ConfigurationError
from broker.settings import Settings, load

if TYPE_CHECKING:
    from broker.store.db.database import Database


class Refusal(Exception):
    """The broker says no; the text says why, one line for each reason."""


@contextmanager
def mistakes() -> Iterator[None]:
    """Say in one place what went wrong: exit code 2 for mistakes of configuration, 1 for all else."""
    try:
        yield
    except ConfigurationError as error:
        typer.echo(f"configuration error: {error}", err=True)
        raise typer.Exit(2) from None
    except (Refusal, BrokerError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


def settings_of(config: Path | None) -> Settings:
    """Settings for a command whose log goes to the terminal. Raises ConfigurationError."""
    from broker import telemetry

    settings = load(config)
    telemetry.configure("warning", "console", settings.log.identifiers)
    return settings


def wall_clock(config: Path | None) -> Callable[[float], str]:
    """Shows seconds since the epoch as date and time of the site, as all commands do. Raises ConfigurationError."""
    zone = load(config).zone()
    return lambda at: datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M:%S")


def ask(settings: Settings, path: str, body: dict[str, Any], here: Callable[[Database, str], Any]) -> Any:
    """POST to the running broker; without one `here(database, actor)` under the lock of the database. The JSON answer.

    Raises Refusal, ConfigurationError, PeerFault, StoreUnavailable.
    """
    from broker.cli.asking import control

    answer = control.call(settings, "POST", path, body)
    if answer is None:
        with control.alone(settings) as database, _refusals():
            return here(database, f"cli:{getpass.getuser()}")
    if not answer.good:
        raise Refusal(answer.problem)
    return answer.body


@contextmanager
def _refusals() -> Iterator[None]:
    """Refuse a profile that cannot be used as the running broker does."""
    from broker.orders.mappings import ExamplesFailed

    try:
        yield
    except ExamplesFailed as error:
        raise Refusal("\n".join((str(error), *error.failures[:100]))) from None
    except ConfigurationError as error:
        raise Refusal(str(error)) from None
