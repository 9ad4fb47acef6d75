"""`broker hl7`: try a message by a mapping profile, send messages, run stored ones again."""

from __future__ import annotations

import asyncio
import re
import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from broker.cli.asking.running import ask_or_do
from broker.cli.common import INTERRUPTED, Config, exit_on_error, moment, settings_of
from broker.errors import ConfigurationError
from broker.hl7.codes import AckCode
from broker.model.audit import LOCAL
from broker.model.modalities import known_modalities
from broker.whole_files import read_whole

if TYPE_CHECKING:
    from broker.model.message import MessageSelection
    from broker.orders.trying.profile_choice import ProfileChoice
    from broker.settings import Settings
    from broker.store.db.database import Database

app = typer.Typer(no_args_is_help=True, help="Try, send and run again HL7 messages.")
Profile = Annotated[
    str,
    typer.Option(
        "--profile", help="Name or file of a mapping profile; else that of the message's sender.", show_default=False
    ),
]
MessageFile = Annotated[Path, typer.Argument(help="File of messages, one segment per line; - reads the terminal.")]
_ADDRESS = re.compile(r"(?:\[([^\]]+)\]|([^:\[\]]+)):(\d{1,5})")
MAX_FILE = 64 * 1024 * 1024


@app.command("test")
def try_message(
    file: MessageFile = Path("-"),
    profile: Profile = "",
    listener: Annotated[
        str, typer.Option(help="Name of the HL7 listener that takes it, else the first one.", show_default=False)
    ] = "",
    config: Config = None,
) -> None:
    """Show how a message would be answered, and where each attribute of the worklist entry comes from.

    A file is read as its bytes would be received. Text that is pasted stands for bytes in the set that it declares.

    Stores nothing, and reads nothing that is stored but the mapping profiles and the senders in force.
    """
    from broker.cli.views.hl7_view import show_test
    from broker.orders import mapping_texts
    from broker.orders.interfaces import chosen, interfaces_of
    from broker.orders.mapping.book import DEFAULT
    from broker.orders.trying import preview
    from broker.orders.trying.explanation import explain
    from broker.orders.trying.profile_choice import choose
    from broker.routing.site import peek_nodes
    from broker.site.directory import Directory

    with exit_on_error():
        settings = settings_of(config)
        texts = mapping_texts.peek(settings.database_url())
        choice = _choice(profile)
        directory = Directory()
        directory.take(peek_nodes(settings.database_url()))
        interface = chosen(interfaces_of(settings, directory.knows_sender), listener)
        book = mapping_texts.book_of(texts, known_modalities(settings.worklist.modalities))
        explanations = []
        for message in _messages(file):
            raw = preview.as_bytes(message) if isinstance(message, str) else message
            mapping = choose(choice, book, texts, raw, interface.profile or DEFAULT, interface.tolerance)
            if isinstance(message, str):
                raw = preview.as_bytes(message, mapping.reading.charset)
            station = settings.worklist.default_station
            explanations.append(explain(raw, mapping, settings.zone(), interface=interface, default_station=station))
    for explanation in explanations:
        show_test(explanation)
    if any(explanation.code != AckCode.AA for explanation in explanations):
        raise typer.Exit(1)


@app.command()
def send(
    to: Annotated[str, typer.Argument(metavar="HOST:PORT", help="Address of the receiver.")],
    files: Annotated[list[Path], typer.Argument(help="Files of messages; - reads the terminal.")],
    count: Annotated[int, typer.Option(min=1, max=1_000_000, help="Send each so many times.")] = 1,
    timeout: Annotated[
        float, typer.Option(min=0.1, max=3600, help="Seconds to wait for the connection and for each answer.")
    ] = 30,
    tls_ca: Annotated[Path | None, typer.Option(help="Use TLS, and trust the authorities in this file (PEM).")] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="File of our certificate (PEM).")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="File of its key (PEM).")] = None,
) -> None:
    """Send messages over MLLP and show each acknowledgement.

    Exits with 1 if one of them is not positive.
    """
    from broker.cli.views.hl7_view import show_answer
    from broker.errors import PeerFault
    from broker.service.loop import loop_factory
    from broker.tools.hl7_send import MllpTarget
    from broker.tools.hl7_send import send as deliver

    with exit_on_error():
        match = _ADDRESS.fullmatch(to)
        if match is None or not 0 < int(match[3]) < 65536:
            raise ConfigurationError(f"{to}: not of the form host:port, like 127.0.0.1:2575")
        context = _tls(tls_ca, tls_certificate, tls_key)
        messages = [message for file in files for message in _split(_read(file))]
        if not messages:
            raise ConfigurationError("no message in the files: each begins with a line that begins with MSH")
        target = MllpTarget(match[1] or match[2], int(match[3]), timeout, context)
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                good = runner.run(deliver(target, messages, count, show_answer))
        except PeerFault as error:
            raise PeerFault(f"{to}: {error} ({error.code})") from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
    if not good:
        raise typer.Exit(1)


