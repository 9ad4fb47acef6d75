"""Checks the draft of a mapping profile: all that is wrong, each with its line, and what its examples come to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from broker.model.modalities import MODALITIES
from broker.orders.mapping import document as profile_document
from broker.orders.mapping.book import ProfileBook
from broker.orders.mapping.document import NoToml, ProfileDocument, Texts, resolved
from broker.orders.mapping.effects import idle
from broker.orders.mapping.lines import KeyPath, line_of, line_of_syntax, places_of
from broker.orders.mapping.mistakes import ProfileMistake, place_of
from broker.orders.mapping.parsing import parse
from broker.orders.mapping.profile import SECTIONS
from broker.orders.trying import examples

MOST = 20  # mistakes that are told at once
_OF_ATTRIBUTES = ("defaults", "values", "measures")  # tables that speak of the attributes of the sections
PLACE = "mapping profile"  # names a draft before its own name is known


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftMistake:
    """What is wrong with a draft. `line` counts from 1, 0 if no line says it; `key` may be empty.

    `profile` is another one that the draft would break.
    """

    line: int
    key: str
    words: str
    profile: str = ""

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        other = f"profile {self.profile!r}: " if self.profile else ""
        return place + other + (f"{self.key}: {self.words}" if self.key else self.words)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleResult:
    """What an example of a draft came to: nothing among `failures` if all is as it says. `line`: where it begins."""

    name: str
    line: int
    failures: tuple[DraftMistake, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftCheck:
    """A draft that was checked beside the profiles in force. `name` is empty if it has none that can be used.

    Examples are run only if there are no mistakes; `broken` are failing examples of other profiles.
    """

    name: str = ""
    mistakes: tuple[DraftMistake, ...] = ()
    examples: tuple[ExampleResult, ...] = ()
    broken: tuple[DraftMistake, ...] = ()
    unchanged: bool = False

    @property
    def wrong(self) -> tuple[DraftMistake, ...]:
        """All that keeps it from being published."""
        return (*self.mistakes, *(one for example in self.examples for one in example.failures), *self.broken)


def check_draft(text: str, texts: Texts, modalities: frozenset[str] = MODALITIES, name: str = "") -> DraftCheck:
    """Check a draft beside the profiles of a site. With a `name` it must have that one.

    Raises ConfigurationError for a profile of `texts` that cannot be used, never for the draft.
    """
    try:
        draft = profile_document.read(text, PLACE)
    except NoToml as error:
        line = line_of_syntax(text, error.words)
        return DraftCheck(mistakes=(DraftMistake(line=line, key="", words=error.words),))
    except ProfileMistake as error:
        return DraftCheck(mistakes=(_told(error, places_of(text), PLACE),))
    places, own = places_of(text), draft["name"]
    if name and own != name:
        words = f"this is the page of {name!r}: add a profile to give it another name"
        return DraftCheck(name=own, mistakes=(DraftMistake(line=places[("name",)], key="name", words=words),))
    others = {key: profile_document.read(other, place_of(key)) for key, (_, other) in texts.items() if key != own}
    mistakes = [_told(one, places, place_of(own)) for one in _mistakes(draft, others, modalities)]
    if mistakes:
        return DraftCheck(name=own, mistakes=tuple(mistakes))
    book = ProfileBook({**others, own: draft}, modalities)
    results = tuple(_results(draft, book, places))
    broken = tuple(
        DraftMistake(line=0, key="", words=str(failure), profile=other)
        for other, document in others.items()
        for failure in examples.run(examples.parse(document), book.named(other))
    )
    unchanged = own in texts and texts[own][1] == text
    return DraftCheck(name=own, examples=results, broken=broken, unchanged=unchanged)


def _mistakes(draft: ProfileDocument, others: Mapping[str, ProfileDocument], known: frozenset[str]) -> Iterator[Any]:
    """All mistakes, as far as they can be told apart: each is taken out of the document, and the rest is read again."""
    name, rest, found = draft["name"], draft, 0
    while found < MOST:
        try:
            profile = parse(resolved(name, {**others, name: rest}), known)
        except ProfileMistake as error:
            yield error
            smaller, found = _without(rest, error.path), found + 1
            if smaller == rest or error.key in ("extends", "name"):
                return
            rest = smaller
        else:
            break
    if found:
        return
    try:
        ProfileBook({**others, name: draft}, known)
        examples.parse(draft)
    except ProfileMistake as error:
        yield error
    yield from list(idle(draft, profile))[:MOST]


def _without(document: ProfileDocument, path: KeyPath) -> ProfileDocument:
    """A document without a key; of a list without all of it, so that the numbers of the others stay."""
    names = list(takewhile(lambda part: isinstance(part, str), path))
    result = _removed(document, names)
    if len(names) > 1 and names[0] in SECTIONS:  # what is said about it is no mistake of its own
        for table in _OF_ATTRIBUTES:
            if names[1] in result.get(table, {}):
                result = _removed(result, [table, names[1]])
    return result


def _removed(document: ProfileDocument, names: list[Any]) -> ProfileDocument:
    """Without the deepest of the names that is there."""
    if not names or names[0] not in document:
        return document
    below = document[names[0]]
    if len(names) > 1 and isinstance(below, Mapping) and names[1] in below:
        return {**document, names[0]: _removed(below, names[1:])}
    return {key: value for key, value in document.items() if key != names[0]}


def _told(error: ProfileMistake, places: Mapping[KeyPath, int], own: str) -> DraftMistake:
    """A mistake with its line. One of another profile may still stand in the draft: both claim one sender."""
    if error.place == own:
        return DraftMistake(line=line_of(places, error.path), key=error.key, words=error.words)
    profile = error.place.removeprefix(PLACE).strip(" '")
    line = places.get(("senders",), 0) if error.key == "senders" else 0
    return DraftMistake(line=line, key=error.key, words=error.words, profile=profile)


def _results(draft: ProfileDocument, book: ProfileBook, places: Mapping[KeyPath, int]) -> Iterator[ExampleResult]:
    profile = book.named(draft["name"])
    for number, example in enumerate(examples.parse(draft), 1):
        path: KeyPath = ("example", number)
        failures = tuple(
            DraftMistake(
                line=line_of(places, _expectation(path, one.what, places)),
                key=f"example {one.example}",
                words=f"{one.what}: expected {one.expected!r}, got {one.got!r}",
            )
            for one in examples.run((example,), profile)
        )
        yield ExampleResult(name=example.name, line=line_of(places, path), failures=failures)


def _expectation(path: KeyPath, what: str, places: Mapping[KeyPath, int]) -> KeyPath:
    """Where an example says what it expects."""
    quoted: KeyPath = (*path, "expect", what)
    if quoted in places:
        return quoted
    return (*path, what) if (*path, what) in places else (*path, "expect", *what.split("."))
