"""Chapter 7.1 and 7.2: association parameters and presentation contexts (PS3.2 N.7, PS3.8 annex B)."""

from __future__ import annotations

from collections.abc import Iterable

from broker.conformance import contexts
from broker.conformance.facts import StatementFacts
from broker.conformance.naming import named, named_in_cell, number, seconds
from broker.conformance.statement import StatementSection, TableBlock, points, section, table
from broker.dicom import uids
from broker.dicom.association import pool, user
from broker.dicom.conversion.syntaxes import instead_of
from broker.dicom.dimse.served import ServiceOffer
from broker.dicom.wire import pdu
from broker.dicom.wire.admission import REJECTIONS
from broker.dicom.wire.limits import AssociationLimits
from broker.dicom.wire.negotiation import MAX_CONTEXTS
from broker.site.tables.node_table import NodeTable

ACCEPTED_CONTEXTS = "Presentation contexts accepted"
PROPOSED_CONTEXTS = "Presentation contexts proposed"
STORAGE_CLASSES = "Storage SOP classes"
STORAGE_SYNTAXES = "Transfer syntaxes of storage contexts"
PROPOSED_FOR_OBJECTS = "Transfer syntaxes proposed for an object"
_ANY = "Each SOP class of the table of storage SOP classes"


def made(facts: StatementFacts) -> tuple[StatementSection, ...]:
    """Sections 7.1 and 7.2."""
    return _general(facts), section(
        "7.2", "Application entities", _sequencing(facts), _initiation(facts), _acceptance(facts)
    )


def _general(facts: StatementFacts) -> StatementSection:
    limits, usual = facts.settings.limits, AssociationLimits()
    rows = [
        ("Application context name", uids.APPLICATION_CONTEXT),
        ("Implementation class UID", uids.IMPLEMENTATION_CLASS),
        ("Implementation version name", uids.IMPLEMENTATION_VERSION),
        ("Maximum length of a PDU received, as acceptor", number(usual.max_pdu)),
        ("Maximum length of a PDU received, as requestor", number(user.MAX_RECEIVE)),
        (
            "Maximum length of a PDU sent",
            f"as the peer announces, at most {number(pdu.MOST_SENT)}; {number(pdu.SENT_WITHOUT_LIMIT)} where it "
            "announces 0, which is no limit",
        ),
        ("Asynchronous operations window", f"{usual.operations} invoked, 1 performed: no asynchronous operations"),
        ("Presentation contexts of an association", f"at most {MAX_CONTEXTS}"),
        ("Associations accepted at once", number(limits.associations)),
        ("Associations accepted at once of one address", number(limits.associations_per_address)),
        ("Association requests per second of one address that is no node", f"{limits.associations_per_second:g}"),
        ("Time for the association request (ARTIM)", seconds(limits.association_request_timeout)),
        ("Time for one PDU, and between two PDUs of a message", seconds(limits.pdu_timeout)),
        ("Idle time until an association is aborted", seconds(limits.association_idle_timeout)),
        ("Time for which a peer may not read what the broker sends", seconds(limits.pdu_timeout)),
        ("Largest object received", f"{number(limits.dicom_object)} bytes"),
    ]
    return section(
        "7.1",
        "General association parameters",
        table("Parameters in force", ("Parameter", "Value"), rows),
        "With several worker processes each of them has these limits.",
        table("As association requestor", ("Parameter", "Value"), _as_requestor()),
    )


def _as_requestor() -> list[tuple[str, str]]:
    remote = user.Remote("", 0, "", "")
    keys = NodeTable.model_fields
    return [
        ("Time for a connection", seconds(remote.connect_timeout)),
        (
            "Time for an association and for a response",
            f"{seconds(keys['answer_timeout'].default)}, `answer_timeout` of the node",
        ),
        ("Associations at once to one destination", f"{keys['associations'].default}, `associations` of the node"),
        (
            "Idle time until an association is released",
            f"{seconds(keys['association_idle'].default)}, `association_idle` of the node",
        ),
        ("Age after which an association is not used again", seconds(pool.MAX_AGE)),
        ("Asynchronous operations window", "not proposed"),
    ]


def _sequencing(facts: StatementFacts) -> StatementSection:
    return section(
        "7.2.1",
        f"{facts.title}: sequencing of activities",
        points(
            "A worklist query reads the database at the time of the query. What an order message, an MPPS or a person "
            "has changed before is in the answer.",
            "A C-STORE, N-CREATE or N-SET is answered after what it brought is on stable storage. It is passed on "
            "after that, independently of the association by which it came.",
            "Messages about one performed procedure step are passed on in the order in which they came.",
            "A worklist of another server is imported by a schedule; each import is one association.",
        ),
    )


