"""Encoded answers, re-read by pydicom: only what was asked for, in a character set that holds it."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataset import Dataset
from support.worklist.worklist import DATE, DEVICES, EXPLICIT, IMPLICIT, SPS, STATION, document, query, read

from broker.dicom.dataset.charset import lookup
from broker.dicom.dataset.transliterate import name_to_ascii, to_ascii
from broker.worklist.answer.encoder import AnswerEncoder


def _answer(
    keys: dict[Any, Any], stored: dict[str, Any], *, charset: list[str] | None = None, default: str = "ISO_IR 192",
    implicit: bool = True,
) -> Dataset:  # fmt: skip
    asked = query(keys, charset=charset, implicit=implicit)
    encoder = AnswerEncoder(asked, IMPLICIT if implicit else EXPLICIT, default)
    return read(encoder.encode(stored), implicit=implicit)


def _keywords(found: Dataset) -> set[str]:
    return {element.keyword or str(element.tag) for element in found}


@pytest.mark.parametrize("device", DEVICES)
def test_answers_to_real_devices_hold_exactly_what_was_asked(device: str) -> None:
    keys, charset, implicit = DEVICES[device]
    asked = query(keys, charset=charset, implicit=implicit)
    found = _answer(keys, document(), charset=charset, implicit=implicit)
    assert _keywords(found) == {one.keyword or "(0019,1001)" for one in asked.return_keys if not one.creator} | (
        {"(0019,0010)"} if device == "mr range" else set()
    )
    if keys[SPS][0]:
        assert _keywords(found[SPS][0]) == set(keys[SPS][0])
    assert len(found[SPS].value) == 1


@pytest.mark.parametrize("implicit", [True, False])
def test_values_come_back_whole(implicit: bool) -> None:
    keys = {
        "PatientName": "", "MedicalAlerts": "", "PregnancyStatus": None, "StudyInstanceUID": "", "AccessionNumber": "",
        SPS: [{STATION: "", DATE: "", "ScheduledProtocolCodeSequence": [{"CodeValue": ""}]}],
    }  # fmt: skip
    stored = document(step={STATION: ["CT01", "CT2"]})
    found = _answer(keys, stored, implicit=implicit)
    assert found.PatientName == "DOE^JOHN"
    assert list(found.MedicalAlerts) == ["PACEMAKER", "MRSA"]
    assert found.PregnancyStatus == 4
    assert found.StudyInstanceUID == "1.2.3.4"
    assert found.AccessionNumber == "A1"
    item = found[SPS][0]
    assert list(item.ScheduledStationAETitle) == ["CT01", "CT2"]
    assert item.ScheduledProtocolCodeSequence[0].CodeValue == "CTABD"
    assert _keywords(item.ScheduledProtocolCodeSequence[0]) == {"CodeValue"}


def test_asked_attributes_without_a_value_have_zero_length() -> None:
    keys = {"PatientWeight": "", "ReferencedStudySequence": [], "PregnancyStatus": None, "StationName": ""}
    found = _answer(keys, document(PregnancyStatus=None, StationName="5"))
    assert _keywords(found) == set(keys)
    assert len(found.ReferencedStudySequence) == 0
    assert all(not element.value for element in found)


def test_nothing_comes_back_unasked() -> None:
    assert _keywords(_answer({"PatientID": ""}, document())) == {"PatientID"}


@pytest.mark.parametrize("request_item", [[], [{}]])
def test_empty_sequence_returns_all_that_is_supported(request_item: list[Any]) -> None:
    item = _answer({SPS: request_item}, document())[SPS][0]
    assert {"ScheduledStationName", "ScheduledProcedureStepStatus", "Modality"} <= _keywords(item)
    assert item.ScheduledStationName is None or item.ScheduledStationName == ""
    assert "PreMedication" not in item  # conditional, without a value
    assert _keywords(item.ScheduledProtocolCodeSequence[0]) == {"CodeValue", "CodingSchemeDesignator", "CodeMeaning"}


def test_one_item_in_the_step_sequence_always() -> None:
    stored = document()
    stored[SPS] = stored[SPS] * 2
    assert len(_answer({SPS: []}, stored)[SPS].value) == 1


def test_one_procedure_code_and_any_number_of_protocol_codes() -> None:
    codes = [{"CodeValue": "ONE"}, {"CodeValue": "TWO"}]
    stored = document(RequestedProcedureCodeSequence=codes, step={"ScheduledProtocolCodeSequence": codes})
    found = _answer({"RequestedProcedureCodeSequence": [], SPS: [{"ScheduledProtocolCodeSequence": []}]}, stored)
    assert [item.CodeValue for item in found.RequestedProcedureCodeSequence] == ["ONE"]
    assert [item.CodeValue for item in found[SPS][0].ScheduledProtocolCodeSequence] == ["ONE", "TWO"]


def test_time_zone_and_level_are_never_sent_empty() -> None:
    keys = {"TimezoneOffsetFromUTC": "", "QueryRetrieveLevel": "", "PatientID": ""}
    assert _keywords(_answer(keys, document())) == {"PatientID"}


def test_value_longer_than_its_vr_is_sent_as_it_is() -> None:
    data = AnswerEncoder(query({"AccessionNumber": ""}), IMPLICIT, "ISO_IR 192").encode(
        document(AccessionNumber="LONGER-THAN-16-CHARACTERS")
    )
    assert data[8:] == b"LONGER-THAN-16-CHARACTERS "


def test_value_too_long_for_a_short_length_goes_as_un() -> None:
    asked = query({"PatientComments": "", "PatientID": ""}, implicit=False)
    data = AnswerEncoder(asked, EXPLICIT, "ISO_IR 192").encode(document(PatientComments="x" * 70_000))
    found = read(data, implicit=False)
    assert len(found[0x00104000].value) == 70_000
    assert found.PatientID == "P1"


@pytest.mark.parametrize(
    ("asked", "default", "name", "sent", "read_back"),
    [
        (None, "ISO_IR 192", "DOE^JOHN", None, "DOE^JOHN"),
        (["ISO_IR 100"], "ISO_IR 192", "DOE^JOHN", None, "DOE^JOHN"),
        (["ISO_IR 100"], "ISO_IR 192", "Müller^Hans", "ISO_IR 100", "Müller^Hans"),
        (["ISO_IR 100"], "ISO_IR 192", "Łódź^Jan", "ISO_IR 192", "Łódź^Jan"),
        (["ISO_IR 101"], "ISO_IR 192", "Łódź^Jan", "ISO_IR 101", "Łódź^Jan"),
        (["ISO_IR 126"], "ISO_IR 100", "Παπάς^Νίκος", "ISO_IR 126", "Παπάς^Νίκος"),
        (["ISO_IR 144"], "ISO_IR 100", "Иванов^Пётр", "ISO_IR 144", "Иванов^Пётр"),
        (["ISO_IR 999"], "ISO_IR 192", "Müller^Hans", "ISO_IR 192", "Müller^Hans"),
        (None, "ISO_IR 192", "山田^太郎", "ISO_IR 192", "山田^太郎"),
        (["GB18030"], "ISO_IR 100", "王^小东", "GB18030", "王^小东"),
        (["", "ISO 2022 IR 87"], "ISO_IR 100", "YAMADA^TARO=山田^太郎=ヤマダ^タロウ", ["", "ISO 2022 IR 87"],
         "YAMADA^TARO=山田^太郎=ヤマダ^タロウ"),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"], "ISO_IR 100", "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
         ["ISO 2022 IR 13", "ISO 2022 IR 87"], "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 149"], "ISO_IR 100", "Hong^Gildong=洪^吉洞=홍^길동", ["", "ISO 2022 IR 149"],
         "Hong^Gildong=洪^吉洞=홍^길동"),
        (["ISO 2022 IR 100", "ISO 2022 IR 126"], "ISO_IR 192", "Müller^Νίκος", ["ISO 2022 IR 100", "ISO 2022 IR 126"],
         "Müller^Νίκος"),
        # a single-byte default that does not hold the name
        (None, "ISO_IR 100", "Łódź^Jan", None, "Lodz^Jan"),
        (None, "ISO_IR 100", "Παπάς^Νίκος", None, "Papas^Nikos"),
        (None, "ISO_IR 100", "Щукин^Пётр", None, "Shchukin^Petr"),
        (None, "ISO_IR 100", "YAMADA^TARO=山田^太郎", None, "YAMADA^TARO"),
        (None, "ISO_IR 100", "Müller^Hans=山田", "ISO_IR 100", "Müller^Hans"),
        (None, "ISO_IR 6", "Müller^Hans", None, "Muller^Hans"),
        (["ISO_IR 6"], "ISO_IR 192", "Müller^Hans", "ISO_IR 192", "Müller^Hans"),
    ],
)  # fmt: skip
def test_character_set_of_an_answer(asked: Any, default: str, name: str, sent: Any, read_back: str) -> None:
    found = _answer(
        {"PatientName": "", SPS: [{STATION: ""}]}, document(PatientName=name), charset=asked, default=default
    )
    terms = found.get("SpecificCharacterSet")
    assert (list(terms) if isinstance(sent, list) else terms) == sent
    assert str(found.PatientName) == read_back


def test_values_of_items_use_the_set_of_the_root() -> None:
    keys = {SPS: [{"ScheduledProcedureStepDescription": "", "Modality": ""}]}
    stored = document(step={"ScheduledProcedureStepDescription": "Échographie du cœur"})
    encoder = AnswerEncoder(query(keys, charset=["ISO_IR 203"]), IMPLICIT, "ISO_IR 6")
    data = encoder.encode(stored)  # a set that pydicom does not know
    assert data[8:18] == b"ISO_IR 203"
    assert "Échographie du cœur".encode("iso8859_15") in data


@pytest.mark.parametrize(
    ("terms", "text"),
    [
        (["ISO 2022 IR 6", "ISO 2022 IR 87"], "漢字とABCと漢字"),
        (["", "ISO 2022 IR 87", "ISO 2022 IR 159"], "丂漢a"),
        (["", "ISO 2022 IR 58"], "王x东"),
        (["", "ISO 2022 IR 149"], "홍\r\n길동"),
        (["ISO 2022 IR 100", "ISO 2022 IR 144", "ISO 2022 IR 126"], "éЯΩé\néЯ"),
        (["ISO_IR 13"], "ﾔﾏﾀﾞ A"),
        (["GBK"], "王小东"),
        (["iso_ir 100"], "é"),
    ],
)
def test_code_extensions_survive_a_round_trip(terms: list[str], text: str) -> None:
    charset = lookup(terms)
    assert charset is not None
    assert charset.decode(charset.encode(text)) == text


@pytest.mark.parametrize(("terms", "text"), [(["ISO_IR 100"], "Ł"), (["", "ISO 2022 IR 87"], "é"), ([], "é")])
def test_what_does_not_fit_is_an_error_and_never_a_question_mark(terms: list[str], text: str) -> None:
    charset = lookup(terms)
    assert charset is not None
    with pytest.raises(UnicodeEncodeError):
        charset.encode(text)


def test_a_yen_sign_is_no_delimiter() -> None:
    charset = lookup(["ISO_IR 13"])
    assert charset is not None
    with pytest.raises(UnicodeEncodeError):  # it would have the code of the backslash
        charset.encode("100 ¥")


def test_transliteration() -> None:
    assert to_ascii("Straße Øst Æble") == "Strasse Ost Aeble"
    assert to_ascii("漢字") == ""
    assert to_ascii("5 ≠ 6, A＼B") == "5 != 6, A/B"
    assert name_to_ascii("ＡＢ＾Ｃ＝Ｄ^Ｅ") == "AB C-D^E"
    assert name_to_ascii("山田^太郎=YAMADA^TARO") == "YAMADA^TARO"
