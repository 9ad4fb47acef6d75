"""Which descriptions can be of one person."""

from __future__ import annotations

import pytest

from broker.orders.core.persons import differ

KNOWN = {"PatientName": "Müller-Weiß^Käthe^Anna=山田^花子", "PatientBirthDate": "19760229", "PatientSex": "F"}


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"PatientName": "", "PatientBirthDate": "", "PatientSex": ""},
        {"PatientName": "MULLER WEISS^KATHE"},
        {"PatientName": "Käthe^Müller-Weiß"},  # components the other way round
        {"PatientName": "Müller-Wei^K"},  # cut
        {"PatientName": "山田^花子"},
        {"PatientName": "Keller^Käthe", "PatientBirthDate": "19760229", "PatientSex": "F"},  # married
        {"PatientName": "Keller^Käthe", "PatientSex": "F"},
        {"PatientBirthDate": "19760228", "PatientSex": "F"},
        {"PatientName": "MÜLLER-WEISS^KÄTHE", "PatientBirthDate": "19770229"},
        {"PatientSex": "M"},
        {"PatientName": "Keller^Käthe", "PatientBirthDate": "19760229", "PatientSex": "O"},
    ],
)
def test_one_person(said: dict[str, str]) -> None:
    assert not differ(said, KNOWN)
    assert not differ(KNOWN, said)


@pytest.mark.parametrize(
    "said",
    [
        {"PatientName": "Quite^Other", "PatientBirthDate": "20010101", "PatientSex": "M"},
        {"PatientName": "Quite^Other", "PatientBirthDate": "20010101", "PatientSex": "F"},
        {"PatientName": "Müller-Weiß^Hans", "PatientBirthDate": "19760229", "PatientSex": "M"},  # a twin
        {"PatientBirthDate": "20010101", "PatientSex": "M"},
        {"PatientName": "Quite^Other"},
        {"PatientBirthDate": "20010101"},
    ],
)
def test_two_persons(said: dict[str, str]) -> None:
    assert differ(said, KNOWN)
    assert differ(KNOWN, said)
