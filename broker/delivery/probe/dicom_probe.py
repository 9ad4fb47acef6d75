"""Tests a DICOM node: association, C-ECHO, and which presentation contexts it takes of those that it has to take."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from broker.delivery.probe.network_probe import Place, reach
from broker.delivery.probe.outcome import ContextRow, ProbeLog, StepOutcome, shortened
from broker.dicom import uids
from broker.dicom.association.association import Association
from broker.dicom.association.user import ECHO, Proposal, Remote, associate
from broker.dicom.conversion.syntaxes import instead_of
from broker.dicom.dimse import words
from broker.dicom.wire.negotiation import MAX_CONTEXTS
from broker.errors import PeerFault
from broker.model.wording import Sentence
from broker.site.nodes import Node
from broker.site.tables.roles import MPPS, MPPS_NOTIFICATION

ANSWER = 10.0  # seconds for the association, and for the echo
Pair = tuple[str, str]  # SOP class, transfer syntax
_UNCOMPRESSED = (uids.EXPLICIT_LE, uids.IMPLICIT_LE)
_USUAL = (  # storage classes that are asked for where nothing has been received yet
    "1.2.840.10008.5.1.4.1.1.2",  # CT
    "1.2.840.10008.5.1.4.1.1.4",  # MR
    "1.2.840.10008.5.1.4.1.1.1",  # CR
    "1.2.840.10008.5.1.4.1.1.1.1",  # DX, for presentation
    "1.2.840.10008.5.1.4.1.1.6.1",  # US
    "1.2.840.10008.5.1.4.1.1.7",  # secondary capture
)
_BY_ROLE = {
    MPPS: uids.PERFORMED_STEP,
    MPPS_NOTIFICATION: uids.PERFORMED_STEP_NOTIFICATION,
    "worklist": uids.MODALITY_WORKLIST,
}


def needed(node: Node, objects: Sequence[Pair]) -> list[Pair]:
    """What a node has to take, by its roles; `objects`: kinds that were or are to be sent to a destination."""
    pairs = [
        (sop_class, syntax) for role, sop_class in _BY_ROLE.items() if role in node.roles for syntax in _UNCOMPRESSED
    ]
    if "destination" in node.roles:
        pairs += objects or [(sop_class, syntax) for sop_class in _USUAL for syntax in _UNCOMPRESSED]
    return list(dict.fromkeys(pairs))[: MAX_CONTEXTS - 1]


def instead(pair: Pair) -> Sequence[Pair]:
    """What goes in place of an object or message that a node does not take as it came, best first."""
    sop_class, syntax = pair
    if sop_class not in _BY_ROLE.values():
        return instead_of(pair)
    return [(sop_class, other) for other in _UNCOMPRESSED if other != syntax]


def _proposed(pairs: Sequence[Pair]) -> tuple[list[Pair], list[Pair]]:
    """Those of the pairs for which an association has room with all that may go instead, and all of these."""
    asked: list[Pair] = []
    contexts: dict[Pair, None] = {}
    for pair in pairs:
        more = contexts | dict.fromkeys((pair, *instead(pair)))
        if len(more) >= MAX_CONTEXTS:  # one is for the echo
            break
        asked, contexts = [*asked, pair], more
    return asked, list(contexts)


async def probe_dicom(log: ProbeLog, node: Node, remote: Remote, objects: Sequence[Pair]) -> None:
    """Test a node that listens; the log says what was found."""
    if not await reach(log, Place(remote.host, remote.port, remote.tls, remote.server_name)):
        return
    calling = (node.source.calling_ae if node.source else None) or remote.calling_ae
    remote = replace(remote, calling_ae=calling, connect_timeout=ANSWER, response_timeout=ANSWER)
    pairs, contexts = _proposed(needed(node, objects))
    proposals = [ECHO, *(Proposal(sop_class, (syntax,)) for sop_class, syntax in contexts)]
    log.begin()
    try:
        async with associate(remote, proposals) as association:
            titles = {"called": remote.called_ae, "calling": remote.calling_ae}
            log.add(
                "association",
                StepOutcome.GOOD,
                Sentence("%(called)s accepts an association of %(calling)s", titles),
            )
            await _echo(log, association)
            if pairs:
                _contexts(log, association, pairs)
    except PeerFault as error:
        values = {"called": remote.called_ae, "reason": shortened(words.failure(error))}
        log.add(
            "association",
            StepOutcome.BAD,
            Sentence("%(called)s gives no association, or ends it: %(reason)s", values),
            _advice(error.code, remote),
        )


async def _echo(log: ProbeLog, association: Association) -> None:
    if not any(context.abstract_syntax == uids.VERIFICATION for context in association.contexts.values()):
        log.add(
            "echo",
            StepOutcome.WARNING,
            Sentence("It does not take C-ECHO"),
            Sentence("Each DICOM application has to answer C-ECHO: ask its vendor. Other services may work."),
        )
        return
    began = time.perf_counter()
    status = await association.echo()
    took = {"ms": f"{(time.perf_counter() - began) * 1000:.1f}", "status": words.status(status)}
    if status:
        log.add(
            "echo",
            StepOutcome.BAD,
            Sentence("C-ECHO was answered %(status)s in %(ms)s ms", took),
            Sentence("It answers, but says that it is not well: look at its log."),
        )
    else:
        log.add("echo", StepOutcome.GOOD, Sentence("C-ECHO was answered in %(ms)s ms", took))


def _contexts(log: ProbeLog, association: Association, pairs: Sequence[Pair]) -> None:
    """Which of what it has to take it takes, and what is converted for it."""
    taken = {(context.abstract_syntax, context.transfer_syntax) for context in association.contexts.values()}
    ways = {pair: next((way for way in (pair, *instead(pair)) if way in taken), None) for pair in pairs}
    rows = tuple(_row(pair, way) for pair, way in ways.items())
    served = {pair[0] for pair, way in ways.items() if way}
    missing = sum(way is None for way in ways.values())
    converted = sum(bool(row.instead) for row in rows)
    values = {"taken": len(rows) - missing, "all": len(rows), "converted": converted}
    some = Sentence("It takes %(taken)s of %(all)s kinds of objects and messages that are for it", values)
    if not missing:
        every = Sentence("It takes all kinds of objects and messages that are for it: %(all)s", values)
        partly = Sentence("It takes all kinds of objects and messages that are for it, %(converted)s converted", values)
        log.add("contexts", StepOutcome.GOOD, partly if converted else every, rows=rows)
    elif {pair[0] for pair in pairs} - served:
        log.add(
            "contexts",
            StepOutcome.BAD,
            some,
            Sentence("What it does not take is held. Switch these SOP classes on at the node, or send them elsewhere."),
            rows,
        )
    else:
        log.add(
            "contexts",
            StepOutcome.WARNING,
            some,
            Sentence("Objects that are compressed are sent as they came: what it does not take is held."),
            rows,
        )


def _row(pair: Pair, way: Pair | None) -> ContextRow:
    converted = way is not None and way != pair
    return ContextRow(
        uids.name_of(pair[0]), uids.name_of(pair[1]), way == pair, uids.name_of(way[1]) if way and converted else ""
    )


def _advice(code: str, remote: Remote) -> Sentence:
    titles = {"called": remote.called_ae, "calling": remote.calling_ae}
    if code.endswith("-1-3"):
        return Sentence("Register the AE title %(calling)s with the address of this broker at the node.", titles)
    if code.endswith("-1-7"):
        return Sentence("The node has another AE title than %(called)s: correct it here, or there.", titles)
    if code.startswith("rejected-2"):
        return Sentence("It is busy or has too many associations: try again; lower `associations` if it comes back.")
    if code.startswith("identity"):
        return Sentence("It does not check user names: leave `username` out, or have it checked there.")
    if code == "connection-lost":
        return Sentence(
            "It closes the connection: this may be no DICOM port, or it wants TLS, or knows only some addresses."
        )
    if code == "deadline":
        return Sentence(
            "It accepts connections and does not answer. It may serve one caller at a time, and the broker be that "
            "one: test again in half a minute. Else restart the application, or correct the port."
        )
    return Sentence("Look at the log of the node: it knows why it ended the association.")
