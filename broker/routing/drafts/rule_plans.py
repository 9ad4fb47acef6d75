"""Puts rules in force at a time: a draft, or an older version again. One plan waits at a time.

A plan is carried out once, by whichever process comes first: the version and the end of the plan are one transaction.
One that fell due while no broker ran is carried out at the next start. It replaces only the version that was in force
when it was planned. If that is another one by then, or the rules cannot be used any more, the plan fails, and says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from broker import telemetry
from broker.errors import BadContent, ConfigurationError
from broker.routing.drafts.rule_drafts import DraftChanged, RuleDrafts, written_by
from broker.routing.site import RULES, Site
from broker.store.audit.adding import add_audit
from broker.store.db.database import Database
from broker.store.drafts import rule_drafts, rule_plans
from broker.store.drafts.rule_plans import NewPlan, PlanState, RulePlan
from broker.store.orders import reading
from broker.versions.in_force import PLAN, Audited, Conflict, InForce, NoSuchVersion, Permit, Signature, writers_of

LATEST = 366 * 86_400.0  # seconds: nobody plans further ahead
OVERTAKEN = "overtaken"  # the failure of a plan that would replace another version


class NotPlanned(BadContent):
    """The plan does not wait any more: it was carried out, or cancelled."""

    code = "not-planned"


class PlanWaits(BadContent):
    """Another plan waits: cancel it first."""

    code = "plan-waits"


class NoSuchTime(BadContent):
    """Rules come into force at a time in the future, within a year."""

    code = "no-such-time"


class _DoneElsewhere(Exception):
    """Another process was faster."""


class RulePlans:
    """The plans of a site. Its methods block, and raise StoreUnavailable."""

    def __init__(
        self,
        database: Database,
        site: InForce[Site],
        permit: Permit = lambda signature, kinds: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`permit` is asked when something is planned, not only when it comes into force."""
        self._database = database
        self._site = site
        self._permit = permit
        self._clock = clock
        self._drafts = RuleDrafts(database, site, clock)

    def all(self, limit: int = 20) -> list[RulePlan]:
        """The newest plans, whatever became of them."""
        return self._database.read(rule_plans.plans, limit).result()

    def waiting(self) -> RulePlan | None:
        """The plan that waits."""
        return next(iter(self._database.read(rule_plans.waiting).result()), None)

    def plan_draft(self, number: int, revision: int, at: float, signature: Signature) -> RulePlan:
        """Plan a draft as it is. It stays a draft until then.

        Raises NoSuchDraft, DraftChanged, Conflict, NoSuchTime, PlanWaits, and as `InForce.publish`.
        """
        draft = self._drafts.one(number)
        if draft.revision != revision:
            raise DraftChanged
        return self._plan(draft.document, draft.base, at, written_by(draft.author, PLAN, signature))

    def plan_version(self, number: int, at: float, signature: Signature) -> RulePlan:
        """Plan an older version. Raises NoSuchVersion, NoSuchTime, PlanWaits, and as `InForce.publish`."""
        older, published = self._site.at_version(RULES, number), self._site.publication(RULES, number)
        if published is None:
            raise NoSuchVersion(f"{RULES}: there is no version {number}")
        signed = _with(signature, writers=writers_of(published))
        return self._plan(older.document, self._drafts.in_force().version, at, signed, again=number)

    def _plan(self, document: Any, base: int, due: float, signature: Signature, again: int = 0) -> RulePlan:
        now = self._clock()
        if not now < due < now + LATEST:
            raise NoSuchTime
        if self._drafts.in_force().version != base:
            raise Conflict
        self._permit(signature, (RULES,))
        self._site.checked({RULES: document})
        plan = NewPlan(
            due_at=due,
            base=base,
            document=document,
            author=signature.writers[0] if signature.writers else signature.actor,
            reason=signature.reason,
            planned_by=signature.actor,
            planned_at=now,
            address=signature.address,
            again=again,
        )

        def planned(connection: Connection) -> RulePlan | None:
            reading.lock(connection, ["rule-plan"])
            if rule_plans.waiting(connection):
                return None
            number = rule_plans.add_plan(connection, plan)
            _audit(connection, now, signature, "rules.planned", number)
            return rule_plans.plan(connection, number)

        stored = self._database.execute(planned)
        if stored is None:
            raise PlanWaits
        return stored

    def cancel(self, number: int, signature: Signature) -> None:
        """Let a plan not come into force. Raises NotPlanned."""
        at = self._clock()

        def canceled(connection: Connection) -> bool:
            ended = rule_plans.end_plan(connection, number, PlanState.CANCELED)
            if ended:
                _audit(connection, at, signature, "rules.unplanned", number)
            return ended

        if not self._database.execute(canceled):
            raise NotPlanned

    def look(self) -> None:
        """Carry out what is due."""
        for plan in self._database.read(rule_plans.waiting, self._clock()).result():
            try:
                self._carry_out(plan)
            except _DoneElsewhere:
                self._site.refresh()
            except (BadContent, ConfigurationError) as error:
                self._fail(plan, OVERTAKEN if isinstance(error, Conflict) else str(error))

    def _carry_out(self, plan: RulePlan) -> None:
        at = self._clock()

        def end(connection: Connection) -> None:
            if not rule_plans.end_plan(connection, plan.id, PlanState.DONE, version=plan.base + 1):
                raise _DoneElsewhere
            if not plan.again:
                rule_drafts.close_same(connection, plan.author, plan.document, at)

        signature = Signature(actor=plan.planned_by, reason=plan.reason, address=plan.address)
        signature = _with(signature, writers=(plan.author,)) if plan.again else written_by(plan.author, PLAN, signature)
        detail = {"kind": RULES, "plan": plan.id} | ({"again": plan.again} if plan.again else {})
        version = self._site.publish(
            {RULES: plan.document},
            signature,
            expected={RULES: plan.base},
            audited=Audited("rules.published", detail),
            also=end,
        )[RULES]
        if version == plan.base:  # it is in force just so
            self._database.execute(rule_plans.end_plan, plan.id, PlanState.DONE, version=version)

    def _fail(self, plan: RulePlan, failure: str) -> None:
        at = self._clock()

        def failed(connection: Connection) -> bool:
            ended = rule_plans.end_plan(connection, plan.id, PlanState.FAILED, failure=failure)
            if ended:
                actor = Signature(actor="broker", reason=failure[:500])
                _audit(connection, at, actor, "rules.plan-failed", plan.id)
            return ended

        if self._database.execute(failed):  # else another process has carried it out
            telemetry.logger().warning("rules.plan_failed", kind=RULES, version=plan.base)


def _with(signature: Signature, writers: tuple[str, ...]) -> Signature:
    return Signature(
        actor=signature.actor,
        author=signature.author,
        reason=signature.reason,
        address=signature.address,
        writers=writers,
    )


def _audit(connection: Connection, at: float, signature: Signature, action: str, number: int) -> None:
    add_audit(connection, at, signature.actor, action, "rules", number, signature.signed(), address=signature.address)
