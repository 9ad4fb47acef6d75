"""`broker conformance`: writes the DICOM conformance statement. Asks the running broker, or reads nodes without one.

Without a running broker nothing is made or changed: neither a data folder nor a database.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from broker.cli.asking import control
from broker.cli.common import CommandRefused, settings_of
from broker.cli.output import say, say_document, say_json
from broker.conformance import markdown, web_text
from broker.conformance.building import statement_now
from broker.conformance.statement import ConformanceStatement
from broker.routing.site import nodes_in_force
from broker.settings import Settings


def run(config: Path | None, *, html: Path | None, as_markdown: Path | None, as_json: bool) -> None:
    """Write files, or print Markdown. Raises CommandRefused, ConfigurationError, PeerFault, StoreUnavailable."""
    answer = _asked(settings_of(config))
    statement = TypeAdapter(ConformanceStatement).validate_python(answer)
    if html is not None:
        _write(html, web_text.write(statement))
    if as_markdown is not None:
        _write(as_markdown, markdown.write(statement))
    if as_json:
        say_json(answer, indent=2)
    elif html is None and as_markdown is None:
        say_document(markdown.write(statement))


def _asked(settings: Settings) -> dict[str, Any]:
    """The statement as REST has it. The running broker knows its settings; a file may have been changed since."""
    answer = control.call(settings, "GET", "/api/v1/conformance")
    if answer is None:
        nodes = nodes_in_force(settings.database_url(), settings.service.site)
        return statement_now(settings, nodes).document()
    if not answer.good:
        raise CommandRefused(answer.problem)
    body: dict[str, Any] = answer.body
    return body


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandRefused(f"{file}: {error.strerror or 'cannot be written'}") from None
    say(f"{file}: written", err=True)
