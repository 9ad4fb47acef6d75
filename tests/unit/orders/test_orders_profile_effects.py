"""What a profile may state has an effect that a modality sees, or the check of a mapping refuses it (law L5)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from pydicom.datadict import DicomDictionary, dictionary_VR, tag_for_keyword
from support.orders.profiles import ZONE, document, message, ordered, site
from support.worklist.worklist import IMPLICIT, SPS, query, read

from broker.errors import ConfigurationError
from broker.orders.core import attributes
from broker.orders.core.appointments import AppointmentChange
from broker.orders.inbound import reception
from broker.orders.inbound.reception import Interface
from broker.orders.mapping.document import built_in_documents
from broker.orders.mapping.effects import refuse_idle
from broker.orders.mapping.parsing import parse
from broker.orders.mapping.profile import SECTIONS, SEQUENCES, FieldType, Profile
from broker.orders.trying.preview import preview
from broker.worklist.answer.encoder import AnswerEncoder
from broker.worklist.query.attributes import WORKLIST

KNOWN = sorted({keyword for table in attributes.SECTIONS.values() for keyword in table})
OTHERS = [entry[4] for tag, entry in sorted(DicomDictionary.items()) if entry[4] and not entry[3]]
OTHERS = [keyword for keyword in OTHERS[::23] if keyword not in KNOWN]  # some of every group of the dictionary
ALL = [*KNOWN, *OTHERS]
FIELDS = {
    "LO": "Text", "SH": "Text", "LT": "Text", "ST": "Text", "UC": "Text", "UT": "Text", "PN": "DOE^ANN", "AE": "AE1",
    "DA": "20300102", "TM": "20300102101500", "DT": "20300102101500", "CS": "MR", "AS": "034Y", "DS": "61.5",
    "IS": "3", "US": "3", "UI": "2.999.5",
}  # fmt: skip
TEXTS = {
    "PatientSex": "F", "RequestedProcedurePriority": "S", "SpecialNeeds": "A2", "PregnancyStatus": "B6",
    "ScheduledProcedureStepEndTime": "20300102111500", "ScheduledProcedureStepEndDate": "20300102",
}  # fmt: skip
COMPOSITE = "C1^Meaning^99X^NS&1.2.999.3&ISO^MR"
KINDS = {FieldType.EI: ".2", FieldType.HD: ".4"}


def judged(text: str) -> Profile:
    """A profile that the check of a mapping accepts. Raises ConfigurationError."""
    profile = site(text)
    refuse_idle(document(text), profile)
    return profile


@cache
def attempt(text: str) -> Profile | str:
    """The profile, or why the check refuses it."""
    try:
        return judged(text)
    except ConfigurationError as error:
        return str(error)


def shown(profile: Profile, keyword: str, raw: bytes) -> list[Any]:
    """Values that a modality gets which asks for an attribute, wherever it belongs in an answer."""
    found = preview(raw, profile, ZONE)
    assert found.code == "AA", found.findings
    tag = tag_for_keyword(keyword)
    (step,) = [attribute for attribute in WORKLIST.values() if attribute.keyword == SPS]
    empty: Any = [] if dictionary_VR(tag or 0) == "SQ" else None if dictionary_VR(tag or 0) == "US" else ""
    keys = {SPS: [{keyword: empty}]} if tag in step.children else {keyword: empty}
    values = []
    for answer in ordered(found):
        result = read(AnswerEncoder(query(keys), IMPLICIT, "ISO_IR 192").encode(answer))
        item = result[SPS].value[0] if SPS in result else result
        values.append(item.get(keyword, None))
    return values


def wanted_text(keyword: str) -> str:
    """What a field holds that an attribute is mapped from."""
    vr = dictionary_VR(tag_for_keyword(keyword) or 0)
    return COMPOSITE if vr == "SQ" else TEXTS.get(keyword, FIELDS.get(vr, "1"))


def wanted(section: str, keyword: str) -> Iterator[tuple[str, bytes]]:
    """Profiles that map an attribute, each with a message that has it."""
    vr = dictionary_VR(tag_for_keyword(keyword) or 0)
    text = wanted_text(keyword)
    kinds = [*SEQUENCES] if vr == "SQ" else [FieldType.XPN if vr == "PN" else FieldType.PLAIN]
    kind = "SIU^S12" if section == "appointment" else "ORM^O01"
    raw = message(kind, f"ZVX|{text}|20300102", modality="CT")
    more = '[policy]\nunknown_appointment = "create"\n' if section == "appointment" else ""
    for one in kinds:
        source = f"ZVX-1{KINDS.get(one, '') if vr == 'SQ' else ''}{':' if one else ''}{one}"
        beside = ""
        if vr == "TM" and keyword.endswith("Time"):  # of the date beside it
            other = keyword.replace("Time", "Date")
            beside = f'{other} = ["ZVX-2"]\n' if tag_for_keyword(other) else ""
        yield f'[{section}]\n{beside}{keyword} = ["{source}"]\n{more}', raw


@pytest.mark.parametrize("keyword", ALL)
@pytest.mark.parametrize("section", SECTIONS)
def test_an_attribute_is_refused_or_seen(section: str, keyword: str) -> None:
    for text, raw in wanted(section, keyword):
        profile = attempt(text)
        if isinstance(profile, str):
            assert keyword in profile or "Date" in profile
            continue
        values = shown(profile, keyword, raw)
        assert values, text
        assert all(value not in (None, "", []) for value in values), text


def test_each_attribute_of_the_worklist_may_be_mapped_somewhere() -> None:
    """But for those whose items no field of HL7 v2 gives, and the status, which is the broker's."""
    accepted = set()
    for keyword in KNOWN:
        for section in SECTIONS:
            for text, _ in wanted(section, keyword):
                if not isinstance(attempt(text), str):
                    accepted.add(keyword)
    left = {keyword for keyword in KNOWN if keyword not in accepted}
    assert "ScheduledProcedureStepStatus" in left
    assert all(dictionary_VR(tag_for_keyword(k) or 0) == "SQ" for k in left - {"ScheduledProcedureStepStatus"}), left


