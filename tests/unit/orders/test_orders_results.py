"""Results (ORU^R01) as changes of orders."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from support.orders.appointments import profile

from broker.errors import ConfigurationError
from broker.hl7 import message as hl7
from broker.model.order import EntityId
from broker.orders.inbound import results
from broker.orders.inbound.results import ResultChange
from broker.orders.mapping import parsing
from broker.orders.mapping.book import built_in
from broker.orders.mapping.profile import Policy

ZONE = ZoneInfo("Europe/Zurich")
HEAD = "MSH|^~\\&|RIS|SITE|BROKER|RAD|20260312080000||ORU^R01|1|P|2.5\rPID|||12345||ROE^RICHARD|not a name|soon\r"


def convert(body: str, *completes: str) -> list[ResultChange]:
    found = results.convert(hl7.parse((HEAD + body).encode()), profile(policy=Policy(result_completes=completes)), ZONE)
    assert found.usable, found.findings
    return [change for change in found.changes if isinstance(change, ResultChange)]


def test_keys_and_state() -> None:
    body = "ORC|RE|P1^KIS|F1^RIS\rOBR|1|||CHEST^Chest|||||||||||||||RP1|SPS|||||F\r"
    body += "OBX|1|UI|113014^DICOM Study^DCM||2.999.1\r"
    (change,) = convert(body, "F")
    assert (change.keys.placer, change.keys.filler) == (EntityId("P1", "KIS"), EntityId("F1", "RIS"))
    assert (change.procedure_id, change.code, change.study_instance_uid) == ("RP1", "chest", "2.999.1")
    assert (change.status, change.completes, change.location) == ("F", True, "OBR^1^25")
    assert set(change.names()) == {"filler|F1", "placer|P1", "study|2.999.1", "patient|12345"}


@pytest.mark.parametrize(("state", "done"), [("F", True), ("C", True), ("P", False), ("", False)])
def test_only_configured_states_complete(state: str, done: bool) -> None:
    (change,) = convert(f"OBR|1|P1||CHEST||||||||||||||A1|||||||{state}\r", "F", "C")
    assert (change.completes, change.accession) == (done, "A1")


def test_each_result_is_a_change() -> None:
    found = convert("ORC|RE|P1\rOBR|1|P1||A\rOBX|1|TX|1||text\rORC|RE|P2\rOBR|2|P2||B\rZDS|2.999.9\r", "F")
    assert [change.keys.placer.number for change in found] == ["P1", "P2"]
    assert [change.study_instance_uid for change in found] == ["", "2.999.9"]


def test_a_study_uid_that_is_none_is_left_out() -> None:
    (change,) = convert("OBR|1|P1||A\rOBX|1|ST|113014||nonsense\rOBX|2|ST|110180||2.999.5\r")
    assert change.study_instance_uid == "2.999.5"


def test_no_result_is_refused() -> None:
    found = results.convert(hl7.parse(HEAD.encode()), built_in(), ZONE)
    assert [(f.location, f.code) for f in found.findings] == [("OBR^1", "100"), ("PID^1^7", "102")]


@pytest.mark.parametrize(
    "policy",
    [{"appointment_cancel": "forget"}, {"unknown": "keep"}, {"result_completes": ""}, {"result_completes": [1]}],
)
def test_a_policy_that_is_none_is_refused(policy: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="policy: "):
        parsing.parse({"name": "x", "policy": policy})


@pytest.mark.parametrize(("state", "severity"), [("F", "E"), ("P", "W")])
def test_what_cannot_be_used_is_told_and_refuses_what_ends_examinations(state: str, severity: str) -> None:
    body = f"OBR|1|P1^KIS||A||||||||||||||{'A' * 20}|||||||{state}\rZDS|not a uid\r"
    used = profile(policy=Policy(result_completes=("F",)))
    found = results.convert(hl7.parse((HEAD + body).encode()), used, ZONE)
    told = {finding.location: finding.severity.value for finding in found.findings}
    assert told == {"PID^1^7": "W", "OBR^1^18": severity, "ZDS^1^1": severity}
    assert found.usable is (state == "P")


def test_what_is_wrong_in_several_results_is_told_once_for_each_place() -> None:
    body = f"ORC|RE|P1\rOBR|1|P1||A||||||||||||||{'A' * 20}\rORC|RE|P2\rOBR|2|P2||B\r"
    found = results.convert(hl7.parse((HEAD + body).encode()), built_in(), ZONE)
    assert [finding.location for finding in found.findings] == ["PID^1^7", "OBR^1^18"]
