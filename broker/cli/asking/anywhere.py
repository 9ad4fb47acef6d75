"""Asks REST of the running broker, or serves the same request in this process while none runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from broker.cli.common import CommandRefused, settings_of


def ask(config: Path | None, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
    """The JSON answer to a request under `/api/v1`, from the broker or on its database under its lock.

    Raises CommandRefused, ConfigurationError, PeerFault, StoreUnavailable.
    """
    from broker.cli.asking import control

    settings = settings_of(config)
    path = f"/api/v1{path}"
    answer = control.call(settings, method, path, body, headers)
    if answer is None:
        from broker.service import offline

        with control.alone(settings) as database:
            response = offline.request(settings, database, method, path, body, headers)
        answer = control.ServerAnswer(response.status_code, json.loads(response.text or "null"))
    if not answer.good:
        raise CommandRefused(answer.problem)
    return answer.body