@pytest.mark.parametrize("keyword", ALL)
def test_a_default_is_refused_or_seen(keyword: str) -> None:
    vr = dictionary_VR(tag_for_keyword(keyword) or 0)
    kind = ":XPN" if vr == "PN" else ""
    value = {"US": "3"}.get(vr, repr(TEXTS.get(keyword, FIELDS.get(vr, "1")).split("0000")[0]))
    for section in SECTIONS[:-1]:
        profile = attempt(f"[{section}]\n{keyword} = ['ZZZ-1{kind}']\n[defaults]\n{keyword} = {value}")
        if isinstance(profile, str):
            assert keyword in profile
            continue
        values = shown(profile, keyword, message("ORM^O01"))
        assert values
        assert all(value not in (None, "", []) for value in values), section


@pytest.mark.parametrize("keyword", ALL)
def test_a_value_table_is_refused_or_seen(keyword: str) -> None:
    vr = dictionary_VR(tag_for_keyword(keyword) or 0)
    value = {"CS": "'MR'", "US": "2", "DS": "'70'", "AS": "'035Y'", "UI": "'2.999.9'", "IS": "'4'", "AE": "'AE9'"}.get(
        vr, "'Other'"
    )
    for section in SECTIONS[:-1]:
        text = f"[{section}]\n{keyword} = ['ZVX-1']\n[values.{keyword}]\nODD = {value}"
        profile = attempt(text)
        if isinstance(profile, str):
            assert keyword in profile
            continue
        values = shown(profile, keyword, message("ORM^O01", "ZVX|odd"))
        assert {str(value) for value in values} == {value.strip("'")}, section


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('[values.PatientAge]\nX = "034Y"', "values.PatientAge: not an attribute"),
        ('[patient]\nPatientSex = []\n[values.PatientSex]\nX = "F"', "values.PatientSex: not an attribute"),
        ('[values.PatientName]\nX = "Y"', "values.PatientName: no value table"),
        ('[values.PatientBirthDate]\nX = "19700101"', "values.PatientBirthDate: no value table"),
        ('[values.RequestedProcedureCodeSequence]\nX = "Y"', "values.RequestedProcedureCodeSequence: no value table"),
        (f'[values.ScheduledStationAETitle]\nX = "{"Y" * 17}"', "values.ScheduledStationAETitle: X: does not fit"),
        ('[values.PregnancyStatus]\nX = "yes"', "values.PregnancyStatus: X: an integer"),
        ('[values.Modality]\nX = "SPIRAL"', "values.Modality: X: not a modality"),
        (
            '[measures.PatientAge]\ncodes = []\ntexts = ["age"]\nunits = { a = 1.0 }',
            "measures.PatientAge: no",
        ),
        ('[patient]\nPatientWeight = ["ZPR-1:MEASURE"]\nPatientAge = ["OBX-5:MEASURE"]', "patient.PatientAge: OBX-5"),
        ('[defaults]\nPatientName = "DOE^J"', "defaults.PatientName: a patient's name"),
        ('[defaults]\nScheduledProcedureStepStartTime = "080000"', "defaults.ScheduledProcedureStepStartTime: a time"),
        ('[defaults]\nModality = "SPIRAL"', "defaults.Modality: not a modality"),
        ("[patient]\nPatientID = []", "patient.PatientID: a path is needed"),
        ("[patient]\nPatientName = []", "patient.PatientName: a path is needed"),
        (
            "[request]\nPlacerOrderNumberImagingServiceRequest = []\nFillerOrderNumberImagingServiceRequest = []",
            "request.PlacerOrderNumberImagingServiceRequest: a path",
        ),
        ('[step]\nScheduledProcedureStepStatus = ["ORC-5"]', "step.ScheduledProcedureStepStatus: no attribute that"),
        ('[visit]\nPatientSex = ["PID-8"]', "visit.PatientSex: no attribute of [visit]: it belongs to [patient]"),
        ('[procedure]\nModality = ["OBR-24"]', "procedure.Modality: no attribute of [procedure]"),
        (
            '[patient]\nPatientBirthDate = ["NTE-3:FT"]',
            "patient.PatientBirthDate: NTE-3:FT: the type FT",
        ),
        ('[step]\nScheduledStationAETitle = ["NTE-3:FT"]', "step.ScheduledStationAETitle: NTE-3:FT: the type FT"),
        (
            '[procedure]\nReferencedStudySequence = ["OBR-4:CE"]',
            "procedure.ReferencedStudySequence: OBR-4:CE",
        ),
        (
            '[[station]]\nae_title = "A"\nwhen = { PatientAge = "034Y" }',
            "station: 1: when.PatientAge: not an",
        ),
        (
            '[[station]]\nae_title = "A"\n[[station]]\nae_title = "B"\nwhen = { Modality = "CT" }',
            "station: 2: a rule before",
        ),
        ('[step]\nPixelData = ["OBX-5"]', "step.PixelData: no attribute that a worklist answer has"),
        ("[step]\nModality = []", "step.Modality: every order would be refused: step.Modality has no path"),
        (
            '[request]\nAccessionNumber = []\n[identifiers]\naccession = ["message", "refuse"]',
            "request.AccessionNumber: every order would be refused",
        ),
        (
            '[step]\nScheduledProcedureStepStartDate = []\n[policy]\nstart_missing = "refuse"',
            "step.ScheduledProcedureStepStartDate: every order would be refused",
        ),
        ('[appointment]\nModality = ["AIG-4.2"]', "appointment.Modality: used only for an order that an appointment"),
        ('[appointment]\nRequestedProcedureID = ["SCH-6.1"]', "appointment.RequestedProcedureID: used only for an"),
        ('[values.Modality]\nTdm = "CT"\nTDM = "MR"', "values.Modality: Tdm: stands there in capitals"),
        (
            "[measures.PatientWeight]\ncodes = []\ntexts = []",
            "measures.PatientWeight: codes or texts of OBX-3 are needed",
        ),
    ],
)
def test_what_has_no_effect_is_refused_with_a_sentence(text: str, wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="mapping profile 'x': ") as failed:
        judged(text)
    assert wrong in str(failed.value)


