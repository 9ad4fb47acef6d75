"""`broker migrate`: brings the database to the schema of this version, with the broker stopped."""

from __future__ import annotations

from pathlib import Path

from broker.cli.asking import control
from broker.cli.common import settings_of
from broker.cli.output import say, say_json


def run(config: Path | None, *, only_check: bool, as_json: bool) -> int:
    """Migrate, or only look; the exit code: 1 if the check finds that something is to be done. Raises BrokerError."""
    from broker.store.copies import database_copy
    from broker.store.db import migrate
    from broker.store.db.engine import open_engine

    settings = settings_of(config)
    url = settings.database_url()
    if database_copy.is_empty(url):
        before, current = None, False
    else:
        engine = open_engine(url, readers=1)
        try:
            found = database_copy.revision_of(engine)
        finally:
            engine.dispose()
        before, current = found.name, found.current
        migrate.check_known(before or None)
    if not only_check:
        with control.alone(settings):  # whoever opens the database migrates it
            pass
    if as_json:
        say_json({"before": before, "newest": migrate.newest(), "needed": not current, "done": not only_check})
    elif current:
        say(f"the database has the schema of this version ({before})")
    elif only_check:
        say(f"the database has revision {before or 'none'}, this version needs {migrate.newest()}")
    else:
        say(f"the database was brought from revision {before or 'none'} to {migrate.newest()}")
    return 1 if only_check and not current else 0
