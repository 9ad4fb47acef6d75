"""A hospital for the pages: nodes, devices that knock, held work, people, tokens. It looks real, and all is made up.

`Hospital` says how the broker is, `furnish` puts the rest into the database over REST, as people do.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx
from prometheus_client import CollectorRegistry
from sqlalchemy import Connection, update

from broker.accounts import links, sessions, users
from broker.accounts.deed import Deed
from broker.accounts.roles import UserRole
from broker.accounts.sessions import SignInPlace
from broker.accounts.users import NewUser
from broker.admin.status import StatusSource
from broker.delivery.probe.outcome import ProbeStep, StepOutcome
from broker.model.contact import Contact, ContactKind
from broker.model.lane import Lane, LaneKind
from broker.model.wording import Sentence
from broker.settings import load
from broker.status.causes import reason
from broker.status.facts import (
    BrokerFacts,
    CertificateFact,
    DatabaseFact,
    DiskFact,
    DutyFact,
    LaneFact,
    ListenerFact,
    NeedCause,
    NeedFact,
    NodeFact,
    SenderFact,
)
from broker.status.forecast import Forecast
from broker.status.judging import BrokerStatus, judge
from broker.status.lane_rates import LaneRates
from broker.status.rates import Rates
from broker.store import contacts, knocks, node_tests
from broker.store.db.database import Database
from broker.store.drafts import rule_drafts
from broker.store.node_tests import StoredTest
from broker.store.room import Room
from broker.store.schema import tables
from support.mpps.performed import unscheduled
from support.mpps.recorded import begun
from support.orders.intake import take
from support.orders.journal import order_message, tell
from support.service.people import TIMES, added, signed_in
from support.web.held import hold_jobs, hold_objects

HOSTILE = "<img src=x onerror=alert(1)>"
WORKLIST, ULTRASOUND = "1.2.840.10008.5.1.4.31", "1.2.840.10008.5.1.4.1.1.6.1"
DOORS = {"DICOM (BROKER)": 11112, "DICOM over TLS (BROKER)": 2762, "HL7": 2575, "web": 443}
INWARD = {"query", "image", "echo", "performed step", "message"}


@dataclass(frozen=True, slots=True)
class Device:
    """A system of the hospital: its table in site.toml, and how long ago (s) it was in contact, by kind."""

    table: dict[str, Any]
    ago: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name of the node."""
        return str(self.table["name"])

    def last(self, now: float, *, inward: bool) -> float | None:
        """Its last contact in one direction, in s since the epoch."""
        of_side = [at for kind, at in self.ago.items() if (kind in INWARD) == inward]
        return now - min(of_side) if of_side else None


def _modality(name: str, title: str, host: str, charset: str = "", **ago: float) -> Device:
    table: dict[str, Any] = {"name": name, "kind": "dicom", "ae_title": title, "host": host, "roles": ["modality"]}
    return Device(table | ({"device": {"charset": charset}} if charset else {}), ago)


def _destination(name: str, title: str, host: str, port: int, **ago: float) -> Device:
    table = {"name": name, "kind": "dicom", "ae_title": title, "host": host, "port": port, "roles": ["destination"]}
    return Device(table, ago)


RIS = {"name": "ris", "kind": "hl7", "application": "RIS", "facility": "ST_ANNA", "roles": ["ris"]}
DEVICES = (
    _modality("ct-emergency", "CT_EMERG", "10.20.4.11", "ISO_IR 100", query=42, image=190),
    _modality("ct-radiology", "CT_RAD1", "10.20.4.12", "ISO_IR 100", query=17, image=61),
    _modality("mg-screening", "MG_SCREEN", "10.20.4.31", query=560, image=1300),
    _modality("mr-neuro", "MR_NEURO", "10.20.4.21", "ISO_IR 192", query=95, image=12),
    _modality("us-ward-3", "US_WARD3", "10.20.7.3", query=2400, image=3100),
    _modality("xa-cathlab", "XA_CATH1", "10.20.4.41", "ISO_IR 100", query=780, image=840),
    _destination("archive", "ARCHIVE", "10.20.1.7", 11112, delivery=14),
    _destination("cad-lung", "CAD_LUNG", "10.20.1.9", 11112, delivery=66),
    Device(RIS, {"message": 8, "feedback": 21}),
)
PROFILE = """name = "st-anna"
extends = "ihe"
description = "RIS of St Anna: local codes of modality"
[senders]
match = [{ application = "RIS", facility = "ST_ANNA" }]
[values.Modality]
DVT = "CT"
"""
PACS = _destination("pacs", "PACS_MAIN", "10.20.1.5", 11112, delivery=9, echo=300)


