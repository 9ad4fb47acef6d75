"""Cases of order intake: messages, and what must be answered, found and shown. `intake/README` says how they read.

Every case runs on a database of its own (SQLite), and all cases of a file together on one (PostgreSQL).
"""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.orders.hospital import Hospital, shows, texts
from support.worklist.worklist import SPS, encoded

from broker.hl7.message import parse
from broker.hl7.tolerance import Tolerance
from broker.store.db.database import Database

FOLDER = Path(__file__).parent / "intake"


@dataclass(frozen=True, slots=True)
class Told:
    """An acknowledgement: MSA-1 (empty for none), MSA-2, MSA-3, and the findings as `PID^1^7 102 W`."""

    code: str
    control_id: str = ""
    text: str = ""
    findings: tuple[str, ...] = ()


def _cases() -> Iterator[Any]:
    for file in sorted(FOLDER.glob("*.toml")):
        for case in tomllib.loads(file.read_text(encoding="utf-8"))["case"]:
            yield pytest.param(file.stem, case, id=case["id"])


CASES = list(_cases())


def told(answer: bytes | None, codec: str) -> Told:
    """What an answer says."""
    if not answer:
        return Told("")
    message = parse(answer, Tolerance(replace=True))
    findings: list[str] = []
    for segment in message.all("ERR"):
        if segment.get(3, 1):
            findings.append(f"{segment.get(2)} {segment.get(3, 1)} {segment.get(4)}")
        for repetition in segment.repetitions(1):  # before v2.5
            place = [part for part in repetition.components()[:3] if part]
            findings.append(f"{'^'.join(place)} {repetition.get(4, 1)}")
    return Told(message.get("MSA-1"), message.get("MSA-2"), message.get("MSA-3"), tuple(findings))


def holds(check: Mapping[str, Any], answers: list[Told], items: list[dict[str, str]]) -> list[str]:
    """What of one table of expectations does not hold."""
    wrong: list[str] = []
    for number, wanted in enumerate(check.get("answers", ())):
        if answers[number].code not in wanted.split("|"):
            wrong.append(f"answer {number + 1} is {answers[number]}, not {wanted}")
    for wanted in check.get("findings", ()):
        number, place = wanted.split(" ", 1)
        if not any(finding.startswith(place) for finding in answers[int(number) - 1].findings):
            wrong.append(f"no finding {wanted}: {answers[int(number) - 1].findings}")
    for number in check.get("silent", ()):
        if answers[number - 1].findings:
            wrong.append(f"findings of message {number}: {answers[number - 1].findings}")
    for key, field in (("msa2", "control_id"), ("msa3", "text")):
        for number, wanted in enumerate(check.get(key, ())):
            if wanted not in getattr(answers[number], field):
                wrong.append(f"{key} of answer {number + 1} is {answers[number]}")
    if "count" in check and len(items) != check["count"]:
        wrong.append(f"{len(items)} items, not {check['count']}")
    wrong += [
        f"no item {wanted} in {items}" for wanted in check.get("items", ()) if not any(shows(i, wanted) for i in items)
    ]
    wrong += [f"item {bad} in {items}" for bad in check.get("never", ()) if any(shows(i, bad) for i in items)]
    return wrong


def _identifier(case: Mapping[str, Any]) -> bytes | None:
    if "identifier_hex" in case:
        return bytes.fromhex(case["identifier_hex"])
    if "query" not in case:
        return None
    keys: dict[str, Any] = {"PatientID": "", "PatientName": "", "AccessionNumber": "", SPS: [{}]}
    for condition in case["query"]:
        keyword, value = condition.split("=", 1)
        level, keyword = (keys[SPS][0], keyword[5:]) if keyword.startswith("step.") else (keys, keyword)
        level[keyword] = value
    return encoded(keys, charset=["ISO_IR 192"])


def raw_of(case: Mapping[str, Any], number: int) -> bytes:
    """Bytes of a message of a case: lines end with CR, text is in `charset` (UTF-8)."""
    codecs = case.get("charset", "utf-8")
    codec = codecs if isinstance(codecs, str) else codecs[number]
    text = case["messages"][number].removeprefix("\n")
    return str(text).replace("\n", "\r").encode(codec)


def run(case: Mapping[str, Any], hospital: Hospital) -> tuple[list[Told], list[dict[str, str]]]:
    """Answers to the messages of a case, and its items on the worklist afterwards."""
    answers = [told(hospital.send(raw_of(case, number)), "utf-8") for number in range(len(case["messages"]))]
    mark = case["mark"]
    status, found = hospital.find(_identifier(case), having=[mark])
    assert status == 0, f"{status:04x}"
    items = [texts(item) for item in found]
    return answers, [i for i in items if any(i.get(k, "").startswith(mark) for k in ("PatientID", "AccessionNumber"))]


def judge(case: Mapping[str, Any], hospital: Hospital) -> None:
    """One of the tables of expectations holds as a whole."""
    answers, items = run(case, hospital)
    wrong = [holds(check, answers, items) for check in case["check"]]
    assert any(not reasons for reasons in wrong), "\n".join([str(reasons) for reasons in wrong] + [str(answers)])


@pytest.mark.parametrize(("file", "case"), CASES)
def test_case(file: str, case: Mapping[str, Any], tmp_path: Path, sqlite_template: Path) -> None:
    shutil.copyfile(sqlite_template, tmp_path / "broker.db")
    database = Database(f"sqlite:///{tmp_path / 'broker.db'}")
    try:
        judge(case, Hospital(database, case.get("profiles", ()), **_interface(case)))
    finally:
        database.close()


def _interface(case: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the interface: `interface` with the keys of `[hl7]` that a case needs."""
    return {key: frozenset(v) if isinstance(v, list) else v for key, v in case.get("interface", {}).items()}


def test_every_case_has_a_name_of_its_own() -> None:
    assert len({param.id for param in CASES}) == len(CASES)


@pytest.mark.parametrize("file", sorted({param.values[0] for param in CASES}))
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_cases_together_on_postgresql(file: str, database: Database) -> None:
    wrong = {}
    for param in CASES:
        if param.values[0] != file:
            continue
        case = param.values[1]
        try:
            judge(case, Hospital(database, case.get("profiles", ()), **_interface(case)))
        except AssertionError as error:
            wrong[param.id] = str(error)
    assert not wrong