@app.command()
def replay(
    ids: Annotated[
        list[int] | None,
        typer.Option("--id", help="Run this message of the journal again, by its number; several times."),
    ] = None,
    since: Annotated[
        str, typer.Option(help="Only those received since, like 2026-03-12 or 2026-03-12T08:00 (site's clock).")
    ] = "",
    until: Annotated[str, typer.Option(help="Only those received before.")] = "",
    sender: Annotated[str, typer.Option(help="Only those of this sender: MSH-3, or MSH-3|MSH-4.")] = "",
    type_: Annotated[str, typer.Option("--type", help="Only those of this type: ORM, or ORM^O01.")] = "",
    answer: Annotated[str, typer.Option(help="Only those that were answered so, like AE.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=500, help="At most so many, the newest first.")] = 100,
    profile: Profile = "",
    write: Annotated[bool, typer.Option("--write", help="Write what changes.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Without the checks of processing id, sender and receiver.")
    ] = False,
    reason: Annotated[
        str, typer.Option(help="Why they are run again, or why the checks do not count; it stands in the audit trail.")
    ] = "",
    config: Config = None,
) -> None:
    """Run stored messages again and show how the worklist would differ. Writes nothing without --write.

    A message that its listener would refuse is refused again.
    """
    from broker.cli.views.hl7_view import show_replay
    from broker.model.message import MessageSelection

    with exit_on_error():
        settings = settings_of(config)
        if force and not reason.strip():
            raise ConfigurationError("--force needs --reason")
        if reason.strip() and not (force or write):
            raise ConfigurationError("--reason is for --write and --force")
        choice = _choice(profile)
        selection = MessageSelection(
            rows=tuple(ids or ()),
            since=moment(since, settings) if since else 0,
            until=moment(until, settings) if until else None,
            sender=sender,
            message_type=type_,
            answer_code=answer,
            limit=limit,
        )
        body = {**asdict(selection), "mapping": choice.name, "toml": choice.toml, "write": write}
        body |= {"force": reason if force else "", "reason": reason}

        def run_here(database: Database, actor: str) -> list[dict[str, Any]]:
            return _replay(database, actor, settings, choice, selection, reason, write=write, force=force)

        replayed = ask_or_do(settings, "/messages/replay", body, run_here)
    show_replay(replayed, write=write)
    if any(message["code"] != AckCode.AA for message in replayed):
        raise typer.Exit(1)


def _replay(
    database: Database,
    actor: str,
    settings: Settings,
    choice: ProfileChoice,
    selection: MessageSelection,
    reason: str,
    *,
    write: bool,
    force: bool,
) -> list[dict[str, Any]]:
    """Run stored messages again as the running broker does."""
    from broker.cli.asking import control
    from broker.orders.interfaces import interfaces_of
    from broker.orders.mapping_versions import Mappings
    from broker.orders.trying import replay as again
    from broker.routing.site import site_in_force
    from broker.site.directory import Directory

    published = Mappings(database, known_modalities(settings.worklist.modalities))
    directory = Directory()
    directory.take(site_in_force(database).value.nodes)
    bench = again.Bench(
        published.choice(choice),
        settings.zone(),
        settings.worklist.default_station,
        actor,
        interfaces=interfaces_of(settings, directory.knows_sender),
        by_interface=None if choice.given else published.profiles,
        forced=reason if force else "",
        reason=reason,
        address=LOCAL,
    )
    replayed = [asdict(message) for message in again.replay(database, selection, bench, write=write)]
    control.note_view(database, "message.replayed", len(replayed))
    return replayed


def _choice(profile: str) -> ProfileChoice:
    """What `--profile` means: a file, if there is one, else a name."""
    from broker.orders.mapping_versions import read_file
    from broker.orders.trying.profile_choice import ProfileChoice

    path = Path(profile)
    if profile and (path.is_file() or path.suffix == ".toml"):
        return ProfileChoice(toml=read_file(path))
    return ProfileChoice(profile)


def _read(file: Path) -> bytes:
    try:
        raw = sys.stdin.buffer.read(MAX_FILE + 1) if str(file) == "-" else read_whole(file, MAX_FILE)
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror or 'cannot be read'}") from None
    if len(raw) > MAX_FILE:
        raise ConfigurationError(f"{file}: larger than {MAX_FILE} bytes")
    return raw


def _messages(file: Path) -> list[str] | list[bytes]:
    """Messages of a file as their bytes would be received, pasted ones as text. Raises ConfigurationError for none."""
    from broker.orders.trying import preview

    raw = _read(file)
    messages: list[str] | list[bytes] = preview.messages_of(raw)
    if str(file) == "-":
        with suppress(UnicodeDecodeError):  # piped bytes of a message rather than pasted text
            messages = preview.split(raw.decode("utf-8"))
    if not messages:
        raise ConfigurationError(f"{file}: no message: each begins with a line that begins with MSH")
    return messages


def _split(raw: bytes) -> list[bytes]:
    """Messages as they are, but for line ends and framing."""
    parts = re.split(rb"(?:^|(?<=[\r\n\x0b]))(?=MSH)", raw)
    lines = ([line.strip(b" \t\x0b\x1c") for line in re.split(rb"[\r\n]+", part)] for part in parts)
    messages = [b"".join(line + b"\r" for line in segments if line) for segments in lines]
    return [message for message in messages if message.startswith(b"MSH")]


def _tls(ca: Path | None, certificate: Path | None, key: Path | None) -> Any:
    if ca is None and certificate is None and key is None:
        return None
    if ca is None or certificate is None or key is None:
        raise ConfigurationError("TLS needs --tls-ca, --tls-certificate and --tls-key")
    from broker.tls import TlsContexts, TlsFiles

    return TlsContexts(TlsFiles(certificate, key, ca, None), server=False, place="--tls")()