STRICT = """
[identifiers]
accession = ["message", "refuse"]
study_instance_uid = "require"
requested_procedure_id = ["message", "refuse"]
step_id = ["message", "refuse"]
[policy]
start_missing = "refuse"
"""


WAITS = '[policy]\nstart_missing = "unscheduled"'
# only these may be told to be needed
NEEDED = [
    "AccessionNumber", "Modality", "RequestedProcedureID", "ScheduledProcedureStepID",
    "ScheduledProcedureStepStartDate", "StudyInstanceUID",
]  # fmt: skip


@pytest.mark.parametrize(
    ("keyword", "policies"),
    [*((keyword, "") for keyword in KNOWN), *((keyword, more) for keyword in NEEDED for more in (STRICT, WAITS))],
)
def test_a_profile_that_takes_an_attribute_from_no_message_refuses_no_order(keyword: str, policies: str) -> None:
    """If it would refuse every one it is no profile."""
    for section in SECTIONS[:-1]:
        profile = attempt(f"[{section}]\n{keyword} = []\n{policies}")
        if not isinstance(profile, str):
            found = preview(message("ORM^O01"), profile, ZONE)
            assert found.code == "AA", (section, found.findings)


@pytest.mark.parametrize("keyword", KNOWN)
def test_what_an_appointment_is_read_for_is_seen_when_it_is_booked(keyword: str) -> None:
    """Of an order that is known: `keep` is the policy of a profile that says nothing else."""
    for text, _ in wanted("appointment", keyword):
        profile = attempt(text.partition("[policy]")[0])
        if isinstance(profile, str):
            continue
        raw = message("SIU^S12", "ZVX|" + wanted_text(keyword) + "|20300102")
        conversion = reception.examine(raw, Interface(name="test"), lambda _, used=profile: used, ZONE)
        assert conversion is not None
        (change,) = conversion.conversion.changes
        assert isinstance(change, AppointmentChange)
        (slot,) = change.slots
        numbers = (change.keys.placer.number, change.keys.filler.number)
        assert keyword in slot.attributes or wanted_text(keyword) in numbers or "Identifier" in keyword, text


@pytest.mark.parametrize("name", sorted(built_in_documents()))
def test_built_in_profiles_state_nothing_in_vain(name: str) -> None:
    """Nor does a copy of one."""
    own = built_in_documents()[name]
    profile = site("", name)
    refuse_idle(own, profile)
    if "extends" not in own:
        refuse_idle(own, parse({**own, "name": "copy"}))
