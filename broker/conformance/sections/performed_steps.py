"""Section 5.2.2: Modality Performed Procedure Step, as SCP and SCU (PS3.4 F.7.4.2, F.8, F.9; PS3.2 N.5.2.2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from broker.conformance.facts import StatementFacts
from broker.conformance.naming import tag_text
from broker.conformance.statement import StatementSection, points, section, table
from broker.mpps.attributes import FORGIVEN, MPPS, MppsAttribute
from broker.mpps.checks import MAX_ITEMS
from broker.mpps.dataset import MAX_BYTES
from broker.mpps.meaning import CALLED_OFF, TO_BE_DONE
from broker.mpps.passing_on import MppsEvent
from broker.site.device import DEFAULT

ATTRIBUTES = "Attributes of the Modality Performed Procedure Step"


def rows(attributes: Mapping[int, MppsAttribute] = MPPS, depth: int = 0) -> Iterator[tuple[str, ...]]:
    """Each attribute with tag, VR, type in N-CREATE, whether N-SET may have it, and type in the final state."""
    for tag, attribute in attributes.items():
        change = ("allowed" if attribute.settable else "not allowed") if depth == 0 else ""
        final = "1" if attribute.final else ""
        yield ">" * depth + attribute.keyword, tag_text(tag), attribute.vr, attribute.type, change, final
        yield from rows(attribute.items, depth + 1)


def made(facts: StatementFacts) -> StatementSection:
    """Section 5.2.2."""
    return section(
        "5.2.2",
        "Modality Performed Procedure Step",
        _scp(facts),
        _retrieve(),
        section(
            "5.2.2.3",
            "MPPS as SCU",
            "Each N-CREATE and N-SET that was answered with success or a warning is sent to each node with role "
            "`mpps`, with the SOP Instance UID and the bytes as they came. They are converted to the transfer syntax "
            "that the node takes, if it takes no other. The messages of one step keep their order. If the node does "
            "not know the step of an N-SET (0112), the N-CREATE is sent again before it. Nodes now, by AE title: "
            f"{facts.titles('mpps')}.",
        ),
        section(
            "5.2.2.4",
            "MPPS Notification as SCP",
            "Nodes with role `mpps-notification` are sent N-EVENT-REPORT: the broker opens the association and takes "
            f"the role of the SCP. Nodes now, by AE title: {facts.titles('mpps-notification')}.",
            table(
                "Event types",
                ("Event Type ID", "Event"),
                [(str(int(event)), event.name.replace("_", " ")) for event in MppsEvent],
            ),
        ),
    )


def _scp(facts: StatementFacts) -> StatementSection:
    forgiven = ", ".join(sorted(FORGIVEN))
    settings = facts.settings.worklist
    return section(
        "5.2.2.1",
        "MPPS as SCP",
        table(ATTRIBUTES, ("Attribute", "Tag", "VR", "N-CREATE", "N-SET", "Final state"), tuple(rows())),
        points(
            "An attribute that is not in this table is passed on and not used.",
            f"A message has at most {MAX_BYTES // 1024**2} MiB, and a step at most {MAX_ITEMS} scheduled steps.",
            f"A device is served leniently or strictly (`device.mpps`); {DEFAULT.mpps} where it names none. Strictly: "
            "faults are refused as PS3.4 F.7.2 has it. Leniently: a fault that can be forgiven is noted, and the "
            "answer is success or a warning. 7.3.2 says which status has which cause.",
            f"Leniently an N-SET may have these attributes although the N-CREATE had not: {forgiven}.",
            "The same message again, byte by byte, from the same AE is answered with success and changes nothing.",
            "A step is created IN PROGRESS. A device may be allowed to create a step that is final "
            "(`device.first_completed`).",
            "After COMPLETED or DISCONTINUED an N-SET is refused with 0110 and Error ID A710.",
        ),
        points(
            "Creation: each item is linked to its scheduled step by Scheduled Procedure Step ID with Study Instance "
            "UID, Accession Number or Requested Procedure ID, else by Study Instance UID or Accession Number alone. "
            "The Patient ID must be that of the order. The step becomes STARTED. An item that means no step, or not "
            "surely one, waits for its order or for a person.",
            "COMPLETED: the scheduled steps become COMPLETED and leave the worklist.",
            f"DISCONTINUED: the scheduled steps are SCHEDULED again after the reasons {_codes(TO_BE_DONE)} (DCM), and "
            f"without a reason if no object was made. They are CANCELED after {_codes(CALLED_OFF)}. Otherwise they "
            "become DISCONTINUED, and a person looks at them.",
            "The RIS is told of start and end, where its node wants to know.",
            "No attribute of the performed step is coerced. A person or a rule of the device may end a performed step "
            "that its modality does not end.",
            _overdue(settings.mpps_after, settings.mpps_overdue),
            "Steps are kept without a limit of time.",
        ),
    )


def _codes(reasons: Iterable[str]) -> str:
    return ", ".join(sorted(reasons))


def _retrieve() -> StatementSection:
    return section(
        "5.2.2.2",
        "MPPS Retrieve as SCP",
        "N-GET returns the attributes of 5.2.2.1 that the Attribute Identifier List names; without a list all that the "
        "step has.",
    )


def _overdue(after: float, what: str) -> str:
    if not after:
        return "A step that stays IN PROGRESS is never overdue."
    then = "a person looks at it" if what == "list" else "the broker ends it as DISCONTINUED"
    return f"A step that stays IN PROGRESS and is silent for {after:g} h is overdue: {then}."