class Hospital:
    """How the broker is in it. `trouble`: the PACS is away, the RIS is silent, and much waits for people."""

    def __init__(self, *, trouble: bool) -> None:
        self.trouble = trouble
        self.source = StatusSource(self._status, CollectorRegistry(), _working_day(), load(None).zone())
        self.lane_rates = _lanes_of(self.source.rates, trouble=trouble)

    async def _status(self) -> BrokerStatus:
        facts = _facts(time.time(), trouble=self.trouble)
        return BrokerStatus(facts, judge(facts))


def _working_day() -> Rates:
    """Six hours that begin before the first patients come, in place of the minutes that a test lives."""
    chance, rates = random.Random(11), Rates()
    totals = {"orders": 0.0, "queries": 0.0, "objects_in": 0.0, "objects_out": 0.0}
    end, drift, late = time.time(), 1.0, 0.0
    for minute in range(-20, 361):
        morning = 0.25 + 0.75 / (1 + 2.718 ** ((110 - minute) / 25)) - 0.35 * 2.718 ** (-(((minute - 275) / 28) ** 2))
        drift += 0.12 * (1 - drift) + chance.gauss(0, 0.035)
        busy = morning * drift
        objects = busy * (430 + chance.gauss(0, 14))
        late += 0.3 * (objects * 1.6 - late)  # CT goes to the CAD too, a little later
        new = (busy * 6 + chance.random(), busy * 34 + chance.gauss(0, 1), objects, late)
        totals = {name: total + max(0, round(more)) for (name, total), more in zip(totals.items(), new, strict=True)}
        rates.feed(end - 60 * (360 - minute), {0: dict(totals)})
    return rates


def _lanes_of(rates: Rates, *, trouble: bool) -> LaneRates:
    """What went to the PACS in that day, and what waited meanwhile: with `trouble` it is away for the last hour."""
    found, total, waits = LaneRates(), 0.0, 0.0
    found.feed(rates.since(0)[0].t - 60, {0: {}})
    for place, minute in enumerate(rates.since(0), start=-360):
        if trouble and place > -60:
            waits += minute.objects_out
        else:
            total, waits = total + minute.objects_out, minute.objects_in / 12
        found.feed(minute.t, {0: {"deliver:pacs": total}})
        if not -200 < place < -190:  # the database was away
            found.count(minute.t, {"deliver:pacs": round(waits), "deliver:cad-lung": 1})
    found.feed(rates.since(0)[-1].t + 60, {0: {"deliver:pacs": total}})
    return found


