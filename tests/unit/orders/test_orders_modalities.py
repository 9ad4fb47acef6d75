"""The modalities that every door knows, and how a site and a profile change them."""

import tomllib

import pytest
from pydicom.sr.codedict import codes
from support.orders.intake import ZONE

from broker.errors import ConfigurationError
from broker.hl7.message import parse
from broker.model.modalities import MODALITIES, known_modalities
from broker.orders.documents import document
from broker.orders.inbound import orm
from broker.orders.mapping.book import ProfileBook, built_in

SITE = known_modalities(["WSI"])


def test_the_list_holds_cid_29_of_the_standard() -> None:
    acquired = codes.cid29
    terms = {getattr(acquired, name).value for name in acquired.dir()}
    assert terms <= MODALITIES
    assert MODALITIES - terms == {"OT", "RTDOSE", "RTPLAN", "RTSTRUCT"}


def test_the_built_in_profile_knows_what_the_broker_knows() -> None:
    assert built_in().modalities == MODALITIES
    assert ProfileBook({}, SITE).named("ihe").modalities == SITE


@pytest.mark.parametrize(
    ("listed", "known"),
    [
        ('["CID29", "ZZ"]', SITE | {"ZZ"}),
        ('["CT", "MR"]', {"CT", "MR"}),
        ("[]", set()),
    ],
)
def test_a_profile_adds_to_the_list_or_has_its_own(listed: str, known: set[str]) -> None:
    profile = ProfileBook({"x": _document(listed)}, SITE).named("x")
    assert profile.modalities == known
    assert profile.knows_modality("CT")
    assert profile.knows_modality("ANY") is (not known)


@pytest.mark.parametrize("listed", ['["ct"]', '["SEVENTEEN_LETTERS"]', '"CT"', "[1]", '["C\\\\T"]'])
def test_a_list_of_what_is_no_term_is_refused(listed: str) -> None:
    with pytest.raises(ConfigurationError, match=r"check\.modalities"):
        ProfileBook({"x": _document(listed)})


def test_another_key_of_the_table_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="unknown key modality"):
        ProfileBook({"x": {"name": "x", "extends": "ihe", "check": {"modality": ["CT"]}}})


@pytest.mark.parametrize("term", ["BDUS", "WSI"])
def test_documents_are_checked_against_the_same_list(term: str) -> None:
    order = {
        "patient": {"PatientID": "1", "PatientName": "DOE^J"},
        "procedures": [{"RequestedProcedureDescription": "x", "steps": [{"Modality": term}]}],
    }
    assert document.convert(order, SITE).usable
    assert document.convert(order, MODALITIES).usable is (term in MODALITIES)


def _document(listed: str) -> dict[str, object]:
    return tomllib.loads(f'name = "x"\nextends = "ihe"\n[check]\nmodalities = {listed}')


@pytest.mark.parametrize(("listed", "text"), [('["CID29"]', "内視鏡"), ("[]", "内視鏡"), ("[]", "SEVENTEEN_LETTERS")])
def test_a_text_that_can_be_no_modality_is_not_known(listed: str, text: str) -> None:
    profile = ProfileBook({"x": _document(listed)}).named("x")
    raw = f"MSH|^~\\&|A|||||||||2.5||||||UNICODE UTF-8\rPID|||1||DOE^J\rORC|NW|P1\rOBR|1|P1||C^X{'|' * 20}{text}"
    found = orm.convert(parse(raw.encode()), profile, ZONE).findings
    assert ("OBR^1^24", "103") in [(finding.location, finding.code) for finding in found]
