"""The conformance statement follows the outline of PS3.2, says what the tables say, and tells no secret."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from pydantic import TypeAdapter
from pydicom.datadict import keyword_for_tag
from support.conformance import stated
from support.worklist.worklist_table import ROWS

from broker.conformance import markdown, web_text
from broker.conformance.building import statement_of
from broker.conformance.facts import StatementFacts
from broker.conformance.sections import (
    annexes,
    associations,
    charsets,
    committing,
    integration,
    parameters,
    performed_steps,
    security,
    services,
    status_codes,
    worklist_keys,
)
from broker.conformance.statement import ConformanceStatement, section, table
from broker.dicom.dataset.charset import lookup, supported_terms
from broker.mpps.attributes import MPPS
from broker.settings import Settings, load
from broker.site.device import Device
from broker.site.nodes import Node, parse_nodes

DAY = date(2030, 3, 12)
OUTLINE = (
    "1 1.1 1.1.1 1.2 1.2.1 1.2.2 1.2.3 1.2.4 1.2.5 1.3 1.4 1.5 1.6 1.7 2 3 3.1 3.2 3.3 3.4 3.5 3.6 4 4.1 4.1.1 5 5.1 "
    "5.2 5.2.1 5.2.2 5.2.3 5.2.4 5.2.5 5.2.5.1 5.2.5.1.1 5.2.5.2 5.2.6 5.2.7 5.2.8 5.3 5.4 5.5 5.6 5.7 6 6.1 6.2 6.2.1 "
    "6.2.2 6.2.3 6.2.4 6.2.5 6.2.6 6.2.7 6.2.8 6.3 6.4 6.5 6.6 7 7.1 7.2 7.2.1 7.2.2 7.2.3 7.3 7.3.1 7.3.2 7.3.3 8 8.1 "
    "8.2 8.3 8.4 8.4.1 8.4.2 8.4.3 8.4.4 8.4.5 8.4.6 8.5 8.6 8.7 A A.A A.B A.C A.D A.E"
)
HOSTILE = ("<b>|`x`", "a*b*_c_", "&lt;[x](y)", "~~no~~ #1")
SECRETS = ("pass-of-the-node", "user-of-the-node", "10.66.77.88", "name-of-the-node", "token-0123456789abcdef",
           "database-password", "secret-folder", "broker.pem", "clinic.example", "station label")  # fmt: skip


def nodes(*titles: str) -> tuple[Node, ...]:
    return parse_nodes(
        {
            "name": f"name-of-the-node {number}",
            "kind": "dicom",
            "ae_title": title,
            "host": "10.66.77.88",
            "port": 104,
            "roles": ["modality", "destination", "mpps"],
            "username": "user-of-the-node",
            "passcode": "pass-of-the-node",
            "certificate_name": "clinic.example",
            "device": {"labels": ["station label"]},
        }
        for number, title in enumerate(titles)
    )


def settings(folder: Path, text: str = "") -> Settings:
    file = folder / "broker.toml"
    file.write_text(text or '[service]\ntimezone = "Europe/Zurich"\n', encoding="utf-8")
    return load(file)


@pytest.fixture
def statement(tmp_path: Path) -> ConformanceStatement:
    return statement_of(StatementFacts(settings(tmp_path), nodes("PACS")), DAY)


def document(of: ConformanceStatement) -> dict[str, Any]:
    """As REST gives it."""
    found: dict[str, Any] = json.loads(json.dumps(of.document()))
    return found


def test_it_has_every_section_of_the_outline_in_its_order(statement: ConformanceStatement) -> None:
    paths = [one.path for one in statement.all_sections()]
    assert [path for path in paths if path in OUTLINE.split()] == OUTLINE.split()
    assert len(set(paths)) == len(paths)
    assert all(one.blocks or one.sections for one in statement.all_sections())


def test_storage_commitment_is_stated_as_destinations_prove_it() -> None:
    table_of = {"name": "pacs", "kind": "dicom", "ae_title": "PACS", "host": "10.66.77.88", "port": 104,
                "roles": ["destination"]}  # fmt: skip
    for proof, role in (("ask", "SCP and SCU"), ("delivered", "SCP")):
        facts = StatementFacts(load(None), parse_nodes([table_of | {"commitment": proof}]))
        made = document(statement_of(facts, DAY))
        claims = {row["Transaction"]: row for row in stated.table(made, integration.TRANSACTIONS)}
        assert claims["RAD-10"]["Claim"] == "in part"
        assert claims["RAD-10"]["Messages or service"].split(", ")[1] == role
        asked = [row["Activity"] for row in stated.table(made, associations.PROPOSED_CONTEXTS)]
        assert any(one.startswith("Asking archives") for one in asked) == (proof == "ask")
        assert any(one.startswith("Results of storage commitment") for one in asked)
        reasons = {row["Reason"] for row in stated.table(made, committing.REASONS)}
        assert reasons == {"0110", "0112", "0119", "0122", "0131", "0213"}


def test_what_is_not_supported_is_said(statement: ConformanceStatement) -> None:
    for path in ("5.2.4", "5.2.6", "5.2.7"):
        assert "Not supported" in str(statement.section(path).blocks[0])
    for path in ("5.2.3", "5.2.8", "5.3", "A.B"):
        assert [block.text for block in statement.section(path).blocks if block.kind == "text"] == ["N/A"]
    claims = {row["Transaction"]: row["Claim"] for row in stated.table(document(statement), integration.TRANSACTIONS)}
    assert {claims[one] for one in ("RAD-10", "RAD-11", "RAD-49")} == {"not claimed"}
    assert {claims[one] for one in ("RAD-1", "RAD-4", "RAD-5", "RAD-6", "RAD-7", "RAD-12", "RAD-13")} == {"claimed"}
    with pytest.raises(KeyError):
        statement.section("9")


def test_the_keys_of_the_worklist_are_those_of_the_standard(statement: ConformanceStatement) -> None:
    rows = dict(_nested(stated.table(document(statement), worklist_keys.KEYS)))
    for wanted in ROWS:
        row = rows[wanted.path]
        kind = "R" if wanted.required else "O" if wanted.matched else "-"
        assert (row["VR"], row["Matching key type"], row["Return key type"]) == (wanted.vr, kind, wanted.returned)
        assert row["Tag"] == f"({wanted.tag >> 16:04X},{wanted.tag & 0xFFFF:04X})"
        assert (row["Matching"] == "not matched") is not wanted.matched
    outer = {row.path for row in ROWS if len(row.path) == 1}
    own = {path for path in rows if len(path) == 1} - outer
    assert own == {("WorklistLabel",)}
    assert [path for path, row in rows.items() if row["Matching key type"] == "R"] == [
        row.path for row in sorted(ROWS, key=lambda row: list(rows).index(row.path)) if row.required
    ]


def test_how_keys_are_matched(statement: ConformanceStatement) -> None:
    rows = dict(_nested(stated.table(document(statement), worklist_keys.KEYS)))
    step = "ScheduledProcedureStepSequence"
    assert rows[step, "ScheduledProcedureStepStartDate"]["Matching"] == "single value, range"
    assert rows[step, "ScheduledStationAETitle"]["Matching"] == "single value, wild card"
    assert rows["StudyInstanceUID",]["Matching"] == "single value, list of UIDs"
    assert rows["PregnancyStatus",]["Matching"] == "single value"
    assert rows["PertinentDocumentsSequence", "DocumentTitle"]["Matching"] == "not matched"
    options = stated.table(document(statement), "SOP class extended negotiation")
    assert [row["Answer where it is offered"] for row in options] == ["1", "1", "1", "1", "0", "1", "1"]


def _nested(rows: list[dict[str, str]]) -> Iterator[tuple[tuple[str, ...], dict[str, str]]]:
    """Rows by their path: `>` stands for a level."""
    path: tuple[str, ...] = ()
    for row in rows:
        name = row["Attribute"].removesuffix(" (one item)")
        depth = name.count(">")
        path = (*path[:depth], name.lstrip(">"))
        yield path, row


def test_the_attributes_of_mpps(statement: ConformanceStatement) -> None:
    rows = dict(_nested(stated.table(document(statement), performed_steps.ATTRIBUTES)))
    outer = {path[0]: row for path, row in rows.items() if len(path) == 1}
    assert list(outer) == [attribute.keyword for attribute in MPPS.values()]
    for tag, attribute in MPPS.items():
        row = outer[attribute.keyword]
        assert keyword_for_tag(tag) == attribute.keyword
        assert (row["N-CREATE"], row["Final state"] == "1") == (attribute.type, attribute.final)
        assert (row["N-SET"] == "allowed") is attribute.settable
    assert rows["PerformedSeriesSequence", "ProtocolName"]["N-CREATE"] == "1"


def test_where_attributes_come_from_and_go_to(statement: ConformanceStatement) -> None:
    rows = {row["Attribute"]: row for row in stated.table(document(statement), annexes.MAPPING)}
    assert rows["PatientID"]["HL7 fields, in order"] == "PID-3.1"
    assert rows["PatientName"]["HL7 fields, in order"] == "PID-5"
    performed = {name: row["MPPS"] for name, row in rows.items()}
    assert (performed["PatientID"], performed["AccessionNumber"]) == ("yes", "scheduled step item")
    assert performed["Allergies"] == ""
    assert rows["PatientID"]["Tag"] == "(0010,0020)"


def test_services_by_role(statement: ConformanceStatement) -> None:
    roles = {(row["Service"], row["Role"]) for row in stated.table(document(statement), services.SERVICES)}
    assert {("Modality Worklist", "SCP"), ("Storage", "SCP"), ("Forwarding of objects (C-STORE)", "SCU")} <= roles
    assert {role for _, role in roles} == {"SCU", "SCP"}


def test_statuses_sent_and_received(statement: ConformanceStatement) -> None:
    changed = stated.table(document(statement), f"{status_codes.SENT}: N-SET of MPPS")
    assert [row["Status"] for row in changed if row["Status"].startswith("0110")] == ["0110", "0110, Error ID A710"]
    heard = {row["Status"]: row for row in stated.table(document(statement), "Statuses received")}
    assert (heard["0000"]["C-STORE"], heard["Bxxx"]["C-STORE"]) == ("done", "done")
    assert (heard["A7xx"]["C-STORE"], heard["any other"]["C-STORE"]) == ("sent again later", "held for a person")
    assert heard["0112"]["N-SET"] == "the N-CREATE is sent again, then the N-SET"


def test_all_character_sets_are_read(statement: ConformanceStatement) -> None:
    terms = [row["Defined term"] for row in stated.table(document(statement), charsets.CHARACTER_SETS)]
    assert terms == list(supported_terms())
    assert len(set(terms)) == len(terms)
    for term in terms:
        known = lookup([term])
        assert known is not None
        assert term.startswith("ISO 2022") or known.terms in {(term,), ()}
        Device(charset=[term] if not term.startswith("ISO 2022") else ["", term])  # a device may be served in it
    assert {"ISO_IR 6", "ISO_IR 100", "ISO_IR 192", "GB18030", "ISO 2022 IR 87"} <= set(terms)


def test_it_says_what_is_in_force(tmp_path: Path) -> None:
    text = (
        '[service]\ntimezone = "UTC"\n[dicom]\nae_title = "RAD1"\nport = 4242\naccept = "any"\n'
        'private_sop_classes = ["1.2.276.0.7230010.3.1.0.1"]\n[worklist]\nmax_answers = 321\ncharset = "ISO_IR 100"\n'
        "[limits]\nassociation_idle_timeout = 77\nassociations = 55\n"
    )
    found = document(statement_of(StatementFacts(settings(tmp_path, text), nodes("PACS", "ARCH")), DAY))
    assert (found["ae_title"], found["made_on"]) == ("RAD1", "2030-03-12")
    general = {row["Parameter"]: row["Value"] for row in stated.table(found, "Parameters in force")}
    assert general["Idle time until an association is aborted"] == "77 s"
    assert general["Associations accepted at once"] == "55"
    worklist = {row["Parameter"]: row for row in stated.table(found, "Parameters of the worklist")}
    most = worklist["worklist.max_answers"]
    assert (most["In force"], most["Default"]) == ("321", "10000")
    assert [row["Port"] for row in stated.table(found, security.PORTS)] == ["4242"]
    assert [row["AE title"] for row in stated.table(found, parameters.SYSTEMS)] == ["ARCH", "PACS"]
    assert "1.2.276.0.7230010.3.1.0.1" in {row["UID"] for row in stated.table(found, associations.STORAGE_CLASSES)}
    text = json.dumps(found)
    assert "Every calling AE title is accepted" in text
    assert "Nodes now, by AE title: ARCH, PACS" in text
    assert "at most 321 steps" in text


def test_it_names_systems_by_ae_title_alone_and_tells_no_secret(tmp_path: Path) -> None:
    text = (
        '[service]\ndata_dir = "secret-folder"\n[database]\nurl = "postgresql+psycopg://u:database-password@h/d"\n'
        '[dicom.tls]\ncertificate = "broker.pem"\nkey = "broker.pem"\nca = "broker.pem"\n'
        '[web]\nadmin_token = "token-0123456789abcdef"\n'
    )
    made = statement_of(StatementFacts(settings(tmp_path, text), nodes("PACS", "CT01")), DAY)
    for written in (markdown.write(made), web_text.write(made), json.dumps(made.document())):
        assert [secret for secret in (*SECRETS, str(tmp_path)) if secret in written] == []
        assert "CT01" in written


def test_the_number_changes_with_what_is_stated_and_not_with_the_day(tmp_path: Path) -> None:
    facts = StatementFacts(settings(tmp_path), nodes("PACS"))
    first = statement_of(facts, DAY)
    assert statement_of(facts, date(2031, 1, 1)).number == first.number
    assert statement_of(StatementFacts(facts.settings, nodes("ARCH")), DAY).number != first.number
    assert TypeAdapter(ConformanceStatement).validate_python(document(first)) == first


class Words(HTMLParser):
    """The words of a page, the names of its elements, and its links with their targets."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.elements: set[str] = set()
        self.links: set[str] = set()
        self.targets: set[str] = set()
        self._skipped = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self._skipped = tag if tag in ("style", "title") else ""
        self.links |= {value or "" for name, value in attrs if name == "href"}
        self.targets |= {value or "" for name, value in attrs if name == "id"}

    def handle_data(self, data: str) -> None:
        if not self._skipped:
            self.words += data.split()