def _initiation(facts: StatementFacts) -> StatementSection:
    rows = [
        (one.activity, named(sop_class), named(syntax), one.role, "none")
        for one in contexts.proposed(facts)
        for sop_class, syntax in one.pairs
    ]
    return section(
        "7.2.2",
        "Association initiation policy",
        "The broker opens associations to forward objects, to pass on MPPS messages, to notify of MPPS events, to "
        "import worklists, to ask for storage commitment and tell its results, and to test a system. Its calling AE "
        "title is its own; a worklist server may be asked under another one (`source.calling_ae` of the node).",
        table(
            PROPOSED_CONTEXTS,
            ("Activity", "Abstract syntax", "Transfer syntax", "Role", "Extended negotiation"),
            rows,
        ),
        _said_of_contexts(facts),
        "For a C-STORE the broker proposes what the objects that wait need, and what the destination has accepted "
        f"before, up to {MAX_CONTEXTS} contexts. Each context has one transfer syntax. Role: SCU. No extended "
        "negotiation.",
        _for_objects(),
        "A test of a system proposes also what the system has to take by its roles: the contexts above, one transfer "
        "syntax in each. `broker echo` proposes the context of the test, `broker send` the SOP class and transfer "
        "syntax of each file that it sends.",
        "User identity: if the node has a `username`, it is sent with the request, and with the passcode if there is "
        "one. A positive response is asked for, and without it there is no association.",
    )


def _said_of_contexts(facts: StatementFacts) -> str:
    together = [one.activity for one in contexts.proposed(facts) if not one.apart]
    apart = [one.activity for one in contexts.proposed(facts) if one.apart]
    return (
        f"One context with all transfer syntaxes: {'; '.join(together)}. A context for each transfer syntax: "
        f"{'; '.join(apart)}. SCP/SCU role selection is proposed where the role is SCP: then the broker takes this "
        "role alone."
    )


def _for_objects() -> TableBlock:
    """Transfer syntaxes of which others are made, then all others as one row."""
    others = sorted(
        (syntax for syntax in uids.TRANSFER_SYNTAXES if instead_of((_ANY, syntax))),
        key=lambda syntax: (syntax not in uids.UNCOMPRESSED, syntax),
    )
    rows = [
        (named(syntax), named_in_cell(syntax for _, syntax in contexts.proposed_for(_ANY, syntax))) for syntax in others
    ]
    rows.append(("any other", "the transfer syntax in which the object was received"))
    return table(PROPOSED_FOR_OBJECTS, ("The object was received in", "Proposed, each in a context of its own"), rows)


def _acceptance(facts: StatementFacts) -> StatementSection:
    dicom = facts.settings.dicom
    offers = contexts.accepted(facts)
    storage = contexts.storage_offer(dicom.private_sop_classes)
    rows = [
        (offer.service, named(sop_class), named(syntax), "SCP", _extended(offer))
        for offer in offers
        if offer != storage
        for sop_class in sorted(offer.classes)
        for syntax in offer.syntaxes
    ]
    rows.append((storage.service, f"{_ANY} below", f"{_ANY_SYNTAX} below", "SCP", _extended(storage)))
    return section(
        "7.2.3",
        "Association acceptance policy",
        _who(facts),
        table(
            ACCEPTED_CONTEXTS,
            ("Service", "Abstract syntax", "Transfer syntax", "Role", "Extended negotiation"),
            rows,
        ),
        "Of the transfer syntaxes of one context the first one in this table that is proposed is accepted. For storage "
        "that is Explicit VR Little Endian; without it the first compressed one in the order of the sender; without "
        "one the first of the uncompressed ones. A context of any other abstract syntax is refused with result 3, one "
        "without a known transfer syntax with result 4.",
        "Role selection: the broker is SCP only. A requestor that proposes to be SCP itself gets 0 for this role"
        + (", but of storage commitment: an archive that was asked may report its result." if facts.commits else "."),
        table(
            STORAGE_CLASSES,
            ("SOP class", "UID"),
            _names(sorted(storage.classes, key=_numbers)),
        ),
        table(
            STORAGE_SYNTAXES,
            ("Transfer syntax", "UID"),
            _names(storage.syntaxes),
        ),
        table(
            "Association rejections sent",
            ("Result", "Source", "Reason", "When"),
            [(str(one.result), str(one.source), str(one.reason), when) for one, when in REJECTIONS.items()],
        ),
    )


_ANY_SYNTAX = "Each of the table of transfer syntaxes of storage contexts"


def _names(found: Iterable[str]) -> list[tuple[str, str]]:
    """Names and UIDs; a private or very new UID has no name."""
    return [("" if uids.name_of(uid) == uid else uids.name_of(uid), uid) for uid in found]


def _numbers(uid: str) -> list[int]:
    return [int(part) for part in uid.split(".")]


def _extended(offer: ServiceOffer) -> str:
    if uids.MODALITY_WORKLIST in offer.classes:
        return "see 5.2.1"
    if offer.classes & uids.STORAGE_CLASSES:
        return "common extended negotiation, see 5.2.5"
    return "none"


def _who(facts: StatementFacts) -> str:
    dicom = facts.settings.dicom
    calling = (
        "The calling AE title must be that of a node; where the node has a host, the address must be its own."
        if dicom.accept == "known"
        else "Every calling AE title is accepted; one that is that of a node is served as this node."
    )
    identity = (
        "Every caller must send the user identity of its node."
        if dicom.user_identity == "required"
        else "A node that has a `username` must send it as user identity; others need none."
    )
    return f"The called AE title must be {facts.title}. {calling} {identity}"