def _facts(now: float, *, trouble: bool) -> BrokerFacts:
    disk = DiskFact(
        holds=("data", "spool"), size=4 * 10**12, free=(3 if trouble else 26) * 10**11, mark=2 * 10**10,
        room=Room.EVERYTHING, forecast=Forecast(True, now + 9 * 3600 if trouble else None, 2e7),
    )  # fmt: skip
    ris = SenderFact(
        name="RIS|ST_ANNA", last_at=now - (4320 if trouble else 8), messages=48_211,
        expected=96.0 if trouble else 0.2, silent=trouble,
    )  # fmt: skip
    duties = ("audit-feed", "closing", "purge", "rates", "retention", "senders", "sweep", "views")
    return BrokerFacts(
        now=now,
        started_at=now - 19 * 86_400,
        version="0.1.0",
        listeners=tuple(
            ListenerFact(name=name, address=f"10.20.1.4:{port}", open=True)
            for name, port in (
                ("DICOM (BROKER)", 11112),
                ("DICOM over TLS (BROKER)", 2762),
                ("HL7", 2575),
                ("web", 443),
            )
        ),
        database=DatabaseFact(
            kind="postgresql", reachable=True, size=6_400_000_000, written_at=now - 2, counted_at=now - 4
        ),
        disks=(disk,),
        nodes=tuple(_node(device, now, trouble=trouble) for device in (*DEVICES, PACS)),
        senders=(ris, *_others(now, trouble=trouble)),
        certificates=(CertificateFact(place="dicom.tls", ends_at=now + (12 if trouble else 211) * 86_400),),
        duties=tuple(
            DutyFact(name=name, last_at=now - 40 * place - 9, seconds=0.2, failures=0)
            for place, name in enumerate(duties)
        ),
        needs=_needs(now, trouble=trouble),
        exams={"SCHEDULED": 118, "ARRIVED": 9, "STARTED": 6, "COMPLETED": 143, "CANCELED": 4},
    )


def _others(now: float, *, trouble: bool) -> Iterator[SenderFact]:
    """Whoever sends beside the RIS; names are what they make of them."""
    for name in ("LAB|ST_ANNA", *((f"{HOSTILE}|X",) if trouble else ())):
        yield SenderFact(name=name, last_at=now - 340, messages=902, expected=3.1, silent=False)


def _node(device: Device, now: float, *, trouble: bool) -> NodeFact:
    table, lanes = device.table, tuple[LaneFact, ...]()
    if trouble and device is PACS:
        lanes = (
            LaneFact(
                lane=Lane(LaneKind.DELIVER, "pacs"), waiting=2140, oldest=now - 2400, failures=14, since=now - 2280,
                next_try=now + 40, error="connect-failed",
            ),
        )  # fmt: skip
    title = table.get("ae_title") or f"{table['application']}|{table['facility']}"
    address = f"{table['host']}:{table['port']}" if "port" in table else table.get("host", "")
    return NodeFact(
        name=device.name,
        kind=table["kind"],
        title=title,
        address=address,
        roles=tuple(table["roles"]),
        lanes=lanes,
        last_in=device.last(now, inward=True),
        last_out=device.last(now, inward=False),
        contacts={kind: now - ago for kind, ago in device.ago.items()},
        rests="disabled" if trouble and device.name == "us-ward-3" else "",
    )


def _needs(now: float, *, trouble: bool) -> tuple[NeedFact, ...]:
    knocks = NeedFact(
        cause=NeedCause.KNOCKING, count=2, what=Sentence("they are refused until somebody admits them"), latest=now - 95
    )
    if not trouble:
        return (knocks,)
    held = NeedFact(
        cause=NeedCause.HELD_JOBS, count=60, what=reason("status-A700"), code="status-A700", lane="deliver:cad-lung",
        node="cad-lung", oldest=now - 7200,
    )  # fmt: skip
    refused = NeedFact(cause=NeedCause.REFUSED, count=3, what=Sentence("their senders were told why"), latest=now - 610)
    return (held, refused, knocks)


class Asks(Protocol):
    """A client of REST: `httpx.Client`, or `support.service.rest.AppClient`."""

    def put(self, path: str, *, json: Any) -> httpx.Response:
        """PUT a document."""
        ...

    def post(self, path: str, *, json: Any) -> httpx.Response:
        """POST a document."""
        ...


@dataclass(frozen=True, slots=True)
class Furnished:
    """What addresses need: the cookie of the admin, the path of an invitation, and the row of a user."""

    session: str
    invitation: str
    user: int


