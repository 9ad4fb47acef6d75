"""Chooses the mapping profile that a message is tried or run again by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from broker.hl7.header import read_header
from broker.hl7.tolerance import USUAL, Tolerance
from broker.orders.mapping import document as profile_document
from broker.orders.mapping.book import DEFAULT, ProfileBook
from broker.orders.mapping.profile import Profile


@dataclass(frozen=True, slots=True)
class ProfileChoice:
    """By which profile: a name in force, a profile as TOML, or neither: the one of the message's sender."""

    name: str = ""
    toml: str = ""

    @property
    def given(self) -> bool:
        """A name or a text is given."""
        return bool(self.name or self.toml)


def choose(
    choice: ProfileChoice,
    book: ProfileBook,
    texts: Mapping[str, tuple[int, str]],
    raw: bytes = b"",
    fallback: str = DEFAULT,
    tolerance: Tolerance = USUAL,
) -> Profile:
    """The profile for a message (`raw`) at a listener of this tolerance.

    `fallback` names the one for senders that no profile claims.

    A profile as TOML may extend those of `texts` (version and TOML text by name). Raises ConfigurationError.
    """
    if choice.toml:
        document = profile_document.read(choice.toml, "mapping profile")
        documents = {key: profile_document.read(text, f"mapping {key!r}") for key, (_, text) in texts.items()}
        together = {**documents, document["name"]: document}
        return ProfileBook(together, book.modalities).named(document["name"])
    if choice.name:
        return book.named(choice.name)
    header = read_header(raw, tolerance)
    return book.choose(header, fallback) if header else book.named(fallback)
