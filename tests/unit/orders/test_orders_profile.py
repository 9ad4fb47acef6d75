"""Mapping profiles: format, extension, claims on senders, default values, station rules, policies."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from broker.errors import ConfigurationError
from broker.hl7.header import read_header
from broker.hl7.message import parse as parse_message
from broker.model.order import Document
from broker.orders.core import plan
from broker.orders.core.identifiers import Minter, accession, study_from_accession
from broker.orders.core.values import OrderChange
from broker.orders.inbound import orm as mapping
from broker.orders.mapping import document as profile_document
from broker.orders.mapping import profile
from broker.orders.mapping.book import ProfileBook, built_in
from broker.orders.trying import examples
from broker.orders.trying.preview import preview

ZONE = ZoneInfo("Europe/Zurich")
MSH = "MSH|^~\\&|RIS|SITE|BROKER|RAD|20260312080000||ORM^O01|1|P|2.5"
PID, ORC = "PID|||1||DOE^J", "ORC|NW|P1|||||^^^20260312100000"


def book(*texts: str) -> ProfileBook:
    documents = [profile_document.read(text, "test") for text in texts]
    return ProfileBook({document["name"]: document for document in documents})


def site(text: str, extends: str = "ihe") -> profile.Profile:
    """A profile named x that extends another one."""
    return book(f'name = "x"\nextends = "{extends}"\n{text}').named("x")


def obr(modality: str = "CT", station: str = "", code: str = "CHEST^Chest", accession: str = "", uid: str = "") -> str:
    return f"OBR|1|P1||{code}||||||||||||||{accession}|||{station}|||{modality}"


def entries(wanted: profile.Profile, *segments: str) -> list[Document]:
    """Worklist answers of a message on an empty database; it must be accepted."""
    found = preview("\r".join((MSH, *segments)).encode(), wanted, ZONE)
    assert found.code == "AA", found.findings
    return [answer for ordered in found.ordered for answer in ordered.answers]


def step(wanted: profile.Profile, *segments: str) -> Document:
    (answer,) = entries(wanted, *segments)
    item: Document = answer["ScheduledProcedureStepSequence"][0]
    return {**answer, **item}


def errors(wanted: profile.Profile, *segments: str) -> set[str]:
    found = preview("\r".join((MSH, *segments)).encode(), wanted, ZONE)
    assert found.code == "AE"
    return {f"{finding.location} {finding.code}" for finding in found.findings if finding.is_error}


# --- format ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("oddity = 1", "oddity: unknown key"),
        ('[patient]\nPatientNam = ["PID-5"]', "patient.PatientNam: not a DICOM keyword"),
        ('[patient]\nPatientID = ["PID3"]', "patient.PatientID: not a path"),
        ('[patient]\nPatientID = "PID-3"', "patient.PatientID: a list of paths"),
        ('[patient]\nPatientID = ["PID-3:EI"]', "patient.PatientID: the type does not fit"),
        ("patient = 1", "patient: a table"),
        ('[values.Modalty]\nX = "CT"', "values.Modalty: not a DICOM keyword"),
        ("[values.Modality]\nX = 1.5", "values.Modality: X: a text or an integer"),
        ('[measures.PatientWeight]\ncode = ["1"]', "measures.PatientWeight: unknown key code"),
        ("[senders]\nmatch = 1", "senders: match: a list"),
        ('[senders]\nmatch = [{ app = "X" }]', "senders: match: unknown key app"),
        ("[senders]\nmatch = [{ }]", "senders: match: application, facility"),
        ('[senders]\nother = "X"', "senders: unknown key other"),
        ('[defaults]\nPatientID = "1"', "defaults.PatientID: identifiers and sequences"),
        ('[defaults]\nRequestedContrastAgent = "1"', "defaults.RequestedContrastAgent: not an attribute of this"),
        ('[defaults]\nPregnancyStatus = "no"', "defaults.PregnancyStatus: an integer"),
        (f'[defaults]\nModality = "{"C" * 17}"', "defaults.Modality: does not fit the value representation CS"),
        ("[defaults]\nModality = 3", "defaults.Modality: a text"),
        ('[[station]]\nwhen = { Modality = "CT" }', "station: 1: gives nothing"),
        ('[[station]]\nae = "X"', "station: 1: unknown key ae"),
        ('[[station]]\nae_title = "A"\n[[station]]\nae_title = "AAAAAAAAAAAAAAAAA"', "station: 2: ae_title: a text"),
        ('[[station]]\nae_title = "A"\nwhen = { Modalty = "CT" }', "station: 1: when.Modalty: not a DICOM keyword"),
        ('[[station]]\nae_title = "A"\nwhen = { Modality = [] }', "station: 1: when.Modality: a text"),
        ('[[station]]\nae_title = "A"\nwhen = { Modality = { a = 1 } }', "station: 1: when.Modality: a text"),
        ('[[station]]\nae_title = "A"\ntrust_message = "no"', "station: 1: trust_message: true or false"),
        ('[identifiers]\naccession = ["messages"]', "identifiers: accession: a list of message | filler"),
        ('[identifiers]\naccession = ["generate", "message"]', "identifiers: accession: generate and refuse stand at"),
        ('[identifiers]\nstudy_instance_uid = "random"', "identifiers: study_instance_uid: generate | from-accession"),
        ('[identifiers]\nsteps = "x"', "identifiers: unknown key steps"),
        ('[policy]\nstart_missing = "guess"', "policy: start_missing: received | unscheduled | refuse"),
        ('[policy]\nlate = "x"', "policy: unknown key late"),
    ],
)
def test_a_mistake_names_profile_and_key(text: str, key: str) -> None:
    with pytest.raises(ConfigurationError, match="mapping profile 'x': ") as failed:
        site(text)
    assert key in str(failed.value)


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ü", "x" * 65])
def test_names_are_plain(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"file\.toml: name"):
        profile_document.read(f"name = {name!r}", "file.toml")


def test_not_toml_names_the_place() -> None:
    with pytest.raises(ConfigurationError, match=r"file\.toml: not valid TOML"):
        profile_document.read("name = ", "file.toml")


# --- extension ---------------------------------------------------------------------------------------------


def test_a_profile_states_only_what_differs() -> None:
    found = site(
        '[values.Modality]\nSPIRAL = "CT"\n[step]\nModality = ["ZPR-3", "OBR-24.1"]\n[patient]\nPatientSex = []'
    )
    ihe = built_in()
    assert found.values["Modality"] == {**ihe.values["Modality"], "SPIRAL": "CT"}
    assert found.values["PatientSex"] == ihe.values["PatientSex"]
    assert found.modalities == ihe.modalities
    shown = step(found, PID + "|||F", ORC, obr("XX"), "ZPR|||spiral")
    assert shown["Modality"] == "CT"
    assert "PatientSex" not in shown


def test_a_profile_may_extend_the_built_in_one_of_its_name() -> None:
    found = book('name = "ihe"\nextends = "ihe"\n[values.Modality]\nSPIRAL = "CT"')
    assert found.named("ihe").values["Modality"]["SPIRAL"] == "CT"
    assert found.named("legacy-23").values["Modality"]["SPIRAL"] == "CT"


@pytest.mark.parametrize(
    "texts",
    [
        ('name = "a"\nextends = "nobody"',), ('name = "a"\nextends = "a"',), ('name = "a"\nextends = 1',),
        ('name = "a"\nextends = "b"', 'name = "b"\nextends = "a"'),
        (*(f'name = "p{n}"\nextends = "p{n + 1}"' for n in range(12)), 'name = "p12"'),
    ],
)  # fmt: skip
def test_what_is_extended_must_exist_and_end(texts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="extends: no such profile, or a circle"):
        book(*texts)


def test_station_rules_of_a_profile_stand_before_those_it_extends() -> None:
    base = 'name = "base"\nextends = "ihe"\n[[station]]\nae_title = "BASE"'
    own = 'name = "own"\nextends = "base"\n[[station]]\nwhen = { Modality = "CT" }\nae_title = "OWN"'
    found = book(base, own).named("own")
    assert step(found, PID, ORC, obr("CT"))["ScheduledStationAETitle"] == ["OWN"]
    assert step(found, PID, ORC, obr("MR"))["ScheduledStationAETitle"] == ["BASE"]


# --- senders -----------------------------------------------------------------------------------------------


def claim(name: str, **patterns: str) -> str:
    inner = ", ".join(f'{key} = "{value}"' for key, value in patterns.items())
    return f'name = "{name}"\nextends = "ihe"\n[senders]\nmatch = [{{ {inner} }}]\n'


@pytest.mark.parametrize(
    ("sender", "wanted"),
    [
        ("RIS|SITE", "exact"), ("ris|site", "exact"), ("RIS|SITE2", "facility"), ("RIS|X", "application"),
        ("RIS9|X", "pattern"), ("RISK|X", "pattern"), ("RX|SITE", "loose"), ("HIS|SITE", "ihe-fr"), ("|", "ihe-fr"),
    ],
)  # fmt: skip
def test_the_most_specific_claim_wins(sender: str, wanted: str) -> None:
    found = book(
        claim("loose", application="R*", facility="*"), claim("pattern", application="RIS*"),
        claim("application", application="RIS"), claim("facility", application="RIS", facility="SITE?"),
        claim("exact", application="RIS", facility="SITE"),
    )  # fmt: skip
    header = read_header(f"MSH|^~\\&|{sender}|B|R|||ORM^O01|1|P|2.5".encode())
    assert header is not None
    assert found.choose(header, "ihe-fr").name == wanted


def test_two_profiles_may_not_claim_the_same() -> None:
    with pytest.raises(ConfigurationError, match="'b': senders: claimed by 'a' too"):
        book(claim("a", application="RIS", facility="*"), claim("b", application="ris"))


# --- default values ----------------------------------------------------------------------------------------


def change(wanted: profile.Profile, *segments: str) -> OrderChange:
    found = mapping.convert(parse_message("\r".join((MSH, *segments)).encode()), wanted, ZONE)
    assert found.usable, found.findings
    (order,) = found.changes
    assert isinstance(order, OrderChange)
    return order


def situation(stored: Any = None, **more: Any) -> plan.Situation:
    values: dict[str, Any] = {
        "stored": stored, "patient": None, "owners": {}, "at": datetime(2026, 3, 12, 8, 15, 44, tzinfo=UTC),
        "default_station": "NONE", "mint": Minter(UUID(int=7)),
    }  # fmt: skip
    return plan.Situation(**{**values, **more})


def test_defaults_are_for_what_is_new() -> None:
    wanted = site(
        '[defaults]\nModality = "CR"\nPatientSex = "O"\nRequestedProcedurePriority = "LOW"\n'
        'IssuerOfPatientID = "SITE9"\nScheduledStationAETitle = "DEFAULT"\nAllergies = "not asked"\nPregnancyStatus = 4'
    )
    created = plan.make(change(wanted, PID, ORC, obr("")), situation()).order
    assert created is not None
    assert created.patient.attributes["PatientSex"] == "O"
    assert created.patient.issuer == "SITE9"
    assert created.attributes["Allergies"] == ["not asked"]
    assert created.attributes["PregnancyStatus"] == 4
    assert created.procedures[0].attributes["RequestedProcedurePriority"] == "LOW"
    assert created.steps()[0].attributes["Modality"] == "CR"
    assert created.steps()[0].stations == ("DEFAULT",)
    # what the order has by now is not overwritten by a change that leaves it out
    full = plan.make(change(wanted, PID + "|||F", ORC + "^^S", obr("MR", "MR1")), situation()).order
    assert full is not None
    moved = plan.make(change(wanted, PID + "|||", "ORC|XO|P1", "OBR|1|P1||HEAD^Head"), situation(full)).order
    assert moved is not None
    assert moved.patient.attributes["PatientSex"] == "F"
    assert moved.patient.issuer == "SITE9"
    assert moved.procedures[0].attributes["RequestedProcedurePriority"] == "STAT"
    assert moved.steps()[0].attributes["Modality"] == "MR"


def test_a_default_may_be_deleted_by_the_message() -> None:
    wanted = site('[defaults]\nRequestedProcedurePriority = "LOW"\nPatientSex = "O"')
    assert "PatientSex" not in step(wanted, PID + '|||""', ORC, obr())
    assert step(wanted, PID, ORC, obr())["PatientSex"] == "O"


# --- values -----------------------------------------------------------------------------------------------


def test_two_quotes_in_a_part_are_no_text() -> None:
    pid = 'PID|||1^""^""^A&""&""^""~2^^^""||DOE^J^""^""^""^""^""^""'
    pv1 = 'PV1|1|I|CARD^""^""|||||10^DUPRE^JEAN^""|||||||||||V1^^^""'
    orc = 'ORC|NW|P1^""|||||^^^20260312100000'
    found = step(built_in(), pid, pv1, orc, 'OBR|1|P1^""||CHEST^""^""' + "|" * 20 + "CT")
    assert '""' not in str(found)
    assert (found["PatientName"], found["IssuerOfPatientID"]) == ("DOE^J", "A")
    assert (found["CurrentPatientLocation"], found["ReferringPhysicianName"]) == ("CARD", "DUPRE^JEAN")
    assert found["RequestedProcedureDescription"] == "CHEST"
    assert found["RequestedProcedureCodeSequence"][0]["CodingSchemeDesignator"] == "99LOCAL"


def changes(wanted: profile.Profile, *segments: str) -> OrderChange:
    change = mapping.convert(parse_message("\r".join((MSH, *segments)).encode()), wanted, ZONE).changes[0]
    assert isinstance(change, OrderChange)
    return change


def test_two_quotes_delete_an_issuer() -> None:
    change = changes(built_in(), PID, "PV1|1" + "|" * 18 + 'V1^^^""', 'ORC|XO|P1^""', obr())
    assert change.visit["IssuerOfAdmissionIDSequence"] == []
    assert change.request["OrderPlacerIdentifierSequence"] == []
    assert change.placer.issuer == ""


@pytest.mark.parametrize("statuses", ["A2~B6", "B6~A2", "A0~B6^Pregnant~A2^Wheelchair"])
def test_every_ambulatory_status_counts(statuses: str) -> None:
    found = step(built_in(), PID, f"PV1|1|I{'|' * 13}{statuses}", ORC, obr())
    assert (found["PregnancyStatus"], found["SpecialNeeds"]) == (3, "Wheelchair bound")


@pytest.mark.parametrize(
    ("other", "time"),
    [("202603141530", "000000"), ("~^^^202603141530", "000000"), ("202603121530", "153000"), ("20260312", "000000")],
)
def test_a_time_is_not_that_of_another_day(other: str, time: str) -> None:
    found = step(built_in(), PID, "ORC|NW|P1|||||^^^20260312", f"{obr()}|||^^^{other}")
    start = found["ScheduledProcedureStepStartDate"], found["ScheduledProcedureStepStartTime"]
    assert start == ("20260312", time)


def test_a_new_date_without_a_time_takes_the_old_time_away() -> None:
    change = changes(built_in(), PID, "PV1|1" + "|" * 43 + "20260313", "ORC|XO|P1|||||||20260313", obr())
    assert (change.visit["AdmittingDate"], change.visit["AdmittingTime"]) == ("20260313", "")
    assert change.request["IssueTimeOfImagingServiceRequest"] == ""


def test_a_time_may_say_how_precise_it_is() -> None:
    found = step(built_in(), f"{PID}||19700101^D", "ORC|NW|P1|||||^^^202603121000&M", obr())
    assert (found["PatientBirthDate"], found["ScheduledProcedureStepStartTime"]) == ("19700101", "100000")


def test_the_identifier_of_the_patient_is_no_other_one() -> None:
    found = step(built_in(), "PID||1^^^A|1^^^A^MR~1^^^A^PI~1^^^B||DOE^J", ORC, obr())
    assert [(i["PatientID"], i["IssuerOfPatientID"]) for i in found["OtherPatientIDsSequence"]] == [("1", "B")]


def test_a_text_that_is_cut_is_told() -> None:
    segments = (PID, "NTE|1||short", ORC, f"{obr()}|||||||^{'x' * 65}", "NTE|1||" + "y" * 10241)
    found = preview("\r".join((MSH, *segments)).encode(), built_in(), ZONE)
    assert found.code == "AA"
    assert {(f.location, f.code, f.severity) for f in found.findings} == {
        ("OBR^1^31", "102", "W"),
        ("NTE^2^3", "102", "W"),
    }
    assert step(built_in(), *segments)["ReasonForTheRequestedProcedure"] == "x" * 64


def test_what_is_to_be_done_is_asked_of_the_mapping() -> None:
    wanted = site('[procedure]\nRequestedProcedureDescription = ["ZPR-1"]')
    assert step(wanted, PID, ORC, obr(code=""), "ZPR|Thorax")["RequestedProcedureDescription"] == "Thorax"
    assert "OBR^1^4 101" in errors(wanted, PID, ORC, obr(code=""))
    assert "OBR^1^4 101" in errors(built_in(), PID, ORC, obr(code='""'))


# --- station rules -----------------------------------------------------------------------------------------

RULES = """
[step]
ScheduledStationAETitle = ["OBR-21.1", "ORC-18.1"]
[[station]]
when = { Modality = "CT", "PV1-3.1" = ["URG", "SAU*"] }
ae_title = "CT_URG"
station_name = "SCANNER URG"
location = "Urgences"
[[station]]
when = { RequestedProcedureCodeSequence = "mam*" }
ae_title = ["MG1", "MG2"]
[[station]]
when = { sender = "RIS|OTHER*" }
ae_title = "OTHER"
[[station]]
when = { Modality = ["CR", "DX"] }
ae_title = "DX1"
trust_message = false
[[station]]
when = { ScheduledStationAETitle = "DUMMY*" }
trust_message = false
[[station]]
when = { CurrentPatientLocation = "" , Modality = "US" }
ae_title = "US_AMB"
"""


@pytest.mark.parametrize(
    ("segments", "stations"),
    [
        (("PV1|1|I|URG^2", ORC, obr("CT")), ["CT_URG"]),
        (("PV1|1|I|sau2^2", ORC, obr("CT")), ["CT_URG"]),
        (("PV1|1|I|CARD", ORC, obr("CT")), ["UNASSIGNED"]),
        ((ORC, obr("CT")), ["UNASSIGNED"]),
        (("PV1|1|I|URG^2", ORC, obr("CT", "CT9")), ["CT9"]),
        (("PV1|1|I|URG^2", ORC + "|" * 11 + "CT8", obr("CT")), ["CT8"]),
        ((ORC, obr("MG", code="MAMBIL^Mammo")), ["MG1", "MG2"]),
        ((ORC, obr("CR", "XR9")), ["DX1"]),
        ((ORC, obr("DX")), ["DX1"]),
        ((ORC, obr("NM", "DUMMY7")), ["UNASSIGNED"]),
        ((ORC, obr("US")), ["US_AMB"]),
        (("PV1|1|I|CARD", ORC, obr("US")), ["UNASSIGNED"]),
    ],
)
def test_station_rules(segments: tuple[str, ...], stations: list[str]) -> None:
    assert step(site(RULES), PID, *segments)["ScheduledStationAETitle"] == stations


def test_a_rule_gives_name_and_location_too_unless_the_message_names_its_station() -> None:
    wanted = site(RULES)
    ruled = step(wanted, PID, "PV1|1|I|URG", ORC, obr("CT"))
    assert (ruled["ScheduledStationName"], ruled["ScheduledProcedureStepLocation"]) == ("SCANNER URG", "Urgences")
    named = step(wanted, PID, "PV1|1|I|URG", ORC, obr("CT", "CT9"))
    assert "ScheduledStationName" not in named
    assert "ScheduledProcedureStepLocation" not in named


def test_a_step_that_moves_takes_no_name_and_location_along() -> None:
    moved = change(site(RULES), PID, "PV1|1|I|CARD", "ORC|XO|P1", obr("CR")).procedures[0].steps[0]
    assert moved.stations == ("DX1",)
    assert (moved.attributes["ScheduledStationName"], moved.attributes["ScheduledProcedureStepLocation"]) == ("", "")
    own = '[[station]]\nae_title = "A"\ntrust_message = false\n[defaults]\nScheduledProcedureStepLocation = "HALL"'
    assert step(site(own), PID, ORC, obr("CR"))["ScheduledProcedureStepLocation"] == "HALL"


def test_the_sender_may_decide() -> None:
    raw = "\r".join((MSH.replace("|SITE|", "|OTHER7|"), PID, ORC, obr("NM"))).encode()
    (ordered,) = preview(raw, site(RULES), ZONE).ordered
    assert ordered.answers[0]["ScheduledProcedureStepSequence"][0]["ScheduledStationAETitle"] == ["OTHER"]


@pytest.mark.parametrize(
    ("rules", "segments", "stations"),
    [
        # a change of the time alone: what the rules would need is not there, the step stays
        ('when = { Modality = "CT" }\nae_title = "CT1"\n[[station]]\nae_title = "REST"', ("",), ()),
        ('when = { Modality = "CT" }\nae_title = "CT1"\n[[station]]\nae_title = "REST"', ("MR",), ("REST",)),
        ('when = { Modality = "CT" }\nae_title = "CT1"\n[[station]]\nae_title = "REST"', ("CT",), ("CT1",)),
        # a rule that cannot fit, whatever is left out, does not stop the search
        ('when = { Modality = "CT", "PV1-3" = "X" }\nae_title = "CT1"\n[[station]]\nae_title = "R"', ("MR",), ("R",)),
        ('when = { Modality = "CT", "PV1-3" = "X" }\nae_title = "CT1"\n[[station]]\nae_title = "R"', ("CT",), ()),
    ],
)
def test_a_change_moves_a_step_only_for_what_it_says(rules: str, segments: tuple[str], stations: tuple[str]) -> None:
    order = change(site(f"[[station]]\n{rules}"), PID, "ORC|XO|P1", obr(*segments))
    assert order.procedures[0].steps[0].stations == stations


# --- identifiers -------------------------------------------------------------------------------------------


def test_the_patient_identifier_of_the_preferred_authority() -> None:
    pid = "PID|||N1^^^INS&1.2.3&ISO~L1^^^HOME&1.2.4&ISO~^^^EMPTY||DOE^J"
    for authorities, wanted in (
        ([], "N1"), (["HOME"], "L1"), (["1.2.4"], "L1"), (["OTHER", "HOME", "INS"], "L1"), (["INS"], "N1"),
        (["OTHER"], "N1"), (["EMPTY"], "N1"),
    ):  # fmt: skip
        shown = step(site(f"[identifiers]\npatient_authorities = {authorities}"), pid, ORC, obr())
        assert shown["PatientID"] == wanted
        others = [item["PatientID"] for item in shown["OtherPatientIDsSequence"]]
        assert others == [number for number in ("N1", "L1") if number != wanted]


def test_the_issuer_is_that_of_the_same_identifier() -> None:
    shown = step(site(""), "PID|||N1~L1^^^HOME||DOE^J", ORC, obr())
    assert "IssuerOfPatientID" not in shown
    assert shown["OtherPatientIDsSequence"][0]["IssuerOfPatientID"] == "HOME"


def test_the_patient_identifier_is_looked_for_where_the_profile_says() -> None:
    assert step(site("", "legacy-23"), "PID||7|||DOE^J", ORC, obr())["PatientID"] == "7"
    assert "PID^1^3 101" in errors(site("", "legacy-23"), "PID|||||DOE^J", ORC, obr())
    assert "PID^1^3 101" in errors(site(""), "PID||7|||DOE^J", ORC, obr())


@pytest.mark.parametrize(
    ("order", "numbers", "wanted"),
    [
        ('["message", "filler", "placer"]', ("A1", "F1"), "A1"), ('["filler", "message"]', ("A1", "F1"), "F1"),
        ('["filler", "placer", "refuse"]', ("A1", ""), "P1"), ('["message"]', ("", "F1"), ""),
        ('["placer"]', ("A1", "F1"), "P1"),
    ],
)  # fmt: skip
def test_sources_of_the_accession_number(order: str, numbers: tuple[str, str], wanted: str) -> None:
    wanted_profile = site(f"[identifiers]\naccession = {order}")
    orc = f"ORC|NW|P1|{numbers[1]}||||^^^20260312100000"
    assert step(wanted_profile, PID, orc, obr(accession=numbers[0]))["AccessionNumber"] == wanted


def test_an_accession_number_is_made_or_missed() -> None:
    long = "PLACER-NUMBER-OF-MANY-CHARACTERS"
    segments = (PID, f"ORC|NW|{long}|||||^^^20260312", f"OBR|1|{long}||C^Chest" + "|" * 20 + "CR")
    made = step(site('[identifiers]\naccession = ["message", "placer", "generate"]'), *segments)["AccessionNumber"]
    assert len(made) == 16
    assert made.startswith("A")
    refusing = site('[identifiers]\naccession = ["message", "placer", "refuse"]')
    assert errors(refusing, *segments) == {"OBR^1^18 101"}


def test_a_stored_accession_number_stays() -> None:
    order = ("filler", "message")
    assert accession("NEW", "OLD", "F1", "", order) == "OLD"
    assert accession("NEW", "OLD", "F1", "", ("message", "filler")) == "NEW"
    assert accession("", "", "", "", ("message", "generate"), Minter(UUID(int=1))).startswith("A")


def test_study_uids_may_be_required() -> None:
    wanted = site('[identifiers]\nstudy_instance_uid = "require"')
    assert errors(wanted, PID, ORC, obr()) == {"ZDS^1^1 101"}
    assert step(wanted, PID, ORC, obr(), "ZDS|1.2.3")["StudyInstanceUID"] == "1.2.3"
    assert change(wanted, PID, "ORC|CA|P1", "OBR|1|P1").procedures[0].study_instance_uid == ""


def test_procedure_and_step_identifiers_may_be_required() -> None:
    wanted = site('[identifiers]\nrequested_procedure_id = ["message", "refuse"]\nstep_id = ["message", "refuse"]')
    assert errors(wanted, PID, ORC, obr()) == {"OBR^1^19 101", "OBR^1^20 101"}
    made = step(site('[identifiers]\nrequested_procedure_id = ["message", "generate"]'), PID, ORC, obr(accession="A1"))
    assert made["RequestedProcedureID"].startswith("RP")


def test_study_uids_made_from_accession_numbers() -> None:
    wanted = site('[identifiers]\nstudy_instance_uid = "from-accession"')
    first = step(wanted, PID, ORC, obr(accession="A1"))["StudyInstanceUID"]
    assert first == study_from_accession("A1", "", "", "")[0]
    assert first.startswith("2.25.")
    assert len(first) <= 64
    assert step(wanted, PID, ORC.replace("P1", "P9"), obr(accession="A1"))["StudyInstanceUID"] == first
    assert step(wanted, PID, ORC, obr(accession="A2"))["StudyInstanceUID"] != first
    assert step(wanted, PID, ORC, obr(accession="A1"), "ZDS|1.2.3")["StudyInstanceUID"] == "1.2.3"
    assert study_from_accession("A1", "X", "", "")[0] != first


def test_study_uids_made_from_one_accession_number_differ_by_procedure_and_order() -> None:
    wanted = site('[identifiers]\nstudy_instance_uid = "from-accession"')
    second = obr(accession="A1").replace("|A1||", "|A1|R2|").replace("OBR|1", "OBR|2")
    uids = [entry["StudyInstanceUID"] for entry in entries(wanted, PID, ORC, obr(accession="A1"), ORC, second)]
    assert len(set(uids)) == 2
    order = change(wanted, PID, ORC, obr(accession="A1"))
    made = study_from_accession("A1", "", "", "P1")
    taken = plan.make(order, situation(owners={made[0]: 99})).order
    assert taken is not None
    assert taken.procedures[0].study_instance_uid == made[1]
    full = plan.make(order, situation(owners=dict.fromkeys(made, 99)))
    assert [(f.location, f.code) for f in full.findings if f.is_error] == [("OBR^1^18", "205")]


def test_an_order_without_a_start_may_be_refused() -> None:
    wanted = site('[policy]\nstart_missing = "refuse"')
    assert errors(wanted, PID, "ORC|NW|P1", obr()) == {"ORC^1^7 101"}
    assert wanted.policy.unknown_order_cancel == "park"


# --- examples ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ihe", "ihe-fr", "legacy-23"])
def test_built_in_profiles_pass_their_examples(name: str) -> None:
    found = examples.parse(profile_document.built_in_documents()[name])
    assert len(found) >= 2
    assert examples.run(found, built_in(name)) == []


def example(text: str) -> list[str]:
    message = "\n".join((MSH, PID, ORC, obr("CT", accession="A1")))
    document = profile_document.read(f"name = 'x'\n[[example]]\nmessage = '''\n{message}\n'''\n{text}", "test")
    return [str(failure) for failure in examples.run(examples.parse(document), built_in())]


def test_a_failing_example_says_what_was_expected_and_found() -> None:
    assert example('expect = { Modality = "CT", PatientComments = "", AccessionNumber = "A1" }') == []
    assert example('expect = { "step[2].Modality" = "CT" }') == [
        "example '1': step[2].Modality: expected 'CT', got None"
    ]
    assert example('name = "n"\nanswer = "AE"\nfindings = []\nexpect = { Modality = "MR" }') == [
        "example 'n': answer: expected 'AE', got 'AA'", "example 'n': Modality: expected 'MR', got 'CT'"
    ]  # fmt: skip
    assert example('findings = ["PID^1^3 101"]') == ["example '1': findings: expected ['PID^1^3 101'], got []"]
    assert example("steps = 2\norders = 1") == ["example '1': steps: expected 2, got 1"]
    assert example('expect = { "RequestedProcedureCodeSequence[2].CodeValue" = "X" }') == [
        "example '1': RequestedProcedureCodeSequence[2].CodeValue: expected 'X', got None"
    ]
    assert example('expect = { control = "NW", "RequestedProcedureCodeSequence.CodeValue" = "CHEST" }') == []


def test_an_example_that_is_refused_fails_unless_it_says_so() -> None:
    document = profile_document.read(f"name = 'x'\n[[example]]\nmessage = '''{MSH}'''", "test")
    (findings, answer) = examples.run(examples.parse(document), built_in())
    assert (findings.what, answer.what, answer.got) == ("findings", "answer", "AE")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("message = ''", "message"), ("message = 'MSH'\nanswer = 'OK'", "answer"),
        ("message = 'MSH'\nfindings = 'x'", "findings"), ("message = 'MSH'\nexpected = {}", "unknown key expected"),
        ("message = 'MSH'\nexpect = { 'a b' = 1 }", "expect.a b"), ("message = 'MSH'\ntimezone = 'Mars'", "Mars"),
    ],
)  # fmt: skip
def test_mistakes_in_examples_name_them(text: str, key: str) -> None:
    document = profile_document.read(f"name = 'x'\n[[example]]\n{text}", "test")
    with pytest.raises(ConfigurationError, match="mapping profile 'x': example 1: ") as failed:
        examples.parse(document)
    assert key in str(failed.value)
