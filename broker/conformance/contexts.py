"""Reads which presentation contexts the doors accept and the senders propose, from the tables that they use themselves.

A test compares `accepted` with what a running broker negotiates, and `proposed` with what it asks of a peer.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from broker.commitment import commitment_sender
from broker.conformance.facts import StatementFacts
from broker.delivery import mpps_sender
from broker.dicom import uids
from broker.dicom.association.user import ECHO, Proposal
from broker.dicom.conversion.syntaxes import instead_of
from broker.dicom.dimse.served import ServiceOffer, served
from broker.worklist.source import source_import

Pair = tuple[str, str]  # abstract syntax, transfer syntax


@dataclass(frozen=True, slots=True)
class ProposedContexts:
    """What the broker proposes as association requestor for one activity.

    `role`: which the broker takes, as role selection or its default has it. `apart`: each pair is a context of its own.
    """

    activity: str
    role: str
    pairs: tuple[Pair, ...]
    apart: bool


def accepted(facts: StatementFacts) -> tuple[ServiceOffer, ...]:
    """The services that the DICOM door offers as SCP."""
    return served(facts.settings.dicom.private_sop_classes, commits=facts.commits)


def storage_offer(private_classes: Iterable[str]) -> ServiceOffer:
    """The storage service among those that are accepted."""
    return next(offer for offer in served(private_classes) if offer.classes & uids.STORAGE_CLASSES)


def proposed(facts: StatementFacts) -> tuple[ProposedContexts, ...]:
    """What the broker proposes besides objects, for which see `proposed_for`."""
    asking = [_one("Asking archives for storage commitment (N-ACTION)", "SCU", commitment_sender.ASKING)]
    telling = [_one("Results of storage commitment (N-EVENT-REPORT)", "SCP", commitment_sender.REPORTING)]
    return (*_always(), *(asking if facts.asks else ()), *(telling if facts.commits else ()))


def _one(activity: str, role: str, proposal: Proposal) -> ProposedContexts:
    pairs = tuple((proposal.abstract_syntax, syntax) for syntax in proposal.transfer_syntaxes)
    return ProposedContexts(activity, role, pairs, apart=False)


def _always() -> tuple[ProposedContexts, ...]:
    return (
        _one("Test of a system (C-ECHO)", "SCU", ECHO),
        _one("Import of the worklist of another server (C-FIND)", "SCU", source_import.PROPOSAL),
        ProposedContexts(
            "Passing on of MPPS messages (N-CREATE, N-SET)", "SCU", tuple(mpps_sender.FORWARD), apart=True
        ),
        ProposedContexts("Notification of MPPS events (N-EVENT-REPORT)", "SCP", tuple(mpps_sender.NOTIFY), apart=True),
    )


def proposed_for(sop_class: str, syntax: str) -> tuple[Pair, ...]:
    """The contexts proposed for an object by how it was received: as it is, and as what it can be converted to."""
    pair = (sop_class, syntax)
    return (pair, *instead_of(pair))
