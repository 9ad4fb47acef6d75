"""Answers in words why nodes and rules are not published."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from broker.admin.context import AdminContext
from broker.admin.problems import FieldError, Problem
from broker.errors import ConfigurationError
from broker.model.wording import in_english
from broker.routing.drafts.four_eyes import SecondPersonNeeded
from broker.routing.editing import NodesMissing
from broker.routing.references import references
from broker.versions.in_force import Conflict, NoSuchVersion


@contextmanager
def told_what_names(context: AdminContext) -> Iterator[None]:
    """Say of nodes that would be removed what still names them."""
    try:
        yield
    except NodesMissing as error:
        rules = context.site.value.rules
        gone = [node for node in context.directory.nodes if f"node {node.name!r} removed" in error.words]
        named = [(node, one) for node in gone[:20] for one in references(context.database, node, rules)]
        words = [f"node {node.name!r}: {in_english(one.words)}" for node, one in named]
        raise NodesMissing([*error.words, *words]) from None


@contextmanager
def refusals(conflict: int = 409) -> Iterator[None]:
    """Answer what cannot be published, or does not exist."""
    try:
        yield
    except NoSuchVersion as error:
        raise Problem(404, str(error)) from None
    except SecondPersonNeeded as error:
        raise Problem(403, str(error)) from None
    except Conflict as error:
        raise Problem(conflict, str(error)) from None
    except NodesMissing as error:
        raise Problem(409, str(error), [FieldError("node", text[:500]) for text in error.words[:100]]) from None
    except ConfigurationError as error:
        raise Problem(422, "The document cannot be used", [FieldError(_place(str(error)), str(error)[:500])]) from None


def _place(text: str) -> str:
    """The word of site.toml that a refusal begins with: node, rule or default."""
    return re.split(r"\W", text, maxsplit=1)[0]
