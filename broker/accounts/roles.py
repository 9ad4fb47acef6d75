"""Says what each role may do. A route names the right that it asks for; nobody asks for a role."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Right(StrEnum):
    """What a route may ask of its caller."""

    STATUS = "status"  # see states, counts, nodes and rules: nothing of a patient
    PATIENTS = "patients"  # see orders, the worklist and performed procedures
    WORK = "work"  # change orders, release and discard jobs, decide on performed procedures
    MESSAGES = "messages"  # see received messages as they came
    MAPPINGS = "mappings"  # publish mapping profiles, run messages again
    SITE = "site"  # publish nodes and rules, admit devices
    ACCOUNTS = "accounts"  # add and change users, make and revoke tokens, end the sessions of others
    AUDIT = "audit"  # read the audit trail, which says whose data was seen by whom


class UserRole(StrEnum):
    """What a person or a program is here."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    INTEGRATOR = "integrator"
    ADMIN = "admin"
    AUDITOR = "auditor"


RIGHTS: Mapping[UserRole, frozenset[Right]] = {
    UserRole.VIEWER: frozenset({Right.STATUS}),
    UserRole.OPERATOR: frozenset({Right.STATUS, Right.PATIENTS, Right.WORK}),
    UserRole.INTEGRATOR: frozenset({Right.STATUS, Right.MESSAGES, Right.MAPPINGS}),
    UserRole.ADMIN: frozenset(Right),
    UserRole.AUDITOR: frozenset({Right.AUDIT}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A user who is signed in. `user` and `session` are rows; `language` is empty where the browser decides."""

    user: int
    session: int
    name: str
    role: UserRole
    language: str


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls, as the audit trail names it (`api`, `cli:anna`, `user:anna`, `token:ris-import`), and what it may."""

    actor: str
    rights: frozenset[Right]
    person: Person | None = None  # None for programs
