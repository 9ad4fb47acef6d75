"""Fills a running broker through each of its doors. All that belongs to a patient, good or bad, carries a canary.

`support.service.site.CANARIES` are the words; `told` finds them in whatever a broker says.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import httpx
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.sop_class import ModalityWorklistInformationFind
from sqlalchemy import create_engine, text

import support.peers.pausing  # noqa: F401
from broker.orders.documents.document import FIELDS
from broker.orders.documents.validity import ENUMERATED
from support.dicom.objects import ct_slice
from support.dicom.raw import IMPLICIT, WORKLIST, RawScu, find_rq
from support.hl7.receiver import Ris, Told, acknowledgement, framed, ris_node
from support.mpps.mpps import EXPLICIT, MPPS, creation, ending, uid
from support.peers.tools import wait_until
from support.service.site import CANARIES, Mllp, Site, destination
from support.worklist.sources import item, worklist_server
from support.worklist.worklist import dataset

TOKEN = "a-token-of-the-canaries-0123456789"
HOSTILE = "<img src=x onerror=alert(1)>"  # what a name must not do to a page
TEXT = f"Canary {HOSTILE}"
STRANGER = "\"onload='x'&"  # an AE title; one with `<` is refused as no name of a device
COMMENT = "Canary^Carl is unknown here"  # what other systems say in refusals
# what of the filled site may stand in nothing that leaves the house
PATIENT_DATA = (
    "SELECT patient_id FROM patient", "SELECT admission_id FROM visit", "SELECT study_instance_uid FROM scheduled_step",
    "SELECT accession FROM scheduled_step", "SELECT patient_name FROM scheduled_step",
    "SELECT step_id FROM scheduled_step",
    "SELECT placer_number FROM service_request", "SELECT filler_number FROM service_request",
    "SELECT requested_procedure_id FROM requested_procedure", "SELECT sop_instance_uid FROM instance",
    "SELECT study_instance_uid FROM instance", "SELECT series_instance_uid FROM instance",
    "SELECT sop_instance_uid FROM mpps", "SELECT accession FROM study_key", "SELECT patient_id FROM study_key",
)  # fmt: skip
_ESCAPES = re.compile(r"\\u([0-9a-fA-F]{4})|\\x([0-9a-fA-F]{2})")
_MODALITIES = """
[[node]]
name = "ct1"
kind = "dicom"
ae_title = "CT01"
roles = ["modality"]
[[node]]
name = "barred"
kind = "dicom"
ae_title = "BARRED"
state = "blocked"
roles = ["modality"]
[[node]]
name = "old"
kind = "dicom"
ae_title = "WORKLIST"
host = "127.0.0.1"
port = %(worklist)d
roles = ["worklist"]
[[rule]]
name = "CT to PACS"
when = { field = "tag.Modality", op = "is", value = "CT" }
send = ["pacs", "away"]
[[rule]]
name = "no number"
when = { field = "tag.Modality", op = "is", value = "MR" }
send = ["pacs"]
[default]
action = "hold"
"""


def told(text: str) -> list[str]:
    """The canaries in a text, however it is written: also in percent signs, entities and escapes."""
    plain = _ESCAPES.sub(lambda found: chr(int(found[1] or found[2], 16)), text)
    said = "\n".join((text, unquote_plus(text), html.unescape(text), plain)).casefold()
    return [canary for canary in CANARIES if canary in said]


def message(number: int, *, kind: str = "OMI^O23^OMI_O23", control: str = "NW", pid: str = "", **more: str) -> str:
    """A message in which each field about the patient and the request has a canary; `number` makes numbers unique."""
    patient = pid or (
        f"PID|1|CANARYX{number}|CANARYPAT{number}^^^HOSPITAL~CANARYSSN{number}^^^SSN|CANARYOLD|Canary^Carl^Canary||"
        "19010203|M|Canary^Alias||Canary Road 1^^Canaryville^^CANARYZIP||canary555|canary556|||CANARYREL|CANARYACC|"
        "CANARYSSN|CANARYLIC||||Canaryville"
    )
    doctor, modality = "CANARYDOC^Canary^Doc", more.get("modality", "CT")
    lines = (
        f"MSH|^~\\&|RIS|HOSPITAL|BROKER|RAD|20300312080000||{kind}|C{number}{control[:3]}|P|2.5.1||||||UNICODE UTF-8",
        patient,
        "NK1|1|Canary^Cousin|SIB|Canary Road 2|canary557",
        f"PV1|1|O|CANARYWARD^1^1|||||{doctor}|{doctor}|||||||||CANARYVISIT{number}",
        f"ORC|{control}|CANARYPL{number}^RIS|CANARYFI{number}^RIS||SC||||20300312075900|||{doctor}",
        f"NTE|1||{TEXT}",
        f"TQ1|1||||||{more.get('start', '20300312103000')}||R^Routine^HL70078",
        f"OBR|1|CANARYPL{number}^RIS|CANARYFI{number}^RIS|CANARYEXAM^Canary exam^99LOC|||||||||{TEXT}|||{doctor}"
        f"|||||||||||||||^{TEXT}",
        f"AL1|1||CANARYALLERGY^{TEXT}",
        f"DG1|1||CANARYDIAG^{TEXT}",
        f"OBX|1|TX|CANARYOBS^{TEXT}||{TEXT}",
        f"IPC|CANARYACC{number}|CANARYRP{number}|2.999.19010203.{number}|CANARYSPS{number}|{modality}|"
        f"CANARYPROT^{TEXT}^99LOC|||CT01",
        "",
    )
    return "\r".join(lines)


BAD_MESSAGES = (
    message(31, kind="ZZZ^Z01"),
    message(32, pid="PID|1||||Canary^Nobody||19010203|M"),
    message(33, pid=f"PID|1||{'CANARYPAT' * 40}^^^HOSPITAL||Canary^Carl||CANARYDATE|CANARYSEX"),
    message(34, start="no such time"),
    message(35, modality="NOSUCH"),
    message(36, control="ZZCANARY"),
    message(37).replace("|P|2.5.1|", "|P|9.9|").replace("OMI^O23^OMI_O23", "OMI^O23^NOSUCH"),
    message(38).replace("PID|1|", "PID|1|\\X43414E415259\\\\.br\\\\Canary"),
    message(39).replace("UNICODE UTF-8", "ISO IR87"),
    message(40, kind="ADT^A40^ADT_A39"),
    "Canary^Carl is no message",
    "MSH|^~\\&|",
    "PID|1||CANARYPAT1||Canary^Carl",
)


VALUES = {
    "PN": "Müller-Canary^Käthe",
    "DA": "1901-02-03",
    "ST": TEXT,
    "LT": TEXT,
    "UT": TEXT,
    "LO": "CANARY",
    "SH": "CANARY",
}


def attributes(section: str) -> dict[str, Any]:
    """A canary in each attribute of a section of an order that can hold a text of any words."""
    return {
        keyword: [VALUES[one.vr]] if one.multiple else VALUES[one.vr]
        for keyword, one in FIELDS[section].items()
        if one.vr in VALUES and keyword not in ENUMERATED
    }


def document(number: int, **step: Any) -> dict[str, Any]:
    """An order for REST, filled in the same way."""
    numbers = {
        "AccessionNumber": f"CANARYR{number}", "PlacerOrderNumberImagingServiceRequest": f"CANARYPR{number}",
        "FillerOrderNumberImagingServiceRequest": f"CANARYFR{number}",
    }  # fmt: skip
    planned = {
        "Modality": "CT", "ScheduledStationAETitle": ["CT01"], "ScheduledProcedureStepStartDate": "20300312",
        "ScheduledProcedureStepStartTime": "10:30", "CommentsOnTheScheduledProcedureStep": TEXT,
        "ScheduledProcedureStepDescription": "CANARY", "ScheduledPerformingPhysicianName": "Canary^Doc",
    }  # fmt: skip
    asked = {"RequestedProcedureDescription": "CANARY", "RequestedProcedureComments": TEXT}
    who = {"PatientID": f"CANARYREST{number}", "IssuerOfPatientID": "HOSPITAL", "PatientSex": "F"}
    return {
        "patient": attributes("patient") | who,
        "visit": attributes("visit") | {"MedicalAlerts": ["CANARYALERT"]},
        "request": attributes("request") | numbers,
        "procedures": [asked | {"steps": [planned | step]}],
    }


BAD_REQUESTS: tuple[tuple[str, str, Any], ...] = (
    ("POST", "/orders", {"patient": {"PatientID": "canary" * 30, "NoSuchKeyword": "Canary^Carl"}}),
    ("POST", "/orders", "Canary^Carl"),
    ("POST", "/orders", document(51, Modality="NOSUCH")),
    ("POST", "/orders", document(52, ScheduledProcedureStepStartDate="no such day")),
    ("PUT", "/orders/1", document(53)),
    ("POST", "/orders/1/reopen", {"ScheduledProcedureStepID": "CANARYSPS9", "reason": TEXT}),
    ("POST", "/orders/search", {"PatientID": ["Canary"], "NoSuchKeyword": "Canary"}),
    ("POST", "/orders/emergency", {"Modality": "NOSUCH", "FamilyName": "Canary" * 20}),
    ("POST", "/orders/batch", {"orders": [{"patient": {"PatientName": "Canary"}}, document(54, Modality="NOSUCH")]}),
    ("POST", "/imports", {"orders": [{"place": "file.csv:2", "order": {"patient": {"PatientID": "Canary"}}}]}),
    ("POST", "/worklist/explain", {"device": "Canary" * 20, "AccessionNumber": "CANARYACC1"}),
    ("POST", "/audit/search", {"PatientID": "CANARYPAT1", "NoSuchKeyword": 1}),
    ("POST", "/messages/test", {"message": message(60), "mapping": "nosuch"}),
    ("POST", "/messages/replay", {"rows": ["Canary"]}),
    ("POST", "/mpps/1/link", {"step": "Canary", "item": "Canary"}),
    ("POST", "/mpps/1/end", {"status": "CANARY", "reason": TEXT}),
    ("POST", "/nodes/knocking/forget", {"ae_title": "CANARYCANARYCANARY", "address": "canary"}),
)  # fmt: skip


@dataclass
class FilledSite:
    """The broker, what its doors answered to bad input, and a token of each role by name."""

    site: Site
    answers: list[str] = field(default_factory=list)
    tokens: dict[str, str] = field(default_factory=dict)

    def client(self, role: str = "admin") -> httpx.Client:
        """REST and pages by the token of a role; empty for a stranger. Close it."""
        token = self.tokens[role] if role else ""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.site.web, headers=headers, timeout=60)


@contextmanager
def filled(
    folder: Path, database_url: str = "", config: dict[str, dict[str, Any]] | None = None
) -> Iterator[FilledSite]:
    """A running broker with patients in it. What it has for others waits, or is held as they refuse it."""
    url = database_url or f"sqlite:///{folder / 'data' / 'broker.db'}"
    with ExitStack() as peers:
        ris = peers.enter_context(Ris(_refuse))
        archive = peers.enter_context(_archive())
        source = peers.enter_context(worklist_server(item(1, PatientName="Canary^Carl"), item(2, PatientID="")))
        nodes = destination("pacs", archive) + destination("away", 1) + ris_node(ris.port)
        site = Site(
            folder,
            site=nodes + _MODALITIES % {"worklist": source.port},
            config={
                "web": {"admin_token": TOKEN},
                "delivery": {"retry_first": 0.2, "retry_last": 30},
                **(config or {}),
            },
            database_url=database_url,
        )
        with site:
            made = FilledSite(site, tokens={"admin": TOKEN})
            _by_messages(made)
            _by_rest(made)
            _by_queries(made)
            _by_steps(made)
            _by_objects(made)
            wait_until(lambda: len(rows(url, "SELECT 1 FROM job WHERE state = 'held'")) >= 2, 60, "others refuse")
            wait_until(lambda: rows(url, "SELECT 1 FROM knock"), 60, "the stranger is on the list")
            yield made


def rows(url: str, query: str) -> list[Any]:
    """Read a database beside the broker."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            return list(connection.execute(text(query)))
    finally:
        engine.dispose()


