"""Identifiers as their sender writes them, where a profile makes another form of them that fits DICOM. Pure."""

from __future__ import annotations

from broker.model.order import Document
from broker.orders.core.identifiers import kept_as


def sent_as(keyword: str) -> str:
    """The name under which an order number is stored as its sender writes it, where the broker knows it by another."""
    return f"Sent{keyword}"


def as_sent(attributes: Document, keyword: str, value: str) -> str:
    """An identifier as its sender writes it: the long form where a short one stands for it."""
    return str(attributes.get(kept_as(keyword)) or value)


def number_as_sent(attributes: Document, keyword: str, number: str, *authority: str) -> tuple[str, ...]:
    """An order number with its authority (components of an EI) as its sender writes it."""
    written = attributes.get(sent_as(keyword))
    if written:
        return tuple(written)
    return (as_sent(attributes, keyword, number), *authority)
