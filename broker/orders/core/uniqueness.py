"""Decides what becomes of a number that another order or exam has too. Pure.

An accession number that the message gives stands: two patients with one are told of, or refused, by the policy of the
mapping. What we make ourselves is unique. An order number names one exam: a new order with a known number and another
exam is refused, unless the mapping says that such a message changes the exam.
"""

from __future__ import annotations

from collections.abc import Sequence

from broker.hl7.codes import ErrorCode, Severity
from broker.hl7.findings import Finding
from broker.model.order import AccessionHolder, Document, EntityId, Order
from broker.orders.core import identifiers, lifecycle
from broker.orders.core.identifiers import Minter
from broker.orders.core.patients import compatible
from broker.orders.core.values import AccessionPolicy, OrderChange, RepeatedNumber

OUR_UIDS = "2.25."  # how Study Instance UIDs begin that we make


def accession(
    change: OrderChange,
    stored: Order | None,
    numbers: tuple[EntityId, EntityId],
    patient: int | None,
    holders: Sequence[AccessionHolder],
    mint: Minter,
) -> tuple[str, list[Finding]]:
    """The accession number of an order, and what is to be said of it.

    `numbers` are its placer and filler order number, `patient` the row of its patient, `holders` other orders.
    """
    placer, filler = numbers
    taken = {
        holder.accession for holder in holders if holder.patient != patient or not _same_number(holder, placer, filler)
    }
    left = ["" if one.number in taken else one.number for one in (filler, placer)]
    before, policy = stored.accession if stored else "", change.identifiers.accession
    number = identifiers.accession(change.accession, before, left[0], left[1], policy, mint)
    if number and number == change.accession:
        return number, _of_another(change, stored, patient, holders)
    wanted = identifiers.accession(change.accession, before, filler.number, placer.number, policy)
    if number == wanted or wanted not in taken:
        told = _passed_over(change, filler, placer, number) if number != before or not number else []
        return number, [*(_missing(change) if not number else []), *told]
    refused = not number and "refuse" in policy
    text = "The order number is the accession number of another order: " + (
        "it cannot be one here too" if refused else "another accession number is used"
    )
    severity = Severity.ERROR if refused else Severity.WARNING
    field = "3" if wanted == filler.number else "2"
    finding = Finding(_at(change, field), ErrorCode.DUPLICATE_KEY, text, severity)
    return number or ("" if refused else mint.short("A")), [finding]


def _same_number(holder: AccessionHolder, placer: EntityId, filler: EntityId) -> bool:
    """True if a holder has its accession number from an order number that is this order's too, as children may."""
    pairs = ((holder.placer, placer), (holder.filler, filler))
    return any(
        its.number == mine.number == holder.accession and compatible(its.issuer, mine.issuer) for its, mine in pairs
    )


def _passed_over(change: OrderChange, filler: EntityId, placer: EntityId, number: str) -> list[Finding]:
    """What is to be said of order numbers that would have been the accession number, were they not too long for one."""
    places = {"filler": change.filler_location, "placer": change.placer_location}
    text = f"Order number is longer than {identifiers.SHORT} characters: it cannot be the accession number"
    return [
        Finding(places[source], ErrorCode.DATA_TYPE, text, Severity.WARNING)
        for source in identifiers.too_long(filler.number, placer.number, change.identifiers.accession, number)
    ]


def _missing(change: OrderChange) -> list[Finding]:
    if "refuse" not in change.identifiers.accession:
        return []
    text = "Accession number is missing"
    return [Finding(change.accession_location, ErrorCode.REQUIRED_FIELD_MISSING, text)]


