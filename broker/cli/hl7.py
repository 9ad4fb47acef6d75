"""`broker hl7`: try a message by a mapping, send messages, run stored ones again."""

from __future__ import annotations

import asyncio
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.asking.desk import ask, mistakes, settings_of
from broker.cli.mapping import Config
from broker.errors import ConfigurationError

if TYPE_CHECKING:
    from broker.settings import Settings

app = typer.Typer(no_args_is_help=True, help="HL7 messages: try, send, run again.")
Profile = Annotated[
    str, typer.Option("--profile", help="A profile by name or file; else that of the sender.", show_default=False)
]
_ADDRESS = re.compile(r"(?:\[([^\]]+)\]|([^:\[\]]+)):(\d{1,5})")
MAX_FILE = 64 * 1024 * 1024


@app.command("test")
def try_message(
    file: Annotated[Path, typer.Argument(help="A message, one segment per line; - reads the terminal.")] = Path("-"),
    profile: Profile = "",
    config: Config = None,
) -> None:
    """Show what a message would be answered, and where each attribute of the worklist entry comes from.

    Nothing is stored, and nothing that is stored is looked at but the mappings in force.
    """
    from broker.cli.views.hl7_view import show_test
    from broker.orders import mappings
    from broker.orders.trying import preview
    from broker.orders.trying.explanation import explain
    from broker.service import mapping_desk

    with mistakes():
        settings = settings_of(config)
        texts = mappings.peek(settings.database_url())
        found = []
        for text in _messages(file):
            raw = preview.as_bytes(text)
            name, toml = _profile(profile)
            chosen = mapping_desk.chosen(raw, mappings.book_of(texts), texts, name, toml, settings.hl7.profile)
            station = settings.worklist.default_station
            found.append(mapping_desk.tested(explain(raw, chosen, settings.zone(), default_station=station)))
    for one in found:
        show_test(one.model_dump())
    if any(one.code != "AA" for one in found):
        raise typer.Exit(1)


@app.command()
def send(
    to: Annotated[str, typer.Argument(metavar="HOST:PORT")],
    files: Annotated[list[Path], typer.Argument(help="Files of messages; - reads from the terminal.")],
    count: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many times each.")] = 1,
    timeout: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds to connect, and for each answer.")] = 30,
    tls_ca: Annotated[Path | None, typer.Option(help="Use TLS: authorities that sign the receiver (PEM).")] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="Our certificate (PEM).")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its key (PEM).")] = None,
) -> None:
    """Send messages over MLLP and show each acknowledgement. Exit code 1 if one of them is not positive."""
    from broker.cli.views.hl7_view import show_answer
    from broker.errors import PeerFault
    from broker.service.loop import loop_factory
    from broker.tools.hl7_send import Receiver
    from broker.tools.hl7_send import send as deliver

    with mistakes():
        match = _ADDRESS.fullmatch(to)
        if match is None or not 0 < int(match[3]) < 65536:
            raise ConfigurationError(f"{to}: not of the form host:port")
        context = _tls(tls_ca, tls_certificate, tls_key)
        messages = [message for file in files for message in _raw_messages(file)]
        if not messages:
            raise ConfigurationError("no message in the files: each begins with a line that begins with MSH")
        receiver = Receiver(match[1] or match[2], int(match[3]), timeout, context)
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                good = runner.run(deliver(receiver, messages, count, show_answer))
        except PeerFault as error:
            raise PeerFault(f"{to}: {error} ({error.code})") from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
    if not good:
        raise typer.Exit(1)


@app.command()
def replay(
    ids: Annotated[list[int] | None, typer.Option("--id", help="A message of the journal by its number.")] = None,
    since: Annotated[str, typer.Option(help="Received since 2026-03-12 or 2026-03-12T08:00 (site's clock).")] = "",
    until: Annotated[str, typer.Option(help="Received before.")] = "",
    sender: Annotated[str, typer.Option(help="MSH-3, or MSH-3|MSH-4.")] = "",
    type_: Annotated[str, typer.Option("--type", help="ORM, or ORM^O01.")] = "",
    answer: Annotated[str, typer.Option(help="Only those answered so: AE.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many, the newest.")] = 100,
    profile: Profile = "",
    write: Annotated[bool, typer.Option("--write", help="Keep what changes.")] = False,
    config: Config = None,
) -> None:
    """Run stored messages again and show how the worklist would differ; with --write it does."""
    from broker.admin.mappings import ReplayBody
    from broker.cli.views.hl7_view import show_replay

    with mistakes():
        settings = settings_of(config)
        name, toml = _profile(profile)
        body: dict[str, Any] = {
            "rows": ids or [],
            "since": _moment(since, settings) or 0,
            "until": _moment(until, settings),
            "sender": sender,
            "message_type": type_,
            "answer_code": answer,
            "limit": limit,
            "mapping": name,
            "toml": toml,
            "write": write,
        }
        done = ask(
            settings, "/api/v1/messages/replay", body, lambda desk, actor: desk.replay(ReplayBody(**body), actor)
        )
    show_replay(done, write=write)
    if any(one["code"] != "AA" for one in done):
        raise typer.Exit(1)


def _profile(wanted: str) -> tuple[str, str]:
    """Name and TOML text that `--profile` means: a file, if there is one, else a name."""
    from broker.orders.mappings import read_file

    path = Path(wanted)
    return ("", read_file(path)) if wanted and (path.is_file() or path.suffix == ".toml") else (wanted, "")


def _read(file: Path) -> bytes:
    try:
        raw = sys.stdin.buffer.read(MAX_FILE + 1) if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror or 'cannot be read'}") from None
    if len(raw) > MAX_FILE:
        raise ConfigurationError(f"{file}: larger than {MAX_FILE} bytes")
    return raw


def _messages(file: Path) -> list[str]:
    """Messages of a file as text. Raises ConfigurationError if there is none."""
    from broker.hl7 import charset
    from broker.hl7.findings import MalformedMessage
    from broker.orders.trying import preview

    raw = _read(file)
    try:
        text = raw.decode("utf-8")  # pasted
    except UnicodeDecodeError:
        try:
            text = charset.decode(raw.lstrip(b"\x0b\r\n \t"))[0]
        except MalformedMessage:
            text = raw.decode("latin_1")
    found = preview.split(text)
    if not found:
        raise ConfigurationError(f"{file}: no message: each begins with a line that begins with MSH")
    return found


def _raw_messages(file: Path) -> list[bytes]:
    """Messages of a file as they are, but for line ends and framing."""
    parts = re.split(rb"(?:^|(?<=[\r\n\x0b]))(?=MSH)", _read(file))
    lines = ([line.strip(b" \t\x0b\x1c") for line in re.split(rb"[\r\n]+", part)] for part in parts)
    found = [b"".join(line + b"\r" for line in some if line) for some in lines]
    return [message for message in found if message.startswith(b"MSH")]


def _moment(text: str, settings: Settings) -> float | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=settings.zone()).timestamp()
    except ValueError:
        raise ConfigurationError(f"{text}: not a date or time like 2026-03-12T08:00") from None


def _tls(ca: Path | None, certificate: Path | None, key: Path | None) -> Any:
    if ca is None and certificate is None and key is None:
        return None
    if ca is None or certificate is None or key is None:
        raise ConfigurationError("TLS needs --tls-ca, --tls-certificate and --tls-key")
    from broker.tls import TlsContexts, TlsFiles

    return TlsContexts(TlsFiles(certificate, key, ca, None), server=False, place="--tls")()
