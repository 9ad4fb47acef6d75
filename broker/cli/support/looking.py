"""Declares the commands that look at the broker and its machine and change nothing: doctor, retention, support, …"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from broker.cli.common import Config, exit_on_error
from broker.cli.output import say_json


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    config: Config = None,
) -> None:
    """Look at the machine, the settings and the database; say what to change. Exit code 1 if something is bad."""
    from broker.cli.views.doctor_view import run

    with exit_on_error():
        code = run(config, as_json=as_json)
    sys.exit(code)


def retention(
    as_json: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
    config: Config = None,
) -> None:
    """Show what is deleted next by its age, rule by rule, and how the last run of each went."""
    from broker.cli.views.retention_view import run

    with exit_on_error():
        run(config, as_json=as_json)


def support(
    file: Annotated[Path, typer.Argument(help="The file to write, such as support.tar.gz; it must not be there.")],
    addresses: Annotated[bool, typer.Option("--addresses", help="Leave hosts and addresses in it.")] = False,
    log: Annotated[Path | None, typer.Option(help="Add the end of this log file.")] = None,
    wait: Annotated[
        int, typer.Option(min=5, max=600, help="Seconds to wait for a broker or a database that is busy.")
    ] = 60,
    config: Config = None,
) -> None:
    """Write a bundle for support: versions, settings, state, numbers. No patient data, no secrets."""
    from broker.cli.support.bundle import run
    from broker.service.loop import leave

    with exit_on_error():
        code = run(config, file, addresses=addresses, log=log, patience=wait)
    leave(code)  # what hangs is not waited for


def inventory() -> None:
    """Print all packages that this installation runs with, as a CycloneDX bill of materials in JSON."""
    from broker.service.doctor.inventory import inventory as listed

    say_json(listed(), indent=2)


COMMANDS = (doctor, retention, support, inventory)
