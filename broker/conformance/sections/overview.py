"""Chapters 1, 3 and 4: what the product does, words of the statement, implementation model (PS3.2 N.1, N.3, N.4)."""

from __future__ import annotations

from broker.conformance import contexts
from broker.conformance.facts import StatementFacts
from broker.conformance.naming import named
from broker.conformance.sections import charsets
from broker.conformance.statement import DrawingBlock, StatementSection, points, section, table
from broker.dicom import uids

_DRAWING = """\
 RIS -- HL7 v2 orders --> +--------------------+ <-- C-FIND (worklist) ------- modality
     <-- feedback ------- |                    | <-- N-CREATE, N-SET (MPPS) -- modality
                          |  {title}  | <-- C-STORE (objects) ------- modality
 worklist                 |                    | --- C-STORE (objects) ------> archive, workstation
 server  <-- C-FIND ----- |                    | --- N-CREATE, N-SET --------> PPS manager
                          +--------------------+ --- N-EVENT-REPORT ---------> MPPS subscriber"""
YES, NO = "Y", "N"


def overview(facts: StatementFacts) -> StatementSection:
    """Chapter 1."""
    storage = contexts.storage_offer(facts.settings.dicom.private_sop_classes)
    count = f"{len(storage.classes)} storage SOP classes, listed in 7.2.3"
    return section(
        "1",
        "Overview",
        "The broker stands between systems that place orders by HL7, modalities and archives. It serves orders as "
        "modality worklist, receives performed procedure steps and passes them on, and receives objects and forwards "
        "them by rules. It is not an archive and is not meant for diagnosis.",
        section(
            "1.1",
            "Content and transfer",
            table(
                "SOP classes of objects",
                ("SOP classes", "Created", "Received", "Forwarded", "Displayed", "Kept for good"),
                [(count, NO, YES, YES, NO, NO)],
            ),
            section("1.1.1", "SR root templates", "None. The broker creates no SR documents."),
        ),
        _services(facts),
        section("1.3", "DICOM web services", "None."),
        section("1.4", "Media services", "None."),
        section("1.5", "Real-time video", "None."),
        section("1.6", "De-identification profiles", "None. The broker de-identifies no objects."),
        section("1.7", "Specific character sets", charsets.overview(facts)),
    )


def _services(facts: StatementFacts) -> StatementSection:
    """Which services the code serves and uses; what it does neither of stands there with N."""
    serves = {uid for offer in contexts.accepted(facts) for uid in offer.classes}
    uses = {uid for one in contexts.proposed(facts) for uid, _ in one.pairs if one.role == "SCU"}
    tells = {uid for one in contexts.proposed(facts) for uid, _ in one.pairs if one.role == "SCP"}

    def row(name: str, uid: str) -> tuple[str, str, str, str]:
        return name, uid, YES if uid in uses else NO, YES if uid in serves | tells else NO

    columns = ("Service", "SOP class", "SCU", "SCP")
    workflow = [
        row("Modality Worklist", uids.MODALITY_WORKLIST),
        row("Modality Performed Procedure Step", uids.PERFORMED_STEP),
        row("Modality Performed Procedure Step Retrieve", uids.PERFORMED_STEP_RETRIEVE),
        row("Modality Performed Procedure Step Notification", uids.PERFORMED_STEP_NOTIFICATION),
        row("Instance Availability Notification", "1.2.840.10008.5.1.4.33"),
        row("Unified Procedure Step - Push", "1.2.840.10008.5.1.4.34.6.1"),
    ]
    queries = [
        row("Patient Root Query/Retrieve - FIND", "1.2.840.10008.5.1.4.1.2.1.1"),
        row("Patient Root Query/Retrieve - MOVE", "1.2.840.10008.5.1.4.1.2.1.2"),
        row("Study Root Query/Retrieve - FIND", "1.2.840.10008.5.1.4.1.2.2.1"),
        row("Study Root Query/Retrieve - MOVE", "1.2.840.10008.5.1.4.1.2.2.2"),
    ]
    verification = row("Verification", uids.VERIFICATION)
    commitment = row("Storage Commitment Push Model", uids.STORAGE_COMMITMENT)
    storage = ("Storage", "the storage SOP classes of 7.2.3", YES, YES)
    prints = row("Basic Grayscale Print Management Meta", "1.2.840.10008.5.1.1.9")
    return section(
        "1.2",
        "DIMSE services",
        section("1.2.1", "Verification", table("Verification", columns, [verification])),
        section("1.2.2", "Storage", table("Storage", columns, [storage, commitment])),
        section("1.2.3", "Workflow", table("Workflow", columns, workflow)),
        section("1.2.4", "Query and retrieve", table("Query and retrieve", columns, queries)),
        section("1.2.5", "Print", table("Print", columns, [prints])),
    )


def introduction(version: str) -> StatementSection:
    """Chapter 3."""
    return section(
        "3",
        "Introduction",
        section(
            "3.1",
            "Revision history",
            f"The broker writes this statement for version {version} and its configuration. The document number "
            "changes as soon as anything that is stated changes.",
        ),
        section(
            "3.2",
            "Audience",
            "Integrators, system administrators and vendors who connect a system to the broker. They know DICOM.",
        ),
        section(
            "3.3",
            "Remarks",
            "This statement does not replace tests: two systems that conform to DICOM may still not work together. "
            "Tables of presentation contexts, attributes, statuses and parameters are made of what the code itself "
            "reads. What is not named here is not supported.",
        ),
        section(
            "3.4",
            "Terms and definitions",
            points(
                "Node: a system that the configuration names, with its AE title and its roles.",
                "Device profile: how the worklist and the MPPS of one modality are served (`device` of its node).",
                "Held: kept until a person decides. Nothing that was accepted is lost.",
                "Lenient, strict: how the faults of an MPPS of a device are judged, see 5.2.2.",
            ),
        ),
        section(
            "3.5",
            "Abbreviations",
            "AE: application entity. MPPS: modality performed procedure step. MWL: modality worklist. RIS: radiology "
            "information system. SCP: service class provider. SCU: service class user. SPS: scheduled procedure step.",
        ),
        section(
            "3.6",
            "References",
            points(
                "NEMA PS3, Digital Imaging and Communications in Medicine (DICOM) Standard.",
                "IHE Radiology Technical Framework, volumes 1 and 2.",
                "HL7 Messaging Standard, versions 2.3.1 and 2.5.1.",
            ),
        ),
    )


def model(facts: StatementFacts) -> StatementSection:
    """Chapter 4."""
    return section(
        "4",
        "Implementation model",
        section(
            "4.1",
            "Application entities and data flow",
            DrawingBlock(_DRAWING.format(title=facts.title.center(16))),
            f"There is one application entity, {facts.title}. With TLS it has a second port, which serves the same.",
            section("4.1.1", f"Functional definition of {facts.title}", points(*_WHAT_IT_DOES)),
        ),
    )


_WHAT_IT_DOES = (
    f"Answers {named(uids.VERIFICATION)}.",
    "Answers worklist queries from its orders. These come by HL7, by REST, by hand, and from other worklist servers.",
    "Receives performed procedure steps, finds the scheduled steps that they mean, and lets these follow: the worklist "
    "no longer shows what has ended.",
    "Passes each N-CREATE and N-SET on to nodes with role `mpps`, and tells nodes with role `mpps-notification` of "
    "events.",
    "Receives objects, decides by rules where they go, and sends them there. A destination that is away, full or slow "
    "gets them later.",
    "Asks other worklist servers (nodes with role `worklist`) and takes their items as orders.",
)
