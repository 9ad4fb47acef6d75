"""Asks REST of the running broker, or serves the same request in this process while none runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker.cli.common import CommandRefused, settings_of
from broker.settings import Settings

if TYPE_CHECKING:
    from broker.store.db.database import Database


def ask(config: Path | None, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
    """The JSON answer to a request under `/api/v1`, from the broker or on its database under its lock.

    Raises CommandRefused, ConfigurationError, PeerFault, StoreUnavailable.
    """
    from broker.cli.asking import control

    settings = settings_of(config)
    path = f"/api/v1{path}"
    answer = control.call(settings, method, path, body, headers)
    if answer is None:
        from broker.service.alone import offline

        with control.alone(settings) as database:
            response = offline.request(settings, database, method, path, body, headers)
        answer = control.ServerAnswer(response.status_code, json.loads(response.text or "null"))
    if not answer.good:
        raise CommandRefused(answer.problem)
    return answer.body


def fetch(
    config: Path | None, path: str, body: Any, here: Callable[[Settings, Database], Iterator[str]]
) -> Iterator[str]:
    """The text that a POST under `/api/v1` answers, in pieces as they come: it may be larger than the memory.

    Without a running broker it is what `here` gives, under the lock of the database. Raises CommandRefused,
    ConfigurationError, PeerFault, StoreUnavailable.
    """
    from broker.cli.asking import control

    settings = settings_of(config)
    with control.stream(settings, f"/api/v1{path}", body) as answer:
        if answer is not None:
            if answer.refused is not None:
                raise CommandRefused(answer.refused.problem)
            yield from answer.parts
            return
    with control.alone(settings) as database:
        yield from here(settings, database)
