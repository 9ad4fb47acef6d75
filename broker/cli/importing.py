"""`broker import`: places orders from CSV, worklist and dump files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from broker.cli.common import settings_of
from broker.cli.imports import run as work
from broker.cli.imports import view
from broker.cli.output import say
from broker.errors import BrokerError, ConfigurationError


def run(
    paths: Sequence[Path], *, config: Path | None, dry: bool, encoding: str, skip_unknown: bool, as_json: bool
) -> int:
    """Place orders; the exit code: 0 if all are in place, 1 if not. Raises ConfigurationError."""
    settings = settings_of(config)
    account = work.Account()
    items = work.gather(paths, account, encoding, skip_unknown=skip_unknown)
    try:
        with view.bar(account) as advance:
            for _ in work.place(settings, items, account, dry):
                advance()
    except ConfigurationError:
        raise
    except BrokerError as error:
        account.trouble = str(error)
    say(json.dumps(view.as_json(account, dry=dry)) if as_json else view.summary(account, dry=dry))
    return 0 if account.good else 1
