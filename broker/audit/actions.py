"""Names the actions of the audit trail, and says in words what was done, with what kind of thing.

An action is a kind and a verb: `order.viewed`. Pages, REST and commands offer the same ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC

from broker.model.wording import Sentence

THINGS = {
    "order": Sentence("order"),
    "patient": Sentence("patient"),
    "visit": Sentence("visit"),
    "mpps": Sentence("performed step"),
    "message": Sentence("message"),
    "import": Sentence("imported item"),
    "appointment": Sentence("appointment"),
    "tombstone": Sentence("cancel that came early"),
    "job": Sentence("job"),
    "nodes": Sentence("nodes"),
    "node": Sentence("node"),
    "knock": Sentence("unknown device"),
    "rules": Sentence("rules"),
    "mapping": Sentence("mapping profile"),
    "token": Sentence("API token"),
    "user": Sentence("user"),
    "audit": Sentence("audit trail"),
    "service": Sentence("broker"),
    "worklist": Sentence("worklist"),
    "study": Sentence("study"),
    "objects": Sentence("objects"),
    "device": Sentence("device"),
    "step": Sentence("scheduled step"),
    "result": Sentence("result"),
}
DEEDS = {
    "viewed": Sentence("viewed"),
    "listed": Sentence("list viewed"),
    "explained": Sentence("explained"),
    "compared": Sentence("compared"),
    "exported": Sentence("exported"),
    "replayed": Sentence("run again"),
    "tried": Sentence("tried"),
    "drafted": Sentence("draft changed"),
    "draft-dropped": Sentence("draft dropped"),
    "planned": Sentence("activation planned"),
    "unplanned": Sentence("planned activation cancelled"),
    "plan-failed": Sentence("planned activation failed"),
    "applied": Sentence("run again, and applied"),
    "dealt": Sentence("dealt with"),
    "undealt": Sentence("to be dealt with again"),
    "told-again": Sentence("told to the RIS again"),
    "queried": Sentence("asked for"),
    "received": Sentence("received"),
    "sent": Sentence("sent"),
    "created": Sentence("created"),
    "create": Sentence("begun"),
    "set": Sentence("reported"),
    "updated": Sentence("changed"),
    "changed": Sentence("changed"),
    "unchanged": Sentence("sent again, unchanged"),
    "canceled": Sentence("cancelled"),
    "refused": Sentence("refused"),
    "held": Sentence("put on hold"),
    "status": Sentence("status changed"),
    "numbered": Sentence("order number given"),
    "not-canceled": Sentence("not cancelled: it has started"),
    "replaces": Sentence("replaces another one"),
    "parent": Sentence("belongs to another one"),
    "booked": Sentence("booked"),
    "completed": Sentence("completed"),
    "recorded": Sentence("recorded"),
    "blocked": Sentence("blocked"),
    "removed": Sentence("removed"),
    "parked": Sentence("cancel kept for an order to come"),
    "reopened": Sentence("reopened"),
    "arrived": Sentence("patient arrived"),
    "moved": Sentence("moved to another patient"),
    "visit-canceled": Sentence("visit cancelled"),
    "same-number": Sentence("two with one number"),
    "merged": Sentence("merged"),
    "kept-apart": Sentence("kept apart"),
    "identifier-changed": Sentence("identifier changed"),
    "late": Sentence("came late, without effect"),
    "linked": Sentence("linked"),
    "set-aside": Sentence("set aside"),
    "ended": Sentence("ended by a person"),
    "discontinued": Sentence("discontinued"),
    "overdue": Sentence("overdue"),
    "images-missing": Sentence("images missing"),
    "images-found": Sentence("images found"),
    "images": Sentence("ended: images are there"),
    "time": Sentence("ended: its time is over"),
    "no-show": Sentence("ended: nobody came"),
    "appointment.no-show": Sentence("nobody came"),
    "expired": Sentence("ended: too old"),
    "published": Sentence("published"),
    "admitted": Sentence("admitted"),
    "forgotten": Sentence("forgotten"),
    "made": Sentence("made"),
    "added": Sentence("added"),
    "invited": Sentence("invited"),
    "enabled": Sentence("enabled"),
    "disabled": Sentence("disabled"),
    "revoked": Sentence("revoked"),
    "released": Sentence("released"),
    "discarded": Sentence("discarded"),
    "undiscarded": Sentence("discard undone"),
    "rerouted": Sentence("routed again"),
    "sent-by-hand": Sentence("sent by hand"),
    "thinned": Sentence("old rows deleted"),
    "purged": Sentence("files deleted after delivery"),
    "checked": Sentence("bytes checked"),
    "left_out": Sentence("rows left out"),
    "started": Sentence("started"),
    "stopped": Sentence("stopped"),
    "signed_in": Sentence("signed in"),
    "signed_out": Sentence("signed out"),
    "sign_in_refused": Sentence("sign-in refused"),
    "password_set": Sentence("password set"),
    "second_factor_set": Sentence("second factor set up"),
    "second_factor_removed": Sentence("second factor taken away"),
    "second_factor_reset": Sentence("second factor reset"),
    "recovery_codes_made": Sentence("recovery codes made"),
    "recovery_code_used": Sentence("recovery code used"),
}


ACTIONS: Mapping[str, Sequence[str]] = {  # verbs by kind, what people look for most first
    "order": [
        "viewed",
        "listed",
        "explained",
        "exported",
        "created",
        "updated",
        "canceled",
        "discontinued",
        "held",
        "released",
        "status",
        "numbered",
        "arrived",
        "moved",
        "reopened",
        "parked",
        "not-canceled",
        "visit-canceled",
        "same-number",
        "replaces",
        "parent",
        "late",
        "unchanged",
        "refused",
        "told-again",
    ],
    "step": ["images", "time", "no-show", "expired"],
    "patient": [
        "viewed",
        "listed",
        "compared",
        "created",
        "updated",
        "merged",
        "kept-apart",
        "identifier-changed",
        "late",
        "unchanged",
    ],
    "visit": ["created", "changed", "moved", "late"],
    "appointment": ["booked", "started", "completed", "canceled", "no-show", "unchanged", "thinned"],
    "result": ["recorded", "completed"],
    "worklist": ["queried"],
    "mpps": [
        "viewed",
        "listed",
        "create",
        "set",
        "linked",
        "set-aside",
        "ended",
        "discontinued",
        "overdue",
        "images-missing",
        "images-found",
    ],
    "objects": [
        "received",
        "sent",
        "purged",
        "viewed",
        "listed",
        "rerouted",
        "sent-by-hand",
        "discarded",
        "undiscarded",
        "checked",
    ],
    "study": ["explained", "replayed", "tried"],
    "message": ["viewed", "listed", "tried", "replayed", "applied", "dealt", "undealt", "thinned"],
    "import": ["listed"],
    "tombstone": ["thinned"],
    "job": ["released", "discarded"],
    "device": ["refused"],
    "node": ["added", "changed", "admitted", "enabled", "disabled", "blocked", "removed", "forgotten"],
    "nodes": ["published"],
    "rules": ["published", "drafted", "draft-dropped", "planned", "unplanned", "plan-failed"],
    "mapping": ["published"],
    "user": [
        "signed_in",
        "signed_out",
        "sign_in_refused",
        "added",
        "changed",
        "invited",
        "password_set",
        "second_factor_set",
        "second_factor_removed",
        "second_factor_reset",
        "recovery_codes_made",
        "recovery_code_used",
        "enabled",
        "disabled",
    ],
    "token": ["made", "revoked"],
    "audit": ["listed", "exported", "left_out", "thinned"],
    "service": ["started", "stopped"],
}


def deed(action: str) -> Sentence | None:
    """What an action did, in words; None for one that has none: it is shown as it is."""
    return DEEDS.get(action) or DEEDS.get(action.partition(".")[2])


def groups() -> list[tuple[Sentence, list[tuple[str, Sentence]]]]:
    """All actions by kind, each with its words; before them the beginning by which all of a kind are meant."""
    return [
        (
            THINGS[kind],
            [(f"{kind}.", Sentence("%(thing)s: all of it", {"thing": THINGS[kind]}))]
            + [(f"{kind}.{verb}", words(f"{kind}.{verb}")) for verb in verbs],
        )
        for kind, verbs in ACTIONS.items()
    ]


def in_english() -> list[tuple[str, str]]:
    """All actions with their words in English, those of a kind together."""
    return [(action, told.english(UTC, 0.0)) for _, choices in groups() for action, told in choices]


def words(action: str) -> Sentence:
    """An action of ACTIONS in words, with the thing that it was done to."""
    told = deed(action)
    assert told is not None, action
    return Sentence("%(thing)s: %(deed)s", {"thing": THINGS[action.partition(".")[0]], "deed": told})
