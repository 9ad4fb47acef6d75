"""`broker conformance`: writes the DICOM conformance statement. Asks the running broker, or reads its database."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter

from broker.cli.asking.anywhere import ask
from broker.cli.common import CommandRefused
from broker.cli.output import say, say_document, say_json
from broker.conformance import markdown, web_text
from broker.conformance.statement import ConformanceStatement


def run(config: Path | None, *, html: Path | None, as_markdown: Path | None, as_json: bool) -> None:
    """Write files, or print Markdown. Raises CommandRefused, ConfigurationError, PeerFault, StoreUnavailable."""
    answer = ask(config, "GET", "/conformance")
    statement = TypeAdapter(ConformanceStatement).validate_python(answer)
    if html is not None:
        _write(html, web_text.write(statement))
    if as_markdown is not None:
        _write(as_markdown, markdown.write(statement))
    if as_json:
        say_json(answer, indent=2)
    elif html is None and as_markdown is None:
        say_document(markdown.write(statement))


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandRefused(f"{file}: {error.strerror or 'cannot be written'}") from None
    say(f"{file}: written", err=True)
