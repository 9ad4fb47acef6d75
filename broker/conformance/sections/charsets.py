"""Sections 1.7 and 5.7: specific character sets, read from the tables of the codec (PS3.3 C.12.1.1.2, PS3.2 N.5.7)."""

from __future__ import annotations

from broker.conformance.facts import StatementFacts
from broker.conformance.statement import StatementSection, TableBlock, points, section, table
from broker.dicom.dataset.charset import supported_terms

CHARACTER_SETS = "Character sets read and written"


def overview(facts: StatementFacts) -> TableBlock:
    """Section 1.7: per direction."""
    own = facts.settings.worklist.charset
    every = "all of 5.7"
    return table(
        "Character sets by service",
        ("Service", "Read", "Written"),
        [
            ("Worklist, SCP", every, f"that of the request, else {own}; a device may have its own"),
            ("MPPS, SCP", every, f"{own} (N-GET)"),
            ("MPPS, SCU", "-", "as received"),
            ("Worklist, SCU", every, "ISO_IR 192"),
            ("Storage", "kept as received", "as received"),
        ],
    )


def made(facts: StatementFacts) -> StatementSection:
    """Section 5.7."""
    own = facts.settings.worklist.charset
    return section(
        "5.7",
        "Specific character sets",
        table(CHARACTER_SETS, ("Defined term",), [(term,) for term in supported_terms()]),
        points(
            "A query or an MPPS without Specific Character Set (0008,0005) is read as ISO 646. Terms are read in any "
            "case and with the usual misspellings of their separators.",
            "A query with a term that is not known is answered: its ASCII keys match as always. Bytes that are not of "
            "the set are read as ISO 8859-1.",
            f"An answer is written in the set of the query if all its values fit. Otherwise, and if the query names "
            f"none, in {own}. A character that this set lacks is written by its transliteration into ASCII. A device "
            "may have one set for all its answers (`device.charset`).",
            "Code extension techniques (ISO 2022) are used where the query or the device names several terms.",
            "Objects are never written anew: their character set stays.",
        ),
    )
