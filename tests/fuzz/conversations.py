"""What a peer says: an association request or answer, messages, a release, in PDUs; as trees, to be broken."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from fuzz import commands as c
from fuzz import datasets
from fuzz.tree import ITEM, PDU, PDV, Node, bare, counted, encode, havoc, mutate, pieces

RQ, AC, RJ, DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
VERIFICATION, WORKLIST, CT = "1.2.840.10008.1.1", "1.2.840.10008.5.1.4.31", datasets.CT
MR = "1.2.840.10008.5.1.4.1.1.4"  # served slowly
STUDY_MOVE, STUDY_GET = "1.2.840.10008.5.1.4.1.2.2.2", "1.2.840.10008.5.1.4.1.2.2.3"
MPPS, COMMITMENT, UNKNOWN = "1.2.840.10008.3.1.2.3.3", "1.2.840.10008.1.20.1", "2.999.14.9"
CLASSES = (VERIFICATION, WORKLIST, CT, STUDY_MOVE, STUDY_GET, MPPS, COMMITMENT, MR, UNKNOWN)
HOME = {
    c.ECHO: VERIFICATION, c.FIND: WORKLIST, c.STORE: CT, c.MOVE: STUDY_MOVE, c.GET: STUDY_GET, c.CREATE: MPPS,
    c.N_SET: MPPS, c.N_GET: MPPS, c.ACTION: COMMITMENT, c.EVENT: COMMITMENT, c.DELETE: MPPS,
}  # fmt: skip
STORAGE_SERVICE = "1.2.840.10008.4.2"
MIXED = (datasets.IMPLICIT_LE, datasets.EXPLICIT_LE, datasets.EXPLICIT_BE, datasets.DEFLATED[0])
ENDS = ("close", "reset", "silence")
BIG = 5 << 20  # bytes of a data set that must be held back, and is too long in the end


@dataclass(frozen=True)
class Case:
    """What to send, when, and how the peer behaves besides."""

    says: tuple[tuple[bytes, ...], ...]  # turns; the pieces of a turn arrive one after the other
    end: str  # what comes after the last turn
    reads: int  # bytes the peer reads before it stops; 0: all of them
    requests: int = 0  # how many answers a whole conversation must bring; 0: any number
    prompt: bool = False  # no handler works on when the connection is gone
    asks: str = ""  # what our user side does, if the peer is the acceptor

    @property
    def size(self) -> int:
        """Bytes in all."""
        return sum(len(piece) for turn in self.says for piece in turn)


@dataclass
class Plan:
    """Presentation contexts by id, and message IDs in use."""

    contexts: dict[int, tuple[str, str]] = field(default_factory=dict)
    number: int = 0

    def next_id(self) -> int:
        """A message ID that is not in use."""
        self.number += 1
        return self.number

    def place(self, rng: Random, sop_class: str) -> tuple[int, str]:
        """A context for a SOP class: id and transfer syntax; any if there is none."""
        found = [(i, syntax) for i, (name, syntax) in self.contexts.items() if name == sop_class]
        return rng.choice(found or [(i, syntax) for i, (_, syntax) in self.contexts.items()])


def name(kind: int, uid: str) -> Node:
    """An item that is a UID."""
    return Node(ITEM, kind, uid.encode())


def field_of(data: bytes) -> Node:
    """A field behind its length."""
    return Node(counted, 0, data)


def user_information(rng: Random, max_length: int = 0) -> Node:
    """The user information item with some of everything (PS3.7 D.3.3)."""
    items = [
        Node(ITEM, 0x51, struct.pack(">I", max_length or rng.choice((1024, 4096, 16384, 131072, 0)))),
        name(0x52, "2.999.1"),
    ]
    if rng.randrange(3) == 0:
        items.append(Node(ITEM, 0x53, struct.pack(">HH", rng.choice((0, 1, 2, 9)), rng.choice((0, 1, 2)))))
    for sop_class in rng.sample(CLASSES, rng.choice((0, 0, 1, 3))):
        items.append(Node(ITEM, 0x54, [field_of(sop_class.encode()), Node(bare, 0, bytes((1, rng.randrange(2))))]))
    items.append(Node(ITEM, 0x55, b"FUZZ_1"))
    if rng.randrange(4) == 0:
        items.append(Node(ITEM, 0x56, [field_of(CT.encode()), Node(bare, 0, rng.randbytes(rng.choice((0, 1, 6))))]))
    if rng.randrange(4) == 0:
        related = [field_of(CT.encode()), field_of(VERIFICATION.encode())][: rng.randrange(3)]
        body = [field_of(UNKNOWN.encode()), field_of(STORAGE_SERVICE.encode()), Node(counted, 0, related)]
        items.append(Node(ITEM, 0x57, body))
    if rng.randrange(4) == 0:
        head = Node(bare, 0, bytes((rng.choice((1, 2, 3, 4, 5)), rng.randrange(2))))
        items.append(Node(ITEM, 0x58, [head, field_of(b"fuzz"), field_of(b"")]))
    return Node(ITEM, 0x50, items)


def _titles() -> Node:
    return Node(bare, 0, struct.pack(">HH", 1, 0) + b"BROKER".ljust(16) + b"FUZZ".ljust(16) + bytes(32))


def association_request(rng: Random, plan: Plan, *, whole: bool = False) -> Node:
    """An A-ASSOCIATE-RQ; what it proposes goes into the plan. `whole`: nothing that is refused here."""
    contexts = []
    for place in range(rng.choice((1, 2, 4, 8))):
        sop_class = rng.choice(CLASSES[:8])
        usual = sop_class not in (CT, MR) and (whole or rng.randrange(8) > 0)
        syntaxes = rng.sample(MIXED[:2] if usual else MIXED, rng.choice((1, 1, 2)))
        plan.contexts[2 * place + 1] = (sop_class, syntaxes[0])
        names = [name(0x30, sop_class), *(name(0x40, syntax) for syntax in syntaxes)]
        contexts.append(Node(ITEM, 0x20, [Node(bare, 0, bytes((2 * place + 1, 0, 0, 0))), *names]))
    return Node(PDU, RQ, [_titles(), name(0x10, "1.2.840.10008.3.1.1.1"), *contexts, user_information(rng)])


def association_accept(rng: Random, proposed: Sequence[tuple[str, str]]) -> Node:
    """An A-ASSOCIATE-AC for contexts 1, 3, 5 …"""
    contexts = []
    for place, (_, syntax) in enumerate(proposed):
        result = rng.choice((0, 0, 0, 0, 0, 0, 1, 3, 4))
        contexts.append(Node(ITEM, 0x21, [Node(bare, 0, bytes((2 * place + 1, 0, result, 0))), name(0x40, syntax)]))
    return Node(PDU, AC, [_titles(), name(0x10, "1.2.840.10008.3.1.1.1"), *contexts, user_information(rng)])


def fragments(rng: Random, context: int, data: bytes, *, is_command: bool) -> list[Node]:
    """Presentation data values of one command or data set."""
    size = rng.choice((1 << 14, 1 << 14, 200, 40)) if len(data) < 4000 else 1 << 14
    cut = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
    return [
        Node(PDV, context, piece, (1 if is_command else 0) | (2 if at == len(cut) - 1 else 0))
        for at, piece in enumerate(cut)
    ]


def packed(rng: Random, values: list[Node]) -> list[Node]:
    """Data values in PDUs: one each, or some in one."""
    if rng.randrange(3) or not 1 < len(values) < 12:  # so that the PDU keeps to what we allow
        return [Node(PDU, DATA, [value]) for value in values]
    cut = rng.randrange(1, len(values))
    return [Node(PDU, DATA, values[:cut]), Node(PDU, DATA, values[cut:])]


def payload(rng: Random, kind: int, syntax: str, number: int) -> tuple[bytes, str]:
    """The data set of a request, and the SOP Instance UID in it."""
    if kind == c.STORE:
        thing = datasets.sample(rng, number, (syntax,))
        if rng.randrange(40) == 0:
            return thing.data + bytes(rng.choice((BIG // 2, BIG))), thing.sop_instance
        return thing.data, thing.sop_instance
    if kind == c.FIND:
        return datasets.query(rng, (syntax,)).data, ""
    return encode(datasets.object_tree(rng, syntax, CT, "2.999.14.5")), "2.999.14.5"


def message(rng: Random, plan: Plan, number: int, kind: int, *, whole: bool) -> list[Node]:
    """A request in its context, as P-DATA-TF PDUs."""
    context, syntax = plan.place(rng, MR if kind == c.STORE and rng.randrange(4) == 0 else HOME[kind])
    sop_class = plan.contexts[context][0] if rng.randrange(8) or whole else rng.choice(CLASSES)
    with_data = kind in c.WITH_DATA
    data, instance = payload(rng, kind, syntax, number) if with_data else (b"", "2.999.14.5")
    asks_back = not whole and kind in (c.GET, c.ACTION) and rng.randrange(2) == 0
    message_id = plan.next_id() if whole or rng.randrange(6) else plan.number
    never = 2 if kind == c.MOVE and not whole and rng.randrange(2) else 0
    elements = c.request(
        kind, sop_class, instance, message_id, data=with_data, type_id=2 if asks_back else 1, priority=never
    )
    if not whole:
        break_command(rng, elements)
    values = fragments(rng, context, encode(elements), is_command=True)
    if with_data:
        values += fragments(rng, context, data, is_command=False)
    if asks_back:  # and this is what it gets
        answer = c.response(
            c.STORE if kind == c.GET else c.EVENT, 1, rng.choice(c.STATUSES), data=rng.randrange(4) == 0
        )
        values += fragments(rng, context, encode(answer), is_command=True)
    return packed(rng, values)


def break_command(rng: Random, elements: list[Node]) -> None:
    """Perhaps make a command set wrong."""
    way = rng.randrange(6)
    if way == 0:
        mutate(rng, elements, rng.choice((1, 2, 3)))
    elif way == 1:
        for _ in range(rng.choice((1, 3, 20))):
            elements.insert(rng.randint(0, len(elements)), c.odd(rng))


def word(kind: int, body: bytes = bytes(4)) -> Node:
    """A PDU without items: release, abort, reject."""
    return Node(PDU, kind, body)


def stray(rng: Random, plan: Plan) -> list[Node]:
    """Something out of place, or at least unasked for."""
    context = rng.choice(list(plan.contexts))
    way = rng.randrange(8)
    if way == 7:  # a command without an end
        pieces_ = [Node(PDV, context, bytes(16_000), 1) for _ in range(rng.choice((2, 4, 5)))]
        return [Node(PDU, DATA, [piece]) for piece in pieces_]
    if way == 0:
        return packed(rng, fragments(rng, context, encode(c.cancel(rng.randint(0, plan.number + 1))), is_command=True))
    if way == 1:
        answer = c.response(
            rng.choice(c.SERVICES), rng.randint(0, 3), rng.choice(c.STATUSES), data=bool(rng.randrange(2))
        )
        return packed(rng, fragments(rng, context, encode(answer), is_command=True))
    if way == 2:
        return packed(rng, fragments(rng, context, rng.randbytes(40), is_command=False))
    if way == 3:
        return [word(rng.choice((RELEASE_RQ, RELEASE_RP, ABORT, RJ)), rng.randbytes(rng.choice((4, 4, 4, 0, 64, 65))))]
    if way == 4:
        return [association_request(rng, Plan())]
    if way == 5:
        return [word(rng.randrange(256), rng.randbytes(rng.choice((0, 4, 200))))]
    return [Node(PDU, DATA, [Node(PDV, context, b"", rng.randrange(8)) for _ in range(rng.choice((0, 1, 200)))])]


def shuffled(rng: Random, pdus: list[Node]) -> None:
    """Break the order of PDUs, or one of them."""
    way = rng.randrange(5)
    if way == 0:
        mutate(rng, pdus, rng.choice((1, 1, 2, 4)))
    elif way == 1 and len(pdus) > 1:
        a, b = rng.randrange(len(pdus)), rng.randrange(len(pdus))
        pdus[a], pdus[b] = pdus[b], pdus[a]
    elif way == 2:
        pdus.insert(rng.randint(0, len(pdus)), rng.choice(pdus))
    elif way == 3 and len(pdus) > 1:
        del pdus[rng.randrange(len(pdus))]
    else:
        mutate(rng, pdus[:1], rng.choice((1, 1, 2)))


def acceptor_case(rng: Random, number: int) -> Case:
    """A conversation with our acceptor; one in ten is whole."""
    whole = rng.randrange(10) == 0
    plan = Plan()
    pdus = [association_request(rng, plan, whole=whole)]
    classes = {name for name, _ in plan.contexts.values()}
    kinds = [kind for kind in c.SERVICES if HOME[kind] in classes] or [c.STORE]
    asked = [rng.choice(kinds) for _ in range(rng.choice((1, 1, 2, 3)))]
    for kind in asked:
        pdus += message(rng, plan, number, kind, whole=whole)
        if not whole and rng.randrange(4) == 0:
            pdus += stray(rng, plan)
    pdus.append(word(RELEASE_RQ))
    if whole:
        answered = 0 if c.GET in asked else len(asked)  # a C-GET may ask back, and nobody answers
        return Case(turns(rng, [pdu.encode() for pdu in pdus]), "close", 0, answered)
    if rng.randrange(3):
        shuffled(rng, pdus)
    parts = [pdu.encode() for pdu in pdus]
    if parts and rng.randrange(6) == 0:
        at = rng.randrange(len(parts))
        parts[at] = havoc(rng, parts[at])
    if parts and rng.randrange(6) == 0:  # the rest never comes
        del parts[rng.randrange(1, len(parts) + 1) :]
        parts[-1] = parts[-1][: rng.randrange(len(parts[-1]) + 1)]
    return Case(turns(rng, parts), rng.choice((*ENDS, "stop")), rng.choice((0, 0, 0, 0, 1, 400)), prompt=_prompt(plan))


def _prompt(plan: Plan) -> bool:
    return not {MR, STUDY_MOVE, STUDY_GET} & {name for name, _ in plan.contexts.values()}


def turns(rng: Random, parts: list[bytes]) -> tuple[tuple[bytes, ...], ...]:
    """PDUs all at once, or one after the other, in pieces."""
    if rng.randrange(2):
        parts = [b"".join(parts)]
    return tuple(tuple(pieces(rng, part)) for part in parts)


def command_case(rng: Random, number: int) -> Case:
    """Messages of all services whose command sets are broken, in an association that is in order."""
    plan = Plan()
    pdus = [association_request(rng, plan, whole=True)]
    for _ in range(rng.choice((1, 2, 4))):
        context, _syntax = plan.place(rng, rng.choice(CLASSES))
        kind = rng.choice(c.SERVICES)
        elements = c.request(kind, plan.contexts[context][0], f"2.999.14.{number}", plan.next_id(), data=False)
        break_command(rng, elements)
        pdus += packed(rng, fragments(rng, context, encode(elements), is_command=True))
    pdus.append(word(RELEASE_RQ))
    return Case(turns(rng, [pdu.encode() for pdu in pdus]), rng.choice(ENDS[:2]), 0)
