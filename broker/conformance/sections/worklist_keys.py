"""Section 5.2.1: Modality Worklist, with all keys of matching and return (PS3.4 K.6.1.3.2, C.2.2.2; PS3.2 N.5.2.1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from broker.conformance.facts import StatementFacts
from broker.conformance.naming import number, seconds, tag_text
from broker.conformance.statement import StatementSection, points, section, table
from broker.site.device import SHOWN
from broker.worklist.query.attributes import IGNORED, ONE_ITEM, REQUIRED, WORKLIST, WorklistAttribute
from broker.worklist.query.negotiation import OPTIONS
from broker.worklist.query.parse import MAX_CHOICES, WILD

KEYS = "Attributes of the Modality Worklist"
NEVER = "not matched"
_BY_VR = {
    "SQ": "sequence",
    "PN": "single value, wild card; names as below",
    "DA": "single value, range",
    "TM": "single value, range",
    "UI": "single value, list of UIDs",
}
WILD_CARD, SINGLE = "single value, wild card", "single value"


def matching_of(attribute: WorklistAttribute) -> str:
    """How a value of the key is matched."""
    return _BY_VR.get(attribute.vr) or (WILD_CARD if attribute.vr in WILD else SINGLE)


def rows(
    attributes: Mapping[int, WorklistAttribute] = WORKLIST, depth: int = 0, *, read: bool = True
) -> Iterator[tuple[str, ...]]:
    """Each attribute with tag, VR, type of key, matching, return type; those of items below their sequence.

    `read`: the sequence that they stand in is matched.
    """
    for tag, attribute in attributes.items():
        matched = read and attribute.matched
        required = attribute.keyword in REQUIRED and (depth == 0 or attribute.keyword not in _PATIENT)
        kind = ("R" if required else "O") if matched else "-"
        one = " (one item)" if attribute.keyword in ONE_ITEM else ""
        name = ">" * depth + attribute.keyword + one
        yield name, tag_text(tag), attribute.vr, kind, matching_of(attribute) if matched else NEVER, attribute.returned
        yield from rows(attribute.children, depth + 1, read=matched)


_PATIENT = frozenset({"PatientID", "PatientName"})  # required of the patient, not of an item that has one too


def made(facts: StatementFacts) -> StatementSection:
    """Section 5.2.1."""
    return section(
        "5.2.1",
        "Basic Worklist Management",
        _scp(facts),
        section(
            "5.2.1.2",
            "Worklist as SCU",
            "Nodes with role `worklist` are asked by a schedule for the days, stations and modalities that the node "
            "names. All attributes of 5.2.1.1 are return keys. Each answer becomes an order. An answer that cannot be "
            "used is refused and listed with the reason. Systems asked now, by AE title: "
            f"{facts.titles('worklist')}.",
        ),
    )


def _scp(facts: StatementFacts) -> StatementSection:
    settings = facts.settings.worklist
    ignored = ", ".join(tag_text(tag) for tag in sorted(IGNORED))
    columns = ("Attribute", "Tag", "VR", "Matching key type", "Matching", "Return key type")
    return section(
        "5.2.1.1",
        "Worklist as SCP",
        table(KEYS, columns, tuple(rows())),
        points(
            f"Neither matched nor returned as keys, and no reason for a warning: {ignored}.",
            "A key that is not in this table is returned empty. Answers then have the status FF01.",
            "A key with value that is not matched is returned as it is stored. Answers then have the status FF01.",
            "A key without a value, or with a single *, matches every step.",
            "A sequence key without an item, or with an empty one, returns all attributes of the sequence that are "
            "known. Of several items the first one is used.",
            "Names (PN) are matched without case and accents. A name of one component group is looked for in all "
            "groups, of several groups each in its place. Empty components at the end may be left out.",
            "Values of other text are matched with case, without leading and trailing spaces. A device profile may "
            "ignore case, and read a name as the beginning of names.",
            f"A list of values in a key other than a UID matches each of them. At most {MAX_CHOICES} patterns, names "
            "or ranges stand in one key.",
            "Ranges of start date and start time are combined when both are ranges of the same form.",
            "Single values of date and time match equal values; a time without seconds matches the whole minute.",
            "The requestor's Specific Character Set is that of the query; see 5.7.",
        ),
        table(
            "SOP class extended negotiation",
            ("Byte", "Option", "Answer where it is offered"),
            [(str(place), name, "1" if supported else "0") for place, (name, supported) in enumerate(OPTIONS, 1)],
        ),
        "Fuzzy names match where two words begin alike, are similar by Jaro-Winkler, or sound alike by Soundex or "
        "Metaphone. The time zone of the query counts only where its adjustment was negotiated; then answers have "
        "Timezone Offset From UTC (0008,0201).",
        points(
            f"Without a status in the query steps in these statuses are shown: {', '.join(SHOWN)}. A query that names "
            "statuses sees these. A device profile may show others and hide some.",
            "Steps that are held or have no date are not shown.",
            f"A query is answered with at most {number(settings.max_answers)} steps, then it ends with A700. A device "
            "may have its own limit.",
            "A C-CANCEL ends the answers with FE00.",
            _outage(settings.outage_copy_age),
        ),
        "The type 3 attributes returned are those of the table. Protocol context is returned with the scheduled "
        "protocol codes; the broker uses no templates of its own.",
    )


def _outage(age: float) -> str:
    if not age:
        return "While the database is away queries are answered with A700."
    return f"While the database is away queries are answered from a copy that is at most {seconds(age)} old."