def _refuse(peer: Any, heard: Told) -> None:
    """AR with what no refusal should say."""
    answer = acknowledgement(heard, "AR") + f"ERR|||207^{COMMENT}|E|||{COMMENT}|{COMMENT}\r".encode()
    peer.sendall(framed(answer))


@contextmanager
def _archive() -> Iterator[int]:
    """An archive that takes no object, and says of whom; its port."""

    def refuse(event: evt.Event) -> Dataset:
        said = Dataset()
        said.Status, said.ErrorComment = 0xA900, COMMENT
        return said

    entity = AE("PACS")
    entity.add_supported_context(UID("1.2.840.10008.5.1.4.1.1.2"), [EXPLICIT])
    listening = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, refuse)])
    try:
        yield listening.socket.getsockname()[1]
    finally:
        listening.shutdown()


def _by_messages(made: FilledSite) -> None:
    with Mllp(made.site.hl7) as ris:
        for number in (1, 2, 3):
            answer = ris.exchange(message(number))
            assert answer["MSA"][0][1] == "AA", answer
        assert ris.exchange(message(1, kind="ADT^A08^ADT_A01", control="U8"))["MSA"][0][1] == "AA"
        ris.exchange(message(2, control="XO", start="20300313113000"))
        ris.exchange(message(3, control="CA"))
        ris.exchange(message(1, kind="ORU^R01^ORU_R01", control="RE"))
        ris.exchange(message(1, kind="SIU^S12^SIU_S12", control="S12"))
        ris.exchange(message(4).replace("|RIS|HOSPITAL|", f"|{HOSTILE}|X|"))
    for bad in BAD_MESSAGES:
        with Mllp(made.site.hl7) as ris, suppress(TimeoutError):  # what is no message may be left without an answer
            ris.send(bad)
            made.answers.append(ris.receive().decode("utf-8", "replace"))


