"""Searches that stand sealed in addresses: they say nothing to others, and tables keep them out of what is readable."""

from __future__ import annotations

from support.web.looks import all_tables

import broker.admin.web.pages  # noqa: F401  # loads the tables of all pages
from broker.admin.web.kept import LONGEST, FilterSeal
from broker.admin.web.listing import SEALED, Column, Filter, Table
from broker.admin.web.words import Sentence

WORD = Sentence("Now")
TABLE = Table(
    path="/rows",
    region="rows",
    title=WORD,
    finds="/rows/find",
    columns=(Column(name="at", title=WORD, sortable=True),),
    filters=(Filter(name="who", title=WORD, private=True), Filter(name="day", title=WORD, kind="date")),
)


def test_what_is_sealed_is_opened_by_the_same_person_alone() -> None:
    seal, values = FilterSeal(b"secret"), {"who": "Wałęsa"}
    text = seal.close(values, "user:anna")
    assert "Wa" not in text
    assert text != seal.close(values, "user:anna")
    assert seal.open(text, "user:anna") == values
    assert FilterSeal(b"secret").open(text, "user:anna") == values
    assert seal.open(text, "user:ben") is None
    assert FilterSeal(b"another").open(text, "user:anna") is None
    for broken in (text[:-8], "x" + text, "x", "ł", "=", "A" * 40, "A" * (LONGEST + 4)):
        assert seal.open(broken, "user:anna") is None, broken
    assert seal.open("", "user:anna") == {}
    assert seal.close({}, "user:anna") == ""


def test_private_filters_stand_in_no_address() -> None:
    asked = TABLE.ask({"who": "Wałęsa", "day": "2026-03-12"})
    assert asked.values == {"day": "2026-03-12"}
    asked = TABLE.ask({"day": "2026-03-12"}, {"who": "Wałęsa", "day": "x"}, "sealed")
    assert asked.values == {"who": "Wałęsa", "day": "2026-03-12"}
    for link in (asked.link(), asked.turned("at"), asked.action("/do"), asked.link(trail=("1",))):
        assert "Wa" not in link
        assert f"{SEALED}=sealed" in link
        assert "day=2026-03-12" in link


def test_no_filter_that_may_name_a_patient_stands_in_an_address() -> None:
    """A hidden one holds a number of ours, as that of the audit trail does."""
    names = {"accession", "study", "patient", "patient_id", "name", "number", "born", "procedure", "referring"}
    every = [(table.path, one) for table in all_tables() for one in table.filters if one.name in names]
    assert len(every) > 8
    assert {(path, one.name) for path, one in every if not one.private and one.kind != "hidden"} == {
        ("/audit", "patient")
    }
    assert all(table.finds for table in all_tables() if any(one.private for one in table.filters))
