"""Queries to another worklist server, and its answers as offers of orders."""

from __future__ import annotations

from collections import Counter
from datetime import date

import pytest
from support.worklist.worklist import DATE, SPS, STATION, document, encoded, read

from broker.dicom.uids import EXPLICIT_LE, IMPLICIT_LE
from broker.model.modalities import MODALITIES
from broker.site.source import Source
from broker.worklist.query import writing
from broker.worklist.source import asking
from broker.worklist.source.asking import ItemRefused, Window

TODAY = date(2030, 3, 12)


def test_a_query_is_asked_for_each_station_and_modality() -> None:
    source = Source(stations=("CT01", "CT02"), modalities=("CT", "MR"), days_back=1, days_ahead=2)
    window = Window.around(source, TODAY)
    assert window == Window("20300311", "20300314")
    queries = [query[SPS][0] for query in asking.keys(source, window)]
    assert [(step[STATION], step["Modality"]) for step in queries] == [
        (["CT01"], "CT"), (["CT01"], "MR"), (["CT02"], "CT"), (["CT02"], "MR"),
    ]  # fmt: skip
    assert {step[DATE] for step in queries} == {"20300311-20300314"}
    assert window.holds("20300314235959")
    assert not window.holds("20300315000000")


@pytest.mark.parametrize("syntax", [IMPLICIT_LE, EXPLICIT_LE])
def test_an_identifier_holds_its_keys_and_asks_for_everything_in_every_item(syntax: str) -> None:
    keys = {"PatientName": "Müller*", SPS: [{DATE: "20300312-20300313"}]}
    found = read(writing.identifier(keys, syntax), implicit=syntax == IMPLICIT_LE)
    assert str(found.PatientName) == "Müller*"
    assert found.SpecificCharacterSet == "ISO_IR 192"
    assert found[SPS][0][DATE].value == "20300312-20300313"
    assert found[SPS][0].Modality == ""
    assert len(found[SPS][0].ScheduledProtocolCodeSequence[0]) > 1
    assert found.AccessionNumber == ""


@pytest.mark.parametrize(
    ("key", "keys"),
    [
        ("study|1.2.3|S1", {"StudyInstanceUID": "1.2.3", SPS: [{"ScheduledProcedureStepID": "S1"}]}),
        ("accession|A|1|", {"AccessionNumber": "A", SPS: [{"ScheduledProcedureStepID": "1|"}]}),
        ("accession|A1|", {"AccessionNumber": "A1", SPS: [{}]}),  # as earlier versions named it
        ("accession|A1|\\CT01\\20300312103000", {"AccessionNumber": "A1", SPS: [{}]}),
    ],
)
def test_an_item_is_asked_for_by_its_own_key(key: str, keys: dict[str, object]) -> None:
    assert asking.keys_of(key) == keys


def test_an_answer_becomes_an_offer_that_is_the_same_as_long_as_the_answer_is() -> None:
    source = Source(issuer="HOSPITAL")
    left_out: Counter[str] = Counter()
    order = asking.read(encoded(document()), IMPLICIT_LE, source, left_out)
    assert order["patient"]["IssuerOfPatientID"] == "HOSPITAL"
    offer = asking.offer(order, MODALITIES)
    assert (offer.key, offer.accession, offer.start_at) == ("study|1.2.3.4|S1", "A1", "20260312100000")
    again = asking.offer(asking.read(encoded(document()), IMPLICIT_LE, source, Counter()), MODALITIES)
    assert again.digest == offer.digest
    other = asking.offer(
        asking.read(encoded(document(PatientName="ROE^JANE")), IMPLICIT_LE, source, Counter()), MODALITIES
    )
    assert other.key == offer.key
    assert other.digest != offer.digest


def test_a_server_that_names_no_character_set_is_read_by_that_of_its_node() -> None:
    data = encoded(document(PatientName="Müller"), charset=["ISO_IR 100"])[18:]  # without (0008,0005)
    order = asking.read(data, IMPLICIT_LE, Source(charset="ISO_IR 100"), Counter())
    assert order["patient"]["PatientName"] == "Müller"


def test_an_answer_that_nothing_names_is_no_offer() -> None:
    nameless = document(StudyInstanceUID="", AccessionNumber="")
    with pytest.raises(ItemRefused) as refusal:
        asking.offer(asking.read(encoded(nameless), IMPLICIT_LE, Source(), Counter()), MODALITIES)
    assert (refusal.value.code, refusal.value.accession) == ("no-key", "")
