"""Commands about mappings and messages: asked of the running broker, or done on its database while none runs."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import typer

from broker.errors import BrokerError, ConfigurationError
from broker.settings import Settings, load


class Refusal(Exception):
    """The broker says no; the text says why, one line for each reason."""


@contextmanager
def mistakes() -> Iterator[None]:
    """Say in one place what went wrong: exit code 2 for mistakes of configuration, 1 for all else."""
    from broker.admin.problems import Problem

    try:
        yield
    except ConfigurationError as error:
        typer.echo(f"configuration error: {error}", err=True)
        raise typer.Exit(2) from None
    except Problem as problem:
        for line in (problem.detail, *(error.text for error in problem.errors)):
            typer.echo(line, err=True)
        raise typer.Exit(1) from None
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


def ask(settings: Settings, path: str, body: dict[str, Any], here: Callable[[Any, str], Any]) -> Any:
    """POST to the running broker; without one `here(desk, actor)` on the database under its lock. The JSON answer.

    Raises Refusal, Problem, ConfigurationError, PeerFault, StoreUnavailable.
    """
    from broker.cli.asking import control

    answer = control.call(settings, "POST", path, body)
    if answer is None:
        from broker.orders.mappings import Mappings
        from broker.service.mapping_desk import MappingDesk

        with control.alone(settings) as database:
            published = Mappings(database)
            desk = MappingDesk(database, published, settings.zone(), settings.worklist.default_station)
            return plain(here(desk, f"cli:{getpass.getuser()}"))
    if not answer.good:
        raise Refusal(answer.problem)
    return answer.body


def plain(found: Any) -> Any:
    """Models as JSON values."""
    return [one.model_dump() for one in found] if isinstance(found, list) else found.model_dump()
