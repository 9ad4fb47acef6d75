"""Shares what every command needs: the option `--config`, the settings, the site's clock, error messages.

Exit codes of all commands: 0 done, 1 not done, 2 a mistake in the configuration or the command line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from broker.cli.output import say
from broker.errors import BrokerError, ConfigurationError
from broker.settings import Settings, load

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="Read settings from this broker.toml; built-in defaults without it.", show_default=False
    ),
]
INTERRUPTED = 130  # exit code after Ctrl-C


class CommandRefused(Exception):
    """The broker refuses what was asked; the text says why, one line for each reason."""


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Print what went wrong and exit: with code 2 after a mistake in the configuration, with 1 after all else."""
    try:
        yield
    except ConfigurationError as error:
        say(f"configuration error: {error}", err=True)
        raise typer.Exit(2) from None
    except (CommandRefused, BrokerError) as error:
        say(str(error), err=True)
        raise typer.Exit(1) from None


def settings_of(config: Path | None) -> Settings:
    """Load the settings and send warnings of the log to the terminal. Raises ConfigurationError."""
    from broker import telemetry

    settings = load(config)
    telemetry.configure("warning", "console", settings.log.identifiers)
    return settings


def wall_clock(config: Path | None) -> Callable[[float], str]:
    """A function that shows seconds since the epoch as date and time of the site. Raises ConfigurationError."""
    zone = load(config).zone()
    return lambda at: datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M:%S")


def moment(text: str, settings: Settings) -> float:
    """Seconds since the epoch of a date or time on the site's clock. Raises ConfigurationError."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=settings.zone()).timestamp()
    except ValueError:
        raise ConfigurationError(f"{text}: not a date or time like 2026-03-12T08:00") from None
