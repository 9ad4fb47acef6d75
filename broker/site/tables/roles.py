"""Names the roles and states of nodes, and what proves that they have objects, as site.toml spells them."""

from __future__ import annotations

from typing import Final, Literal

State = Literal["active", "disabled", "blocked"]
ACTIVE: Final = "active"
DISABLED: Final = "disabled"
BLOCKED: Final = "blocked"
# `mpps` is passed on what modalities say of performed steps, `mpps-notification` is told that there is something new,
# `notify` is told that a rule matched
Role = Literal["modality", "destination", "ris", "mpps", "mpps-notification", "worklist", "audit", "notify"]
MPPS, MPPS_NOTIFICATION, AUDIT, NOTIFY = "mpps", "mpps-notification", "audit", "notify"
CALLED = {"destination": "a destination", MPPS: "an mpps node", MPPS_NOTIFICATION: "an mpps-notification node"}
# what proves to a modality that a destination has its objects: it says so when it is asked, or it has taken them
Commitment = Literal["none", "ask", "delivered"]
NO_COMMITMENT: Final = "none"
ASK: Final = "ask"
