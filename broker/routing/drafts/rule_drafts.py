"""Keeps drafts of the rules, says what is wrong with one and what it changes, and puts it in force.

Each author has one draft. Others see it and may put it in force; only its author changes it. A draft can always be read
as rules. What else is wrong with it, such as an example that fails or a destination that is gone, its check says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from broker.errors import BadContent, ConfigurationError
from broker.routing.editing import well_formed
from broker.routing.rules.checking import doubts, failures
from broker.routing.rules.parsing import DOCUMENT_KEYS
from broker.routing.rules.ruleset import RuleSet
from broker.routing.site import RULES, Site, build_rules, read_rules
from broker.store.audit.adding import add_audit
from broker.store.configurations import Version
from broker.store.db.database import Database
from broker.store.drafts import rule_drafts
from broker.store.drafts.rule_drafts import RuleDraft
from broker.versions.content import check_text
from broker.versions.difference import Difference, difference
from broker.versions.in_force import DRAFT, InForce, Signature, source_of


class NoSuchDraft(BadContent):
    """There is no such draft: it was dropped, or is in force by now."""

    code = "no-such-draft"


class DraftChanged(BadContent):
    """The draft is not the one that was looked at: it was changed meanwhile."""

    code = "draft-changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesCheck:
    """What is to be said of a draft. `mistakes`: why it cannot be put in force; `doubts`: what is hardly meant.

    `changes`: of the version in force, `number`; `overtaken`: the draft was made of another one.
    """

    mistakes: Sequence[str]
    doubts: Sequence[str]
    changes: Sequence[Difference]
    examples: int
    number: int
    overtaken: bool


class RuleDrafts:
    """The drafts of all authors. Its methods block, and raise StoreUnavailable."""

    def __init__(self, database: Database, site: InForce[Site], clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._site = site
        self._clock = clock

    def in_force(self) -> Version:
        """The rules in force; version 0 where there are none."""
        return self._site.stored().get(RULES) or Version(RULES, 0, {})

    def all(self) -> list[RuleDraft]:
        """All drafts, the newest change first."""
        return self._database.read(rule_drafts.drafts).result()

    def one(self, number: int) -> RuleDraft:
        """One draft. Raises NoSuchDraft."""
        found = self._database.read(rule_drafts.draft, number).result()
        if found is None:
            raise NoSuchDraft
        return found

    def of(self, author: str) -> RuleDraft | None:
        """The draft of an author."""
        return self._database.read(rule_drafts.draft_of, author).result()

    def keep(
        self, document: Any, signature: Signature, *, expected: int | None = None, base: int | None = None
    ) -> RuleDraft:
        """Write the draft of the actor.

        `expected`: the revision that was changed, 0 for none; without it, it replaces any. `base`: the version that it
        is made of, if not that of the draft so far, or else that in force.

        Raises ConfigurationError for what cannot be read as rules, DraftChanged.
        """
        check_text("rule", document)
        readable(document)
        before = self.of(signature.actor)
        if base is None:
            base = before.base if before is not None and expected is not None else self.in_force().version
        at = self._clock()

        def kept(connection: Connection) -> int | None:
            number = rule_drafts.keep(connection, signature.actor, document, base, at, expected)
            if number is not None:
                _audit(connection, at, signature, "rules.drafted", number)
            return number

        number = self._database.execute(kept)
        if number is None:
            raise DraftChanged
        return self.one(number)

    def drop(self, number: int, revision: int | None, signature: Signature) -> None:
        """End a draft. Raises NoSuchDraft, DraftChanged."""
        draft, at = self.one(number), self._clock()

        def dropped(connection: Connection) -> bool:
            closed = rule_drafts.close(connection, number, draft.revision if revision is None else revision, at)
            if closed:
                _audit(connection, at, signature, "rules.draft-dropped", number)
            return closed

        if not self._database.execute(dropped):
            raise DraftChanged

    def check(self, document: Any, base: int) -> RulesCheck:
        """What is wrong with rules, and what they change of those in force."""
        now = self.in_force()
        mistakes, found = self._mistakes(document)
        return RulesCheck(
            mistakes=mistakes,
            doubts=list(doubts(found)) if found is not None else [],
            changes=difference(RULES, now.document, document) if well_formed(RULES, document) else [],
            examples=sum(len(rule.examples) for rule in found.rules) if found is not None else 0,
            number=now.version,
            overtaken=base != now.version,
        )

    def _mistakes(self, document: Any) -> tuple[list[str], RuleSet | None]:
        try:
            rules = read_rules(self._site.value, document)
        except ConfigurationError as error:
            return [str(error)[:500]], None
        return [text[:500] for text in failures(rules)], rules

    def activate(self, number: int, revision: int, signature: Signature) -> int:
        """Put a draft in force; its version. The draft ends in the same transaction.

        Raises NoSuchDraft, DraftChanged, Conflict (another version is in force than it was made of), and as
        `InForce.publish`. Then nothing changes.
        """
        draft, at = self.one(number), self._clock()
        if draft.revision != revision:
            raise DraftChanged

        def close(connection: Connection) -> None:
            if not rule_drafts.close(connection, number, revision, at):
                raise DraftChanged

        version = self._site.publish(
            {RULES: draft.document},
            written_by(draft.author, DRAFT, signature),
            expected={RULES: draft.base},
            also=close,
        )[RULES]
        if version == draft.base:  # it says what is in force: there was nothing to publish
            self._database.execute(close)
        return version


def written_by(author: str, way: str, signature: Signature) -> Signature:
    """The signature of who puts in force what an author wrote."""
    source = source_of(way, signature.actor)
    return replace(signature, author=author, source=source, writers=(author,))


def readable(document: Any) -> RuleSet:
    """Rules as far as they can be read without the nodes. Raises ConfigurationError."""
    if not isinstance(document, Mapping):
        raise ConfigurationError("rule: a table with rule and default")
    for key in document:
        if key not in DOCUMENT_KEYS:
            raise ConfigurationError(f"{key}: unknown key")
    return build_rules(document, 0)


def _audit(connection: Connection, at: float, signature: Signature, action: str, number: int) -> None:
    add_audit(connection, at, signature.actor, action, "rules", number, signature.signed(), address=signature.address)
