"""Begins and ends the export of spans by a process. What that needs is imported here, and only with an endpoint."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec

from broker.errors import ConfigurationError
from broker.settings.traces import TracesSection
from broker.traces import spans

EXTRA = "worklist-broker[traces]"
MISSING = f"[traces] endpoint needs packages that are not installed: pip install '{EXTRA}'"


def installed() -> bool:
    """The packages of the extra are there. Nothing is imported but the folder that holds them."""
    try:
        return find_spec("opentelemetry.proto") is not None
    except ModuleNotFoundError:
        return False


@contextmanager
def exporting(wanted: TracesSection, worker: int = 1) -> Iterator[None]:
    """Measure work while the context is open, if there is an endpoint. `worker`: number of this process.

    Raises ConfigurationError without the packages.
    """
    if not wanted.endpoint:
        yield
        return
    if not installed():
        raise ConfigurationError(MISSING)
    from broker.traces.encoding import encoded
    from broker.traces.exporter import Exporter

    exporter = Exporter(wanted, partial(encoded, worker=worker, host=socket.gethostname()))
    exporter.start()
    spans.use(exporter)
    try:
        yield
    finally:
        spans.use(None)
        exporter.stop()
