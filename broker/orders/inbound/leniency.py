"""Replaces identifiers and station titles that DICOM cannot hold, where a profile decides so (`[reading]`). Pure.

An identifier that is too long gets a short form, which is always the same for it; the long one is kept beside it under
`kept_as`, for staff. An unusable UID or AE title counts as absent. Each of it is a finding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from broker.model.order import Document
from broker.orders.core import identifiers
from broker.orders.mapping import data_types
from broker.orders.mapping.profile import LongIdentifiers, MappedAttribute, Profile, UnusableStation, UnusableUid
from broker.orders.mapping.representations import LENGTH

_SHORTENED = ("SH", "LO")


@dataclass(frozen=True, slots=True)
class LenientTexts:
    """Texts of a field that can be used, the long form of the first (empty for none), and what to tell the sender."""

    texts: list[str]
    long: str = ""
    told: tuple[str, ...] = ()


def lenient(attribute: MappedAttribute, texts: Sequence[str], profile: Profile) -> LenientTexts:
    """Texts of an identifier as a profile's leniencies leave them; what none of them covers stays as it is."""
    good: list[str] = []
    told: list[str] = []
    long = ""
    for text in texts:
        value = profile.mapped(attribute.keyword, text.strip())
        mapped = "" if value is None else str(value)
        if mapped == "" or _fits(mapped, attribute.vr):
            good.append(text)
            continue
        stand_in, reason = _instead(attribute, mapped, profile)
        if stand_in:
            long = long or mapped
            good.append(stand_in)
        elif not reason:
            good.append(text)
        if reason:
            told.append(reason)
    return LenientTexts(good, long, tuple(told))


def kept(attribute: MappedAttribute, long: str, profile: Profile) -> Document:
    """What is stored beside an identifier: its long form, or (empty) that it has none."""
    if profile.reading.long_identifiers is LongIdentifiers.REFUSE or attribute.vr not in _SHORTENED:
        return {}
    return {identifiers.kept_as(attribute.keyword): long}


def _fits(text: str, vr: str) -> bool:
    try:
        return bool(data_types.text(text, vr, exact=True))
    except data_types.Unusable:
        return False


def _instead(attribute: MappedAttribute, text: str, profile: Profile) -> tuple[str, str]:
    """What stands for a text that does not fit, and the finding; two empty texts if no leniency covers it."""
    reading, limit = profile.reading, LENGTH[attribute.vr]
    if attribute.vr == "UI" and reading.unusable_uid is UnusableUid.MAKE:
        return "", "Value is no UID and is left out: without a known one the broker makes one"
    if attribute.vr == "AE" and reading.unusable_station is UnusableStation.DEFAULT:
        return "", "Value is no AE title and is left out: without a known station the step goes to the default one"
    if attribute.vr in _SHORTENED and reading.long_identifiers is LongIdentifiers.SHORT and len(text) > limit:
        short = identifiers.short_form(text, limit)
        if _fits(text[:limit], attribute.vr) and "\\" not in text:
            return short, f"Value is too long ({len(text)} of at most {limit} characters): {short} stands for it"
    return "", ""
