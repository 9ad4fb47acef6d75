"""Holds the mapping profiles in force, and chooses the one that a sender's messages are read by."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from broker.errors import ConfigurationError
from broker.hl7.header import Header
from broker.model.modalities import MODALITIES
from broker.orders.mapping.document import ProfileDocument, built_in_documents, resolved
from broker.orders.mapping.mistakes import ProfileMistake, place_of
from broker.orders.mapping.parsing import parse
from broker.orders.mapping.profile import Profile

DEFAULT = "ihe"


@lru_cache(maxsize=32)
def built_in(name: str = DEFAULT, modalities: frozenset[str] = MODALITIES) -> Profile:
    """A profile that comes with the broker. Raises ConfigurationError."""
    return parse(resolved(name, {}), modalities)


class ProfileBook:
    """Profiles by name and by sender. Immutable."""

    def __init__(
        self, documents: Mapping[str, ProfileDocument] | None = None, modalities: frozenset[str] = MODALITIES
    ) -> None:
        """Built-in profiles, and `documents` by name, which hide built-in ones; `modalities` are those that we know.

        Raises ConfigurationError that names profile and key; also when two profiles claim the same sender.
        """
        documents = documents or {}
        self.modalities = modalities
        names = [*built_in_documents(), *(name for name in documents if name not in built_in_documents())]
        hidden = documents.keys() & built_in_documents().keys()  # others may extend these
        self._profiles = {
            name: parse(resolved(name, documents), modalities)
            if name in documents or hidden
            else built_in(name, modalities)
            for name in names
        }
        owners: dict[tuple[str, str], str] = {}
        for profile in self._profiles.values():
            for sender in profile.senders:
                other = owners.setdefault(sender.key, profile.name)
                if other != profile.name:
                    raise ProfileMistake(place_of(profile.name), "senders", f"claimed by {other!r} too")
        claims = [(sender, profile) for profile in self._profiles.values() for sender in profile.senders]
        claims.sort(key=lambda claim: (claim[0].specificity, claim[0].key), reverse=True)
        self._claims = [(*sender.compiled(), profile) for sender, profile in claims]

    def names(self) -> tuple[str, ...]:
        """Names of all profiles, built-in ones first."""
        return tuple(self._profiles)

    def named(self, name: str) -> Profile:
        """A profile by name. Raises ConfigurationError."""
        if name not in self._profiles:
            raise ConfigurationError(f"mapping profile {name!r}: no such profile")
        return self._profiles[name]

    def choose(self, header: Header, fallback: str = DEFAULT) -> Profile:
        """The profile for a message: of the most specific claim on its sender, else `fallback`."""
        application, facility = header.get(3, 1).casefold(), header.get(4, 1).casefold()
        for of_application, of_facility, profile in self._claims:
            if of_application.matches(application) and of_facility.matches(facility):
                return profile
        return self._profiles[fallback]
