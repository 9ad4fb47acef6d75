"""Lets nobody put rules in force that he wrote himself, where the site asks for four eyes.

It is asked whenever rules are published, by whatever way. A person is known by his name, whether he comes as a user
(`user:anna`) or by a command (`cli:anna`). A program has no eyes: a token cannot put rules in force.
"""

from __future__ import annotations

from collections.abc import Collection

from broker.errors import BadContent
from broker.routing.site import RULES
from broker.settings import Settings
from broker.versions.in_force import Permit, Signature

BROKER = "broker"  # the actor of what the broker does by itself, such as the import of the site file
_PEOPLE = ("user:", "cli:")


class SecondPersonNeeded(BadContent):
    """Rules were about to be put in force by who wrote them, or by a program."""

    code = "four-eyes"

    def __init__(self) -> None:
        super().__init__(
            "the rules are put in force by a person who did not write them: save them as a draft, and let another "
            "person activate it"
        )


def four_eyes(signature: Signature, kinds: Collection[str]) -> None:
    """Raises SecondPersonNeeded for rules that are published by who wrote them, or by a program."""
    if RULES in kinds and signature.actor != BROKER and not may_activate(signature.actor, signature.writers):
        raise SecondPersonNeeded


def may_activate(actor: str, writers: Collection[str]) -> bool:
    """Whether a caller may put in force what others wrote; no writers: he wrote it himself."""
    person = _person(actor)
    return bool(person and writers) and person not in {_person(writer) for writer in writers}


def permit_of(settings: Settings) -> Permit:
    """Who may publish at this site."""
    return four_eyes if settings.rules.four_eyes else lambda signature, kinds: None


def _person(actor: str) -> str:
    """The name of a person; empty for a program."""
    return next((actor.removeprefix(way) for way in _PEOPLE if actor.startswith(way)), "")
