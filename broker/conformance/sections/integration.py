"""Annex A.F: the IHE actors and transactions that are claimed, and those that are not (IHE Radiology TF-1, TF-2)."""

from __future__ import annotations

from broker.conformance import contexts
from broker.conformance.facts import StatementFacts
from broker.conformance.statement import StatementSection, section, table
from broker.dicom import uids
from broker.orders.inbound.reception import CONVERTERS

ACTORS, TRANSACTIONS = "IHE actors", "IHE transactions"
CLAIMED, PART, NOT_CLAIMED = "claimed", "in part", "not claimed"


def made(facts: StatementFacts) -> StatementSection:
    """Annex A.F."""
    return section(
        "A.F",
        "IHE integration statement",
        "Claims rest on the tests of the product. Results of a connectathon are not claimed.",
        table(ACTORS, ("Actor", "Profile", "Claim", "Remark"), _actors(facts)),
        table(TRANSACTIONS, ("Transaction", "Name", "Claim", "Messages or service"), _transactions(facts)),
    )


def _actors(facts: StatementFacts) -> list[tuple[str, str, str, str]]:
    audited = any(node.audits for node in facts.nodes)
    secure = facts.settings.dicom.tls is not None and audited
    return [
        (
            "Performed Procedure Step Manager",
            "SWF, SWF.b, PIR",
            CLAIMED,
            f"It passes MPPS messages on to nodes with role `mpps`; now {facts.titles('mpps')}.",
        ),
        (
            "Department System Scheduler / Order Filler",
            "SWF, SWF.b, PIR",
            PART,
            "The worklist and the performed procedure step part. Scheduling and order management stay with the RIS.",
        ),
        (
            "Image Manager / Image Archive",
            "SWF, SWF.b",
            NOT_CLAIMED,
            "Objects are received and forwarded; there is no archive and no query. Storage commitment is that of "
            "archives.",
        ),
        (
            "Secure Application",
            "ATNA",
            PART if secure else NOT_CLAIMED,
            "It needs `[dicom.tls]` and a node with role `audit`: "
            + ("both are configured." if secure else "they are not both configured."),
        ),
    ]


def _transactions(facts: StatementFacts) -> list[tuple[str, str, str, str]]:
    served = {uid for offer in contexts.accepted(facts) for uid in offer.classes}

    def service(sop_class: str, text: str) -> tuple[str, str]:
        return (CLAIMED, text) if sop_class in served else (NOT_CLAIMED, "not served")

    return [
        ("RAD-1", "Patient Registration", *_hl7("ADT")),
        ("RAD-2", "Placer Order Management", PART, _hl7("ORM", "OMG")[1]),
        ("RAD-3", "Filler Order Management", NOT_CLAIMED, "The RIS is told by feedback messages of its node."),
        ("RAD-4", "Procedure Scheduled", *_hl7("ORM", "OMI")),
        ("RAD-5", "Query Modality Worklist", *service(uids.MODALITY_WORKLIST, "C-FIND, SCP")),
        ("RAD-6", "Modality Procedure Step In Progress", *service(uids.PERFORMED_STEP, "N-CREATE, SCP and SCU")),
        (
            "RAD-7",
            "Modality Procedure Step Completed or Discontinued",
            *service(uids.PERFORMED_STEP, "N-SET, SCP and SCU"),
        ),
        ("RAD-8", "Modality Images Stored", PART, "C-STORE, SCP and SCU, as a gateway before an archive"),
        ("RAD-10", "Storage Commitment", *_commitment(facts)),
        ("RAD-11", "Images Availability Query", NOT_CLAIMED, "not served"),
        ("RAD-12", "Patient Update", *_hl7("ADT")),
        ("RAD-13", "Procedure Updated", *_hl7("ORM", "OMI")),
        ("RAD-42", "Performed Work Status Update", NOT_CLAIMED, "not served"),
        ("RAD-48", "Appointment Notification", *_hl7("SIU")),
        ("RAD-49", "Instance Availability Notification", *service("1.2.840.10008.5.1.4.33", "")),
        ("ITI-20", "Record Audit Event", PART, "Audit messages to nodes with role `audit`"),
    ]


def _commitment(facts: StatementFacts) -> tuple[str, str]:
    """The broker commits nothing by itself: it tells what destinations prove."""
    if not facts.commits:
        return NOT_CLAIMED, "not served: no destination proves that it has objects"
    return PART, "N-ACTION and N-EVENT-REPORT, SCP" + (" and SCU" if facts.asks else "") + ", see 5.2.6"


def _hl7(*types: str) -> tuple[str, str]:
    """A claim as receiver of message types, with the events that are read."""
    read = [f"{kind}^{event}" for kind in types for event in sorted(CONVERTERS.get(kind, {}))]
    return (CLAIMED, f"received: {', '.join(read)}") if read else (NOT_CLAIMED, "not received")