def test_markdown_and_html_say_the_same_whatever_titles_hold(tmp_path: Path) -> None:
    made = statement_of(StatementFacts(settings(tmp_path), nodes(*HOSTILE)), DAY)
    rendered = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown.write(made))
    left, right = Words(rendered), Words(web_text.write(made))
    assert _without_contents(left.words) == _without_contents(right.words)
    shown = {
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "p",
        "ul",
        "li",
        "a",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
        "pre",
        "code",
        "strong",
    }
    assert left.elements <= shown
    assert right.elements - {"html", "head", "meta", "title", "style", "body", "div", "b"} <= shown
    assert right.links <= {f"#{one}" for one in right.targets}
    for title in HOSTILE[1:]:
        assert title.split()[0] in left.words


def _without_contents(words: list[str]) -> str:
    """The text but for the list of sections: HTML shows three levels of it."""
    return re.sub(r"2Tableofcontents1Overview.*?3Introduction(?=3\.1RevisionhistoryThe)", "", "".join(words))


def test_links_of_markdown_lead_to_headings(statement: ConformanceStatement) -> None:
    text = markdown.write(statement)
    titles = [line.lstrip("# ") for line in text.split("\n") if line.startswith("#")]
    heads = [re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles]
    links = re.findall(r"\]\(#([^)]*)\)", text)
    assert links == heads[1:]


def test_a_row_that_does_not_fit_its_table_is_an_error() -> None:
    with pytest.raises(ValueError, match="has not 2 cells"):
        table("t", ("a", "b"), [("x",)])
    assert section("1", "empty").blocks[0].kind == "text"
