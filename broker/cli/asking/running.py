"""Asks the running broker, or does the same on its database while none runs."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker.cli.common import CommandRefused, settings_of
from broker.errors import ConfigurationError
from broker.settings import Settings

if TYPE_CHECKING:
    from broker.store.db.database import Database

NOT_RUNNING = "no broker runs on this data directory: start it with `broker serve`, or name its broker.toml by --config"


def ask(
    config: Path | None,
    method: str,
    path: str,
    body: dict[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Any:
    """Ask the running broker under `/api/v1`; the JSON answer.

    Raises CommandRefused (also when no broker runs), ConfigurationError, PeerFault.
    """
    from broker.cli.asking import control

    answer = control.call(settings_of(config), method, f"/api/v1{path}", body, headers)
    if answer is None:
        raise CommandRefused(NOT_RUNNING)
    if not answer.good:
        raise CommandRefused(answer.problem)
    return answer.body


def ask_or_do(settings: Settings, path: str, body: dict[str, Any], here: Callable[[Database, str], Any]) -> Any:
    """POST to the running broker under `/api/v1`; without one call `here(database, actor)` under the database's lock.

    Gives the JSON answer, or what `here` returns.

    Raises CommandRefused, ConfigurationError, PeerFault, StoreUnavailable.
    """
    from broker.cli.asking import control

    answer = control.call(settings, "POST", f"/api/v1{path}", body)
    if answer is None:
        with control.alone(settings) as database, _refusals():
            return here(database, f"cli:{getpass.getuser()}")
    if not answer.good:
        raise CommandRefused(answer.problem)
    return answer.body


@contextmanager
def _refusals() -> Iterator[None]:
    """Refuse a mapping profile that cannot be used, as the running broker does."""
    from broker.orders.mapping_versions import ExamplesFailed

    try:
        yield
    except ExamplesFailed as error:
        raise CommandRefused("\n".join((str(error), *error.failures[:100]))) from None
    except ConfigurationError as error:
        raise CommandRefused(str(error)) from None
