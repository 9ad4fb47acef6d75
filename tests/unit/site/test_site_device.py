"""Device profiles: what they may say, and that a mistake names the key and the reason."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.datadict import dictionary_VR, tag_for_keyword

from broker.dicom.dataset.charset import lookup
from broker.errors import ConfigurationError
from broker.orders.core import attributes
from broker.site import device
from broker.site.device import CUTTABLE, Device
from broker.site.nodes import parse_nodes


def profile(**values: Any) -> Device:
    (node,) = parse_nodes(
        [{"name": "ct1", "kind": "dicom", "ae_title": "CT01", "roles": ["modality"], "device": values}]
    )
    assert node.device is not None
    return node.device


@pytest.mark.parametrize(
    ("given", "terms"),
    [
        ("ISO_IR 100", ("ISO_IR 100",)),
        (["ISO_IR 192"], ("ISO_IR 192",)),
        ("ISO_IR 6", ("ISO_IR 6",)),
        ("\\ISO 2022 IR 87", ("", "ISO 2022 IR 87")),
        (["ISO 2022 IR 13", "ISO 2022 IR 87"], ("ISO 2022 IR 13", "ISO 2022 IR 87")),
        ("GB18030", ("GB18030",)),
    ],
)
def test_character_sets(given: Any, terms: tuple[str, ...]) -> None:
    assert profile(charset=given).charset == terms
    assert lookup(terms) is not None


def test_every_term_that_is_allowed_is_one_we_can_write() -> None:
    for number in device._FIRST:
        assert lookup((f"ISO_IR {number}",)) is not None
    for number in device._MORE:
        assert lookup(("", f"ISO 2022 IR {number}")) is not None


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"charset": "latin1"}, "device.charset: defined terms"),
        ({"charset": "ISO_IR 87"}, "device.charset"),
        ({"charset": "ISO_IR 192\\ISO 2022 IR 87"}, "device.charset"),
        ({"max_lengths": {"AccessionNumber": 8}}, "AccessionNumber is never cut: an identifier"),
        ({"max_lengths": {"StudyInstanceUID": 8}}, "StudyInstanceUID is never cut"),
        ({"max_lengths": {"ScheduledProcedureStepID": 8}}, "names and descriptions may be: "),
        ({"max_lengths": {"RequestedProcedureID": 8}}, "is never cut"),
        ({"max_lengths": {"PatientID": 8}}, "is never cut"),
        ({"max_lengths": {"Allergies": 8}}, "half a warning misleads"),
        ({"max_lengths": {"PatientName": 0}}, "device.max_lengths.PatientName"),
        ({"show": ["PLANNED"]}, "device.show"),
        ({"show": ["ARRIVED"], "hide": ["ARRIVED"]}, "hide: nothing is left to show"),
        ({"labels": ["A\\B"]}, "device.labels"),
        ({"only_labelled": True}, "only_labelled: needs labels"),
        ({"station": "mine"}, "device.station"),
        ({"days_before": -1}, "device.days_before"),
        ({"empty_on_no_keys": True, "window_hours_after": 4}, "empty_on_no_keys: there is no window"),
        ({"max_answers": 0}, "device.max_answers"),
        ({"colour": "red"}, "device.colour: unknown key"),
    ],
)
def test_mistakes_name_the_key(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        profile(**values)
    assert said in str(caught.value)
    assert str(caught.value).startswith("node 'ct1': ")


def test_what_may_be_cut_is_text_that_is_answered() -> None:
    known = set(_keywords({k: v for table in attributes.SECTIONS.values() for k, v in table.items()}))
    for keyword in CUTTABLE & known:
        assert dictionary_VR(tag_for_keyword(keyword) or 0) in {"PN", "LO", "SH", "LT", "ST", "UT"}
    assert len(CUTTABLE & known) > 15


def _keywords(table: dict[str, Any]) -> list[str]:
    found = []
    for keyword, entry in table.items():
        found.append(keyword)
        if isinstance(entry, tuple):
            found += _keywords(entry[1])
    return found