def _by_rest(made: FilledSite) -> None:
    with made.client() as http:
        for number in (1, 2):
            placed = http.post("/api/v1/orders", json=document(number), headers={"Idempotency-Key": f"K{number}"})
            assert placed.status_code == 201, placed.text
        called = {"Modality": "CT", "RequestedProcedureDescription": TEXT, "FamilyName": "Canary", "GivenName": "Carl"}
        assert http.post("/api/v1/orders/emergency", json=called).status_code == 201
        lines = [{"place": f"Canary {HOSTILE}.csv:{n}", "order": document(n + 20)} for n in range(2)]
        lines.append({"place": "Canary.csv:9", "order": document(29, Modality="NOSUCH")})
        assert http.post("/api/v1/imports", json={"orders": lines}).status_code == 200
        assert http.post("/api/v1/orders/search", json={"PatientID": "CANARYPAT1"}).json()["orders"]
        assert http.post("/api/v1/worklist/sources/old/import", json={}).status_code == 200
        for role in ("viewer", "operator", "integrator", "auditor"):
            asked = http.post("/api/v1/tokens", json={"name": f"of-{role}", "role": role})
            made.tokens[role] = asked.json()["token"]
        for method, path, body in BAD_REQUESTS:
            answer = http.request(method, f"/api/v1{path}", json=body)
            if answer.status_code >= 400:
                made.answers.append(answer.text)
        for body in (b'{"PatientName": "Canary', b"Canary^Carl", json.dumps(document(55)).encode("utf-16")):
            answer = http.post("/api/v1/orders", content=body, headers={"Content-Type": "application/json"})
            made.answers.append(answer.text)


