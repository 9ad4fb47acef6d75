"""`broker echo` and `broker send`: reach a DICOM node by hand, beside a running broker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

from broker import telemetry
from broker.cli.asking import target
from broker.cli.common import INTERRUPTED
from broker.cli.output import say
from broker.dicom.dimse import words
from broker.errors import PeerFault
from broker.service.loop import loop_factory


def echo(name: str, *, config: Path | None, calling: str | None, timeout: float, count: int) -> int:
    """Echo so many times; the exit code: 0 if the node answers every time. Raises ConfigurationError."""
    from broker.tools.echo import echo as ask

    peer = target.find(name, config, calling, timeout)
    telemetry.configure("warning", "console", False)
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            good = runner.run(ask(peer.remote, count, lambda line: say(f"{peer.label}: {line}")))
    except PeerFault as error:
        say(f"{peer.label}: {words.failure(error)}", err=True)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0 if good else 1


def send(
    name: str,
    paths: Sequence[Path],
    *,
    config: Path | None,
    calling: str | None,
    timeout: float,
    associations: int,
    as_json: bool,
) -> int:
    """Send files; the exit code: 0 if there were DICOM files and all arrived. Raises ConfigurationError."""
    from broker.cli.views.send_view import SendView, summary
    from broker.tools.files import find
    from broker.tools.send import send as deliver
    from broker.tools.send_report import SendReport

    peer = target.find(name, config, calling, timeout)
    telemetry.configure("warning", "console", False)
    report = SendReport()
    try:
        with SendView(report, peer.label) as view:
            files = find(paths, report, view.looking)
            if files:
                work = deliver(peer.remote, files, report, associations=associations, progress=view.sending)
                with asyncio.Runner(loop_factory=loop_factory()) as runner:
                    runner.run(work)
    except KeyboardInterrupt:
        report.interrupted = True
    say(json.dumps(report.as_json()) if as_json else summary(report, peer.label))
    return INTERRUPTED if report.interrupted else 0 if report.good else 1
