"""Says in words what roles, states and kinds of accounts are, the same on every page."""

from __future__ import annotations

from broker.accounts.roles import UserRole
from broker.admin.web.words import Sentence

ROLES = {
    UserRole.VIEWER: Sentence("Viewer: sees states and counts, nothing of a patient"),
    UserRole.OPERATOR: Sentence("Operator: sees and changes orders, decides on what waits"),
    UserRole.INTEGRATOR: Sentence("Integrator: sees messages, publishes mappings"),
    UserRole.ADMIN: Sentence("Administrator: everything"),
    UserRole.AUDITOR: Sentence("Auditor: reads the audit trail"),
}
ROLE_NAMES = {
    UserRole.VIEWER: Sentence("Viewer"),
    UserRole.OPERATOR: Sentence("Operator"),
    UserRole.INTEGRATOR: Sentence("Integrator"),
    UserRole.ADMIN: Sentence("Administrator"),
    UserRole.AUDITOR: Sentence("Auditor"),
}
STATES = {  # of users and tokens: tone and word
    "active": ("ok", Sentence("active")),
    "invited": ("warn", Sentence("invited, no password yet")),
    "disabled": ("", Sentence("disabled")),
    "expired": ("", Sentence("expired")),
    "revoked": ("", Sentence("withdrawn")),
}
LANGUAGE_NAMES = {"": Sentence("As the browser asks"), "en": Sentence("English"), "fr": Sentence("French")}
