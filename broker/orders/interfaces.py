"""Builds the interfaces that the settings describe: what each HL7 listener takes."""

from __future__ import annotations

from collections.abc import Mapping

from broker.errors import ConfigurationError
from broker.hl7.findings import MalformedMessage
from broker.hl7.text import labels
from broker.hl7.tolerance import Tolerance
from broker.orders.inbound.reception import AnswerKind, Interface, KnownSender, OnTransient
from broker.settings import Hl7Listener, Settings


def interfaces_of(settings: Settings, known: KnownSender) -> dict[str, Interface]:
    """All interfaces by name, that of `[hl7]` first; `known` is asked where only known senders are taken.

    Raises ConfigurationError.
    """
    found = {}
    for number, listener in enumerate(settings.hl7.listeners()):
        place = f"hl7.listener.{number - 1}" if number else "hl7"
        found[listener.name] = interface_of(listener, place, known if listener.accept == "known" else None)
    return found


def chosen(interfaces: Mapping[str, Interface], name: str = "") -> Interface:
    """An interface by its name, the first without one. Raises ConfigurationError."""
    if name and name not in interfaces:
        raise ConfigurationError(f"listener {name!r}: no such listener, but {', '.join(interfaces)}")
    return interfaces[name] if name else next(iter(interfaces.values()))


def interface_of(listener: Hl7Listener, place: str, known: KnownSender | None) -> Interface:
    """The interface that the keys of a listener describe. Raises ConfigurationError."""
    for key, names in (("charset", listener.charset), ("override_charset", listener.override_charset)):
        try:
            labels.codec_of(labels.named(names))
        except MalformedMessage:
            raise ConfigurationError(f"{place}.{key}: not a character set that is read") from None
    optional = frozenset[str](listener.optional_fields)
    tolerance = Tolerance(
        listener.charset,
        listener.charset_errors == "replace",
        listener.segment_ends == "cr",
        listener.strict,
        listener.default_version if "MSH-12" in optional else "",
        listener.override_charset,
    )
    return Interface(
        name=listener.name,
        known=known,
        on_transient=OnTransient(listener.on_transient),
        processing_ids=frozenset(listener.processing_ids),
        answers=AnswerKind(listener.answers),
        profile=listener.profile,
        receiving=frozenset(listener.receiving),
        optional_fields=optional,
        tolerance=tolerance,
        refuse_reused=listener.duplicates == "refuse",
    )
