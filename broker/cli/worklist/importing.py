"""`broker worklist import`: imports from another worklist server, by the running broker or while none runs."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, tzinfo
from pathlib import Path
from urllib.parse import quote

from broker.admin.api import imports
from broker.admin.api.imports import ImportItemView, SourceReport, item_view
from broker.cli.asking import control
from broker.cli.common import settings_of
from broker.cli.output import say
from broker.cli.views.send_view import printable
from broker.errors import BrokerError, ConfigurationError, PeerFault
from broker.routing.site import first_import, site_in_force
from broker.service.loop import loop_factory
from broker.settings import Settings
from broker.site.directory import Directory
from broker.site.remotes import Remotes, tls_files
from broker.store.orders import imported
from broker.worklist.source.source_schedule import SourceSchedule

LISTED = 50  # items
_ORDER = (
    "created",
    "updated",
    "moved",
    "canceled",
    "completed",
    "discontinued",
    "unchanged",
    "ours",
    "ended",
    "skipped",
    "kept",
    "missing",
    "repeated",
    "refused",
    "unreadable",
)
_WORDS = {
    "ours": "left as another sender has written them",
    "ended": "ended here already",
    "missing": "not there any more",
    "moved": "found at another time",
    "canceled": "cancelled, being there no more or cancelled there",
    "completed": "completed, as they are there",
    "discontinued": "discontinued, as they are there",
    "skipped": "not offered, having ended there",
    "kept": "kept nevertheless",
    "repeated": "told twice",
}


def run(node: str, *, config: Path | None, dry: bool, as_json: bool) -> int:
    """Import; the exit code: 0 if all is in place, 1 if not. Raises ConfigurationError."""
    settings = settings_of(config)
    try:
        report = _import(settings, node, dry)
    except ConfigurationError:
        raise
    except BrokerError as error:
        say(f"{node}: {error}", err=True)
        return 1
    say(json.dumps(report.model_dump()) if as_json else summary(report))
    return 0 if good(report) else 1


def good(report: SourceReport) -> bool:
    """The server told all it has, and all of it is in place."""
    return report.complete and not report.outcomes.get("refused", 0)


def summary(report: SourceReport) -> str:
    """For people, one line for each outcome; without patients."""
    state = "complete" if report.complete else f"not complete ({report.error or 'not all could be read'})"
    lines = [f"{report.node}: {state}{', dry run: nothing was written' if report.dry_run else ''}"]
    lines += [f"  {count:6} {_WORDS.get(kind, kind)}" for kind in _ORDER if (count := report.outcomes.get(kind, 0))]
    lines += [f"  {count:6} × {reason}" for reason, count in sorted(report.reasons.items())]
    lines += [_item(item) for item in report.items[:LISTED]]
    if len(report.items) > LISTED:
        lines.append(f"  … and {len(report.items) - LISTED} more items: --json, `broker worklist refused`")
    if report.left_out:
        lines.append("  orders do not keep: " + ", ".join(sorted(report.left_out)))
    return "\n".join(lines)


def _item(item: ImportItemView) -> str:
    """One item that a person should look at, by its accession number."""
    texts = "; ".join(": ".join(filter(None, (one.path, one.text))) for one in item.findings)
    place = f" of {printable(item.place)}" if item.place else ""
    return f"  {item.outcome:8} accession {printable(item.AccessionNumber) or '(none)'}{place}: {texts}"


def listing(source: str | None, *, config: Path | None, as_json: bool) -> str:
    """Items of imports that need a look, of one node or of all and of files. Raises BrokerError."""
    settings = settings_of(config)
    asked = "" if source is None else f"?source={quote(source, safe='')}"
    answer = control.call(settings, "GET", f"/api/v1/imports{asked}")
    if answer is None:
        with control.alone(settings) as database:
            items = [item_view(note) for note in database.read(imported.find, source, 1000).result()]
            control.note_view(database, "import.listed", len(items))
    elif answer.good:
        items = [ImportItemView.model_validate(one) for one in answer.body]
    else:
        raise PeerFault(f"the broker does not tell: {answer.problem}")
    if as_json:
        return json.dumps([item.model_dump() for item in items])
    lines = [f"{item.source or 'files'}:{_item(item)} ({_often(item, settings.zone())})" for item in items]
    return "\n".join(lines) or "no items of imports need a look"


def _often(item: ImportItemView, zone: tzinfo) -> str:
    last = datetime.fromtimestamp(item.last_at, zone).strftime("%Y-%m-%d %H:%M")
    return f"{item.times} times, last at {last}" if item.times > 1 else f"at {last}"


def _import(settings: Settings, node: str, dry: bool) -> SourceReport:
    answer = control.call(settings, "POST", f"/api/v1/worklist/sources/{quote(node, safe='')}/import", {"dry_run": dry})
    if answer is None:
        return _alone(settings, node, dry)
    if answer.status == 404:
        raise _unknown(node)
    if not answer.good:
        raise PeerFault(f"the broker does not import: {answer.problem}")
    return SourceReport.model_validate(answer.body)


def _alone(settings: Settings, node: str, dry: bool) -> SourceReport:
    """The same as the running broker does."""
    with control.alone(settings) as database:
        site = site_in_force(database)
        first_import(site, settings.service.site)
        directory = Directory(site.value.nodes)
        remotes = Remotes(settings.dicom.ae_title, tls_files(settings.dicom.tls), settings.service.site.parent)
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            account = runner.run(SourceSchedule(database, settings, directory, remotes).run(node, dry=dry))
        if account is not None:
            control.note_view(database, "import.listed", len(account.named), node=node)
    if account is None:
        raise _unknown(node)
    return imports.report(account)


def _unknown(node: str) -> ConfigurationError:
    return ConfigurationError(
        f"{node}: no node with role worklist is in force: `broker nodes list` shows the nodes and their roles"
    )
