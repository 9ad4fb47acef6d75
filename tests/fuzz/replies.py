"""What an acceptor answers to our user side, more or less: turns that follow what we say."""

from __future__ import annotations

from random import Random

from fuzz import commands as c
from fuzz import datasets
from fuzz.conversations import (
    ABORT,
    COMMITMENT,
    CT,
    ENDS,
    HOME,
    MPPS,
    RELEASE_RP,
    RELEASE_RQ,
    RJ,
    STUDY_GET,
    VERIFICATION,
    WORKLIST,
    Case,
    Plan,
    association_accept,
    break_command,
    fragments,
    packed,
    shuffled,
    stray,
    word,
)  # fmt: skip
from fuzz.tree import Node, encode, havoc, pieces


def reply(rng: Random, kind: int, message_id: int, context: int, number: int) -> bytes:
    """What an acceptor answers to one request of ours, more or less."""
    parts: list[Node] = []
    if kind == c.GET and rng.randrange(2):
        thing = datasets.sample(rng, number, (datasets.IMPLICIT_LE, datasets.EXPLICIT_LE))
        elements = c.request(c.STORE, CT, thing.sop_instance, rng.randint(1, 3), data=True)
        parts += packed(rng, fragments(rng, rng.choice((3, 3, 3, 1)), encode(elements), is_command=True))
        parts += packed(rng, fragments(rng, 3, thing.data, is_command=False))
    data = datasets.query(rng).data
    pending = rng.choice(((0xFF00,), (0xFF00,) * 3, (0xFF01,), (0xFF00,) * 80)) if kind in (c.FIND, c.GET) else ()
    broken = rng.randrange(len(pending) + 1) if rng.randrange(2) else -1
    for place, status in enumerate([*pending, rng.choice(c.STATUSES)]):
        with_data = status in (0xFF00, 0xFF01) or rng.randrange(6) == 0
        field, responded = kind, message_id
        if place == broken and rng.randrange(2):
            field, responded = rng.choice(c.SERVICES), rng.choice((0, message_id + 1, 0xFFFF, message_id))
        elements = c.response(field, responded, status, data=with_data)
        if place == broken:
            break_command(rng, elements)
        values = fragments(rng, context, encode(elements), is_command=True)
        if with_data:
            values += fragments(rng, context, data, is_command=False)
        parts += packed(rng, values)
    if rng.randrange(8) == 0:
        parts += stray(rng, Plan({context: (CT, datasets.IMPLICIT_LE)}))
    if rng.randrange(4) == 0 and parts:
        shuffled(rng, parts)
    return encode(parts)


ASKS = {"echo": c.ECHO, "store": c.STORE, "find": c.FIND, "get": c.GET, "create": c.CREATE, "action": c.ACTION}
PARTINGS = ((RELEASE_RP,), (RELEASE_RP,), (RELEASE_RQ,), (RELEASE_RQ, RELEASE_RP), (ABORT,), (RELEASE_RQ, RELEASE_RQ))
PROPOSED = (
    (VERIFICATION, datasets.IMPLICIT_LE), (CT, datasets.EXPLICIT_LE), (WORKLIST, datasets.IMPLICIT_LE),
    (STUDY_GET, datasets.IMPLICIT_LE), (MPPS, datasets.EXPLICIT_LE), (COMMITMENT, datasets.IMPLICIT_LE),
)  # fmt: skip


def requestor_case(rng: Random, number: int) -> Case:
    """What an acceptor answers to our user side: one turn to the association request, one to each message."""
    asks = rng.choice(sorted(ASKS))
    kind = ASKS[asks]
    context = 2 * [name for name, _ in PROPOSED].index(HOME[kind]) + 1
    first = [association_accept(rng, PROPOSED)] if rng.randrange(10) else [word(rng.choice((RJ, ABORT, RELEASE_RQ, 9)))]
    if rng.randrange(3) == 0:
        shuffled(rng, first)
    turns_ = [encode(first)]
    turns_ += [reply(rng, kind, message_id, context, number) for message_id in range(1, rng.choice((1, 2, 4)))]
    turns_ += [word(kind).encode() for kind in rng.choice(PARTINGS)]
    if rng.randrange(8) == 0:
        at = rng.randrange(len(turns_))
        turns_[at] = havoc(rng, turns_[at])
    says = tuple(tuple(pieces(rng, turn)) for turn in turns_)
    return Case(says, rng.choice(ENDS), rng.choice((0, 0, 0, 0, 1, 400)), asks=asks)
