"""Profiles that extend the built-in one, and messages to read by them."""

from __future__ import annotations

from typing import Any
from zoneinfo import ZoneInfo

from broker.orders.mapping import document as profile_document
from broker.orders.mapping.book import ProfileBook
from broker.orders.mapping.profile import Profile
from broker.orders.trying.preview import Preview, preview

ZONE = ZoneInfo("Europe/Zurich")
MSH = "MSH|^~\\&|RIS|SITE|BROKER|RAD|20260312080000||{kind}|{control}|P|2.5.1||||||UNICODE UTF-8"


def site(text: str, extends: str = "ihe") -> Profile:
    """A profile named x that extends another one."""
    document = profile_document.read(f'name = "x"\nextends = "{extends}"\n{text}', "test")
    return ProfileBook({"x": document}).named("x")


def message(
    kind: str,
    *more: str,
    sparse: bool = False,
    control: str = "M1",
    stations: str = "CT01",
    alerts: str = "MRSA",
    accession: str = "A1",
    modality: str = "CT",
) -> bytes:
    """A good message of a type and event, with further segments; a `sparse` one has the least that it may have."""
    pid = "PID|||P1^^^SITE||DOE^JANE" + ("" if sparse else "||19700101|F|||STREET 1^^TOWN^^^CH||+41")
    visit = [] if sparse else ["PV1|1|I|W1^R1||||D1^DOC|||||||||||||V1", "AL1|1||PEN^Penicillin"]
    orc = "ORC|NW|PL1^RIS|F1^RIS||SC||^^^20260312100000" if not sparse else "ORC|NW|PL1|F1"
    obr = f"OBR|1|PL1^RIS|F1^RIS|CHEST^Chest^L|||||||||{alerts if not sparse else ''}"
    fillers = "|||||" if sparse or kind == "OMI^O23" else f"|||||{accession}|RP1|S1|||"
    wide = f"{obr}{fillers}|{modality}" if kind == "ORM^O01" else obr
    study = [] if sparse else ["ZDS|2.999.1"]
    parts: dict[str, list[str]] = {
        "ORM^O01": [pid, *visit, orc, wide, *study],
        "OMI^O23": [pid, *visit, orc, obr, _ipc(accession, modality, stations, sparse=sparse)],
        "ADT^A08": ["EVN|A08|20260312080000", pid, *visit],
        "ORU^R01": [pid, *visit, orc.replace("ORC|NW", "ORC|RE"), f"{wide}|F"],
        "SIU^S12": [
            f"SCH|AP1|AP1|||||||30|min|^^^20260312100000{'' if sparse else '^20260312103000'}" + "|" * 15 + "PL1|F1",
            pid, *visit, "RGS|1", "AIS|1||CHEST^Chest^L|20260312100000",
            *([] if sparse else [f"AIG|1||{stations}|{modality}", "AIL|1||W1^R1", "AIP|1||D1^DOC"]),
        ],
    }  # fmt: skip
    head = MSH.format(kind=kind, control=control)
    return "\r".join([head, *parts[kind], *more]).encode()


def _ipc(accession: str, modality: str, stations: str, *, sparse: bool) -> str:
    if sparse:
        return f"IPC|||2.999.1||{modality}"
    return f"IPC|{accession}|RP1|2.999.1|S1|{modality}|P1^Protocol^L|ROOM|HALL|{stations}"


def ordered(found: Preview) -> list[dict[str, Any]]:
    """The worklist answers of a preview."""
    return [answer for one in found.ordered for answer in one.answers]


def step(wanted: Profile, raw: bytes) -> dict[str, Any]:
    """The one worklist answer of a message on an empty database, the step's attributes beside the others."""
    found = preview(raw, wanted, ZONE)
    assert found.code == "AA", found.findings
    (answer,) = ordered(found)
    item: dict[str, Any] = answer["ScheduledProcedureStepSequence"][0]
    return {**answer, **item}


def document(text: str, extends: str = "ihe") -> dict[str, Any]:
    """The document of a profile named x that extends another one."""
    return profile_document.read(f'name = "x"\nextends = "{extends}"\n{text}', "test")