def _by_queries(made: FilledSite) -> None:
    """A node asks by all its keys, a stranger too; then what is no identifier, and one that is barred."""
    asked = dataset({
        "PatientName": "CANARY*", "PatientID": "CANARYPAT1", "PatientBirthDate": "19010203",
        "AccessionNumber": "CANARY*", "RequestedProcedureID": "CANARYRP1", "StudyInstanceUID": "2.999.19010203.1",
        "CurrentPatientLocation": "CANARY", "ReferringPhysicianName": "CANARY*",
        "ScheduledProcedureStepSequence": [{
            "Modality": "CT", "ScheduledStationAETitle": "CT01", "ScheduledProcedureStepStartDate": "",
            "ScheduledPerformingPhysicianName": "CANARY*", "ScheduledProcedureStepID": "CANARYSPS1",
        }],
    })  # fmt: skip
    for calling, called in (("CT01", "BROKER"), (STRANGER, "BROKER"), ("CT01", "ELSEWHERE"), ("BARRED", "BROKER")):
        entity = AE(calling)
        entity.add_requested_context(ModalityWorklistInformationFind)
        association = entity.associate("127.0.0.1", made.site.dicom, ae_title=called)
        if association.is_established:
            for status, _ in association.send_c_find(asked, ModalityWorklistInformationFind):
                made.answers.append(str(status))
            association.release()
    garbage = b"\x10\x00\x10\x00\xff\xff\x00\x00Canary^Carl"
    with RawScu(made.site.dicom) as modality:
        assert modality.associate([(WORKLIST, IMPLICIT)], calling=b"CT01")[0] == 2
        modality.send(find_rq(1, garbage))
        made.answers.append(modality.pdu()[1].decode("latin-1"))


