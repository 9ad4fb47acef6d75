"""Reads messages of the journal as text, as the messages of their senders are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from broker.hl7.findings import MalformedMessage
from broker.hl7.text.decoding import decode
from broker.orders.inbound.reception import Interface, Profiles, open_message
from broker.orders.mapping.book import DEFAULT


def text_of(raw: bytes, listener: str, interfaces: Mapping[str, Interface], profiles: Callable[[str], Profiles]) -> str:
    """The text of a message, a line for each segment. What is in no character set is shown with replacements.

    `listener` is the one that it came to; `profiles` chooses profiles of senders, given the profile of a listener.
    """
    interface = interfaces.get(listener) or next(iter(interfaces.values()))
    opened = open_message(raw, interface, profiles(interface.profile or DEFAULT))
    tolerance = replace(opened.tolerance if opened else interface.tolerance, replace=True)
    try:
        text = decode(raw, tolerance).text
    except MalformedMessage:
        text = raw.decode("latin_1")
    return text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