def furnish(database: Database, http: Asks, *, held: int = 0) -> Furnished:
    """Put nodes, knocking devices, people and `held` jobs into a database, by its REST under `/api/v1`."""
    now = time.time()
    nodes = [device.table for device in DEVICES]
    assert http.put("/api/v1/nodes", json={"node": nodes, "reason": "list of the medical technicians"}).is_success
    assert http.post("/api/v1/nodes/add", json={"node": PACS.table, "reason": "the new PACS"}).is_success
    for profile, why in ((PROFILE.replace("DVT", "CBCT"), "the RIS of St Anna"), (PROFILE, "the new scanner")):
        assert http.post("/api/v1/mappings", json={"toml": profile, "reason": why}).is_success
    assert http.put("/api/v1/rules", json={"rule": _rules("CT to the archive"), "reason": "the new PACS"}).is_success
    database.execute(rule_drafts.keep, "user:anna.keller", {"rule": _rules("CT at night")}, 1, now, None)
    admin = added(database, "anna.keller", UserRole.ADMIN, now - 40 * 86_400)
    database.submit(users.change, admin, {"full_name": "Anna Keller"}, Deed("api", now)).result(20)
    for name, full_name, role in (
        ("ben.okoro", "Ben Okoro", UserRole.OPERATOR), ("chloe.martin", "Chloé Martin", UserRole.INTEGRATOR),
        ("dina.aziz", "Dina Aziz", UserRole.AUDITOR),
    ):  # fmt: skip
        row = added(database, name, role, now - 30 * 86_400)
        database.submit(users.change, row, {"full_name": full_name}, Deed("user:anna.keller", now)).result(20)
        signed_in(database, row, now - 4000)
    user = database.submit(users.add, NewUser(name="emil.novak", role=UserRole.VIEWER), Deed("user:anna.keller", now))
    invitation = database.submit(links.invite, user.result(20), Deed("user:anna.keller", now)).result(20).path
    for name in ("ris-import", "monitoring"):
        assert http.post("/api/v1/tokens", json={"name": name, "role": "viewer"}).is_success
    database.execute(_came, now)
    take(database, order_message(1))
    take(database, order_message(2, modality="TQQ9"))
    tell(database, 1, now)
    begun(database, "2.999.5.1", unscheduled("2.999.5.7"))  # of the patient of the order
    hold_objects(database, 1, modality=HOSTILE)
    if held:
        hold_jobs(database, held, "deliver:cad-lung", "status-A700")
    return Furnished(signed_in(database, admin, now).text, invitation, admin)


def _rules(name: str) -> list[dict[str, Any]]:
    """Two rules, one of which is off; `name` is that of the first, and its owner."""
    night = {"field": "time.window", "value": "18:00-07:00"}
    neither = {"field": "assoc.calling_ae", "op": "not_in", "value": ["US_WARD3", name], "missing": True}
    ct = {"field": "tag.Modality", "value": "CT"}
    code = {"item": "ProcedureCodeSequence", "all": [{"field": "tag.CodeValue", "op": "exists"}]}
    return [
        {"name": name, "when": {"all": [ct, {"any": [night, {"not": neither}, code]}]}, "send": ["pacs"], "owner": name,
         "from": "2026-01-01T00:00:00", "tags": ["CT"], "example": [{"facts": {"tag.Modality": "MR"}, "sends": []}]},
        {"name": "phantoms", "when": {"field": "tag.PatientID", "op": "glob", "value": "QA*"}, "action": "discard",
         "reason": "of nobody", "enabled": False},
    ]  # fmt: skip


def _tests(now: float) -> Iterator[StoredTest]:
    """Two tests of the PACS: in vain before it was there, then well."""
    where = {"host": "10.20.1.5", "port": "11112"}
    titles = {"called": "PACS_MAIN", "calling": "BROKER"}
    name = Sentence("%(host)s is an address: no name to look up", where)
    no, yes = (
        Sentence("%(host)s refuses connections on port %(port)s", where),
        Sentence("Connected to %(host)s port %(port)s", where),
    )
    advice = "The machine answers, but nothing listens there: start the application, or correct the port."
    first = _step("name", StepOutcome.SKIPPED, name)
    failed = [first, _step("connection", StepOutcome.BAD, no, Sentence(advice))]
    works = [
        first,
        _step("connection", StepOutcome.GOOD, yes),
        _step("association", StepOutcome.GOOD, Sentence("%(called)s accepts an association of %(calling)s", titles)),
        _step("echo", StepOutcome.GOOD, Sentence("C-ECHO was answered in %(ms)s ms", {"ms": "3.1"})),
    ]
    for at, steps in ((now - 7000, failed), (now - 300, works)):
        good = steps is works
        yield StoredTest(node="pacs", at=at, actor="user:anna.keller", good=good, duration=0.02, steps=steps)