def _of_another(
    change: OrderChange, stored: Order | None, patient: int | None, holders: Sequence[AccessionHolder]
) -> list[Finding]:
    """What is to be said of an accession number that orders of other patients have, of the same issuer."""
    issuer = change.accession_issuer
    if (stored is not None and stored.accession == change.accession) or not any(
        holder.accession == change.accession and holder.patient != patient and compatible(holder.issuer.issuer, issuer)
        for holder in holders
    ):
        return []
    refused = change.accession_of_another_patient is AccessionPolicy.REFUSE
    severity = Severity.ERROR if refused else Severity.WARNING
    text = "The accession number is that of another patient's order"
    return [Finding(change.accession_location, ErrorCode.DUPLICATE_KEY, text, severity)]


def repeated_number(change: OrderChange, stored: Order) -> Finding | None:
    """The refusal of a new order that has the number of a stored one and is another exam."""
    if (
        change.control not in lifecycle.NEW
        or change.row is not None
        or change.repeated_number is not RepeatedNumber.REFUSE
    ):
        return None
    different = differences(change, stored)
    if not different:
        return None
    by_filler = bool(change.filler.number) and change.filler.number == stored.filler.number
    kind, field = ("filler", "3") if by_filler else ("placer", "2")
    text = f"The {kind} order number is that of another exam: {', '.join(different)} differ"
    return Finding(_at(change, field), ErrorCode.DUPLICATE_KEY, text)


def differences(change: OrderChange, stored: Order) -> list[str]:
    """What tells the exams of a change from those of a stored order, in words; empty if one of them may be the same.

    They are others if the procedure is another one and one more thing is. What we have made ourselves says nothing.
    """
    if _one_is_same(change, stored):
        return []
    numbers = (stored.placer.number, stored.filler.number)
    steps = [step for procedure in change.procedures for step in procedure.steps]
    pairs = {
        "accession number": ({change.accession}, {stored.accession} - set(numbers)),
        "study": (
            {procedure.study_instance_uid for procedure in change.procedures},
            {one.study_instance_uid for one in stored.procedures if not one.study_instance_uid.startswith(OUR_UIDS)},
        ),
        "modality": (
            {step.attributes.get("Modality", "") for step in steps},
            {step.attributes.get("Modality", "") for step in stored.steps()},
        ),
        "start": (
            {_start(step.attributes) for step in steps},
            {_start(step.attributes) for step in stored.steps()},
        ),
    }
    told = {name: (new - {""}, old - {""}) for name, (new, old) in pairs.items()}
    others = [name for name, (new, old) in told.items() if new and old and not new & old]
    return ["procedure", *others] if others else []


def named(change: OrderChange, stored: Order) -> bool:
    """True if a change gives a number of the exams of a stored order."""
    pairs = (
        ({change.accession}, {stored.accession}),
        ({p.study_instance_uid for p in change.procedures}, {p.study_instance_uid for p in stored.procedures}),
        ({p.requested_procedure_id for p in change.procedures}, {p.requested_procedure_id for p in stored.procedures}),
        (set(change.step_names()), {step.step_id for step in stored.steps()}),
    )
    return any((new & old) - {""} for new, old in pairs)


def _one_is_same(change: OrderChange, stored: Order) -> bool:
    """True if a number of the exams, or one of their procedures, is the same."""
    if named(change, stored):
        return True
    asked = [procedure_names(procedure.attributes) for procedure in change.procedures]
    known = [procedure_names(procedure.attributes) for procedure in stored.procedures]
    return any(not one or not other or one & other for one in asked for other in known)


def procedure_names(attributes: Document) -> set[str]:
    """How a requested procedure is named: by its codes and by its description."""
    codes = attributes.get("RequestedProcedureCodeSequence") or []
    named = {str(item.get("CodeValue") or item.get("LongCodeValue") or "") for item in codes}
    named.add(str(attributes.get("RequestedProcedureDescription", "")))
    return {" ".join(name.casefold().split()) for name in named} - {""}


def _start(attributes: Document) -> str:
    return str(attributes.get("ScheduledProcedureStepStartDate", "")) + str(
        attributes.get("ScheduledProcedureStepStartTime", "")
    )


def _at(change: OrderChange, field: str) -> str:
    group = change.control_location.rpartition("^")[0]
    return f"{group}^{field}" if group else ""