def _by_steps(made: FilledSite) -> None:
    """A performed step that nothing was planned for, one that ends, and two that cannot be."""
    entity = AE("CT01")
    entity.add_requested_context(UID(MPPS), [EXPLICIT])
    association = entity.associate("127.0.0.1", made.site.dicom, ae_title="BROKER")
    assert association.is_established
    named = {"PatientName": "Canary^Carl", "PatientID": "CANARYPAT1", "PatientBirthDate": "19010203"}
    steps = [
        creation(1, study="2.999.19010203.1", step="CANARYSPS1") | named,
        creation(2, study="2.999.19010203.99", step="CANARYSPS99") | named | {"PatientID": "CANARYPAT99"},
        creation(3) | named | {"PerformedProcedureStepStatus": "CANARY"},
        creation(4) | named | {"PerformedProcedureStepStartDate": "CANARY", "Modality": "CANARY"},
    ]
    for number, attributes in enumerate(steps, 1):
        status, _ = association.send_n_create(dataset(attributes), UID(MPPS), UID(uid(number)))
        made.answers.append(str(status))
    ended = ending() | {"CommentsOnThePerformedProcedureStep": TEXT, "PerformedProcedureStepDescription": TEXT}
    for number in (1, 1, 77):
        status, _ = association.send_n_set(dataset(ended), UID(MPPS), UID(uid(number)))
        made.answers.append(str(status))
    association.release()


def _by_objects(made: FilledSite) -> None:
    """Objects that the archive refuses, that no rule names, and one whose data set is another object's."""
    named = {
        "PatientID": "CANARYPAT1", "PatientName": "Canary^Carl", "AccessionNumber": "CANARYACC1", "StudyID": "CANARYID",
        "StudyInstanceUID": "2.999.19010203.1", "PatientComments": TEXT, "InstitutionName": "Canary House",
        "ReferringPhysicianName": "Canary^Doc", "StudyDescription": TEXT, "OtherPatientIDs": "CANARYOTHER",
    }  # fmt: skip
    for modality, good in (("CT", True), ("US", True), ("CT", False)):
        thing = ct_slice(1024, Modality=modality, **named)
        with RawScu(made.site.dicom) as sender:
            sender.associate([(thing.sop_class, thing.transfer_syntax)], calling=b"CT01")
            wrong = type(thing)(thing.sop_class, "2.999.19010203.5", thing.transfer_syntax, thing.data[::-1])
            made.answers.append(str(sender.store(thing if good else wrong)))
