"""Annexes A.A, A.B, A.D and A.E: objects, mapping of attributes, code sets (PS3.2 N.A)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from broker.conformance.facts import StatementFacts
from broker.conformance.naming import tag_text
from broker.conformance.sections import integration, security
from broker.conformance.statement import StatementSection, section, table
from broker.model.modalities import MODALITIES
from broker.mpps.attributes import ITEMS, MPPS, TAGS
from broker.mpps.meaning import CALLED_OFF, TO_BE_DONE
from broker.orders.mapping.book import DEFAULT, built_in
from broker.orders.mapping.profile import MappedAttribute
from broker.worklist.query.attributes import STEP_SEQUENCE, WORKLIST, WorklistAttribute

MAPPING = "HL7 field to worklist to MPPS"


def made(facts: StatementFacts) -> StatementSection:
    """Annex A."""
    return section(
        "A",
        "Annexes",
        section(
            "A.A",
            "Information object definitions",
            "Objects are forwarded as they came. The broker creates no objects, coerces and adds no attributes, and "
            "has no private attributes.",
        ),
        section("A.B", "Structured report content encoding"),
        security.audit(),
        section(
            "A.D",
            "Mapping of attributes",
            f"By the built-in mapping profile `{DEFAULT}`. The first field that gives a value wins. A site may have "
            "profiles of its own, which say what differs.",
            table(MAPPING, ("Attribute", "Tag", "HL7 fields, in order", "Worklist", "MPPS"), _rows()),
        ),
        section(
            "A.E",
            "Code set usage",
            table(
                "Code sets",
                ("Context group", "Use"),
                [
                    ("CID 29, modalities", f"orders may ask for: {', '.join(sorted(MODALITIES))}; and those of 6.2.1"),
                    ("CID 9300, to be done again", ", ".join(sorted(TO_BE_DONE))),
                    ("CID 9300, called off", ", ".join(sorted(CALLED_OFF))),
                ],
            ),
        ),
        integration.made(facts),
    )


def _rows() -> list[tuple[str, ...]]:
    in_worklist = {one.keyword: one for one in _all(WORKLIST)}
    in_items = {one.keyword for one in MPPS[TAGS[ITEMS]].items.values()}
    profile = built_in(DEFAULT)
    rows: list[tuple[str, ...]] = []
    for name, attributes in profile.sections.items():
        for attribute in attributes if name != "appointment" else ():
            known = in_worklist.get(attribute.keyword)
            linked = "scheduled step item" if attribute.keyword in in_items else ""
            performed = "yes" if attribute.keyword in TAGS else linked
            rows.append(
                (
                    attribute.keyword,
                    tag_text(known.tag) if known else "",
                    _fields(attribute),
                    "yes" if known else "no",
                    performed,
                )
            )
    return rows


def _all(attributes: Mapping[int, WorklistAttribute]) -> Iterator[WorklistAttribute]:
    """Attributes of the worklist and of its step."""
    for one in attributes.values():
        yield one
        if one.keyword == STEP_SEQUENCE:
            yield from one.children.values()


def _fields(attribute: MappedAttribute) -> str:
    return ", ".join(source.text.partition(":")[0] for source in attribute.sources)