def _step(name: str, outcome: StepOutcome, words: Sentence, advice: Sentence | None = None) -> dict[str, Any]:
    return ProbeStep(name=name, outcome=outcome, duration=0.0041, words=words, advice=advice).document()


def _came(connection: Connection, now: float) -> None:
    """What devices have done, and who knocks."""
    rows = [Contact(d.name, ContactKind(kind), now - ago) for d in (*DEVICES, PACS) for kind, ago in d.ago.items()]
    rows.append(Contact("us-ward-3", ContactKind.REFUSED, now - 900, "called-ae-unknown from 10.20.7.3"))
    contacts.keep(connection, rows)
    for test in _tests(now):
        node_tests.add(connection, test)
    knocks.record(connection, "US_WARD5", "10.20.7.5", now - 95, 12, [WORKLIST, ULTRASOUND])
    knocks.record(connection, "US_WARD3", "10.20.7.3", now - 900, 3, [WORKLIST], "BROKRE")


def vandalise(database: Database, http: Asks, admin: int) -> None:
    """Put hostile texts wherever people, devices and programs of others may write. `admin`: row of the user."""
    now = time.time()
    vandal = PROFILE.replace("st-anna", "lab").replace("ST_ANNA", HOSTILE).replace("RIS of", HOSTILE)
    assert http.post("/api/v1/mappings", json={"toml": vandal, "reason": HOSTILE}).is_success
    assert http.put("/api/v1/rules", json={"rule": _rules(HOSTILE), "reason": HOSTILE}).is_success
    database.execute(rule_drafts.keep, "user:anna.keller", {"rule": _rules(HOSTILE)}, 1, now, None)
    lab = {"name": "lab", "kind": "hl7", "application": HOSTILE, "facility": HOSTILE, "roles": ["ris"]}
    assert http.post("/api/v1/nodes/add", json={"node": lab, "reason": HOSTILE}).is_success
    made = http.post("/api/v1/tokens", json={"name": "old", "role": "viewer"}).json()
    assert http.post(f"/api/v1/tokens/{made['id']}/revoke", json={"reason": HOSTILE}).is_success

    def write(connection: Connection) -> None:
        users.change(connection, admin, {"full_name": HOSTILE}, Deed("api", now))
        sessions.begin(
            connection, users.found(connection, admin), "password", SignInPlace("192.0.2.9", HOSTILE), TIMES, now
        )
        knocks.record(connection, "<b id=x>", "10.9.9.9", now, 1, [WORKLIST], '"><b id=y>')
        contacts.keep(connection, [Contact("lab", ContactKind.REFUSED, now, HOSTILE)])
        connection.execute(update(tables.job).values(last_error=HOSTILE).where(tables.job.c.subject == 1))

    database.submit(write).result(20)
    take(database, order_message(3).replace(b"|RIS|", f"|{HOSTILE}|".encode()).replace(b"Chest", HOSTILE.encode()))
    patient = {"PatientID": HOSTILE, "PatientName": "Novak^Emil"}
    procedure = {"RequestedProcedureDescription": "Chest", "steps": [{"Modality": "CT"}]}
    assert http.post("/api/v1/orders", json={"patient": patient, "procedures": [procedure]}).is_success
    tell(database, 1, now + 1, code="", error=HOSTILE)
    begun(
        database, "2.999.5.2", unscheduled("2.999.5.8"), PatientName=HOSTILE, PerformedProcedureStepDescription=HOSTILE
    )
