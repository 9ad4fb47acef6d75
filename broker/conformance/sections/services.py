"""Chapter 5: services and how they work together (PS3.2 N.5). Worklist, MPPS and storage have modules of their own."""

from __future__ import annotations

from broker.conformance import contexts
from broker.conformance.facts import StatementFacts
from broker.conformance.sections import charsets, committing, performed_steps, storing, worklist_keys
from broker.conformance.statement import StatementSection, points, section, table

SERVICES = "Services of the application entity"


def made(facts: StatementFacts) -> StatementSection:
    """Chapter 5."""
    return section(
        "5",
        "Service and interoperability description",
        _mapping(facts),
        section(
            "5.2",
            "DIMSE services",
            worklist_keys.made(facts),
            performed_steps.made(facts),
            section("5.2.3", "Unified Procedure Step"),
            section("5.2.4", "Instance Availability Notification", "Not supported: none is sent or received."),
            storing.made(facts),
            committing.made(facts),
            section("5.2.7", "Query and retrieve", "Not supported, neither as SCP nor as SCU."),
            section("5.2.8", "Print"),
        ),
        section("5.3", "DICOM web services"),
        section("5.4", "Media services"),
        section("5.5", "Real-time video"),
        section("5.6", "Cross-service considerations", points(*_TOGETHER)),
        charsets.made(facts),
    )


def _mapping(facts: StatementFacts) -> StatementSection:
    offers = contexts.accepted(facts)
    served = [(offer.service, facts.title, "SCP") for offer in offers]
    used = [(one.activity, facts.title, one.role) for one in contexts.proposed(facts)]
    forwarding = ("Forwarding of objects (C-STORE)", facts.title, "SCU")
    mapped = table(SERVICES, ("Service", "AE", "Role"), [*served, forwarding, *used])
    return section("5.1", "Mapping of services to application entities", mapped)


_TOGETHER = (
    "An order becomes scheduled procedure steps of the worklist. Identifiers that the message does not give (Accession "
    "Number, Study Instance UID, step id) are made as the mapping profile of the sender says.",
    "An MPPS moves the status of the steps that it means. STARTED, COMPLETED and DISCONTINUED steps are not shown to a "
    "query that asks for no status, unless the device profile shows them.",
    "The first object of a study tells the RIS that there are images, where its node wants to know.",
    "A patient merge or correction (HL7 ADT) changes the next worklist answer. Objects and MPPS messages that were "
    "received are not changed.",
    "Objects that an MPPS calls made by a wrong worklist entry are held.",
)
