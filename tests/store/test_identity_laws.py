"""One thing has one identity: random messages in random forms end as the same messages in one form. On both databases.

An authority is named by its namespace, by its universal ID, by both, or by the universal ID in the namespace's place.
`BROKER_FULL=1 pytest tests/store/test_identity_laws.py` tries 10,000 sequences of messages.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, select
from support.orders.closing import House
from support.orders.intake import AT, ZONE, received
from support.scale import FULL, scaled

from broker.orders.authority_walk import join_authorities
from broker.orders.core.authorities import AuthorityMemory
from broker.orders.core.context import StoryContext
from broker.orders.inbound import reception
from broker.orders.inbound.reception import Interface
from broker.orders.mapping.book import built_in
from broker.orders.stories import intake, writing
from broker.store.db.database import Database
from broker.store.orders import reading
from broker.store.schema import tables

FORMS = ("both", "namespace", "universal", "moved")
USES = ("PAT", "VIS", "PLA", "FIL")
_runs = itertools.count(1)
Form = Callable[[], str]  # the form of the next authority that is named


@dataclass(frozen=True)
class Act:
    """One message: of a kind, about a patient, another one, and an order."""

    kind: str
    patient: int
    other: int
    order: int
    forms: tuple[str, ...]


ACTS = st.builds(
    Act,
    st.sampled_from(
        ["NW", "NW", "XO", "CA", "HD", "RL", "A08", "A01", "A02", "A03", "A40", "A40", "A47", "A45", "S12"]
    ),
    st.integers(0, 2),
    st.integers(0, 2),
    st.integers(0, 2),
    st.tuples(*[st.sampled_from(FORMS)] * 6),
)


class Run:
    """One sequence of messages on its own identifiers and authorities; `forms` None: both names always."""

    def __init__(self, database: Database, *, one_form: bool) -> None:
        self._database, self._one_form = database, one_form
        self._key = f"Q{next(_runs):06}"
        self._sent = 0
        self._memory = AuthorityMemory()
        self.codes: list[str] = []

    def universal(self, use: str) -> str:
        return f"2.999.{int(self._key[1:])}.{USES.index(use) + 1}"

    def _hd(self, use: str, form: str) -> tuple[str, str, str]:
        namespace, universal = f"{use}{self._key}", self.universal(use)
        return {
            "both": (namespace, universal, "ISO"),
            "namespace": (namespace, "", ""),
            "universal": ("", universal, "ISO"),
            "moved": (universal, "", ""),
        }[form]

    def cx(self, number: str, use: str, form: str) -> str:
        """An identifier of a patient or visit."""
        return f"{self._key}{number}^^^" + "&".join(self._hd(use, form))

    def ei(self, number: str, use: str, form: str) -> str:
        """An order number."""
        return f"{self._key}{number}^" + "^".join(self._hd(use, form))

    def send(self, kind: str, *segments: str) -> None:
        """Take a message a minute after the one before; its answer is kept."""
        self._sent += 1
        at = AT + timedelta(minutes=self._sent)
        event = f"ADT^{kind}" if kind[0] == "A" else f"SIU^{kind}" if kind[0] == "S" else "OMI^O23"
        head = f"MSH|^~\\&|R{self._key}|SITE|BROKER|RAD|{at:%Y%m%d%H%M%S}||{event}|{self._sent}|P|2.5.1"
        lines = [head, *([f"EVN||{at:%Y%m%d%H%M%S}"] if kind[0] == "A" else []), *segments]
        raw = "".join(f"{line}\r" for line in lines).encode()
        examined = reception.examine(raw, Interface(name="test"), lambda _: built_in(), ZONE)
        assert examined is not None
        assert not examined.code or examined.conversion.findings
        context = StoryContext(uuid4(), at, "UNASSIGNED", authorities=self._memory)
        message = received(raw, examined.header)
        if examined.code:
            findings = examined.conversion.findings
            future = self._database.submit(intake.refuse, message, examined.header, examined.code, findings, context)
        else:
            future = self._database.submit(intake.take, message, examined.header, examined.conversion, context)
        self.codes.append(str(future.result(30).code))

    def act(self, act: Act) -> None:
        """Send the message of an act."""
        forms = iter(["both"] * len(act.forms) if self._one_form else act.forms)

        def patient(number: int) -> str:
            return self.cx(f"P{number}", "PAT", next(forms))

        pid = f"PID|||{patient(act.patient)}||ROE^N{act.order}||19700101|F"
        visit = f"PV1||I|WARD{act.order}" + "|" * 16 + self.cx(f"V{act.patient}", "VIS", next(forms))
        if act.kind[0] == "A":
            more = [visit] if act.kind in ("A01", "A02", "A03", "A08") else []
            if act.kind == "A40":
                more = [f"MRG|{patient(act.other)}"]
            elif act.kind == "A47":
                pid = pid.replace(f"{self._key}P{act.patient}^", f"{self._key}P{act.patient + 5}^")
                more = [f"MRG|{patient(act.patient)}"]
            elif act.kind == "A45":
                more = [f"MRG|{patient(act.other)}||||{self.cx(f'V{act.other}', 'VIS', next(forms))}", visit]
            self.send(act.kind, pid, *more)
            return
        placer, filler = self.ei(f"O{act.order}", "PLA", next(forms)), self.ei(f"F{act.order}", "FIL", next(forms))
        if act.kind == "S12":
            self.send(
                "S12", f"SCH|1|2||||||||||^^^20300116100000^^|{'|' * 14}{placer}|{filler}", pid, "RGS|1", "AIS|1||X"
            )
            return
        accession, study = f"{self._key}A{act.order}", f"{self.universal('PLA')}.{act.order + 10}"
        ipc = f"IPC|{accession}|{self._key}R{act.order}|{study}|{self._key}S{act.order}|CT"
        start = "TQ1|||||||20300115090000"
        body = [f"OBR|1|{placer}|{filler}|CHEST^Chest^L", *([ipc] if act.kind in ("NW", "XO") else [])]
        self.send(act.kind, pid, f"ORC|{act.kind}|{placer}|{filler}", start, *body)

    def tell(self) -> None:
        """Name all authorities by both names."""
        placer, filler = self.ei("OX", "PLA", "both"), self.ei("FX", "FIL", "both")
        self.send(
            "NW", f"PID|||{self.cx('PX', 'PAT', 'both')}||OTHER^ONE||19500101|M",
            "PV1||I|W" + "|" * 16 + self.cx("VX", "VIS", "both"), f"ORC|NW|{placer}|{filler}",
            "TQ1|||||||20300115090000", f"OBR|1|{placer}|{filler}|CHEST^Chest^L",
            f"IPC|{self._key}AX|{self._key}RX|{self.universal('PLA')}.99|{self._key}SX|CT",
        )  # fmt: skip

    def walk(self) -> None:
        """Join what no message has named, as the broker does in small steps afterwards."""
        join_authorities(House(self._database).walk)

    def state(self) -> Any:
        """What is stored of this run in the end: patients, visits, orders, worklist answers; without its own key."""
        self.walk()
        text = json.dumps(self._database.read(self._stored).result(30), ensure_ascii=False)
        return json.loads(text.replace(self._key, "").replace(f"2.999.{int(self._key[1:])}.", "2.999."))

    def _stored(self, connection: Connection) -> Any:
        p, a, v, r = tables.patient.c, tables.patient_alias.c, tables.visit.c, tables.service_request.c
        s = tables.scheduled_step.c
        mine = self._key, self._key + "z"  # by an index, where there is one

        def rows(*columns: Any, of: Any) -> list[list[Any]]:
            return sorted([list(row) for row in connection.execute(select(*columns).where(of.between(*mine)))], key=str)

        def owned(*columns: Any, of: Any) -> list[list[Any]]:
            """Rows with the patient in front, as an identifier."""
            return sorted([[owners[row], *rest] for row, *rest in rows(*columns, of=of)], key=str)

        owners = {row: number for number, row in rows(p.patient_id, p.id, of=p.patient_id)}
        numbers = (r.placer_number, r.placer_issuer, r.filler_number, r.filler_issuer, r.accession)
        steps = rows(s.status, s.held, s.answer, of=s.step_id)
        return {
            "patients": rows(p.patient_id, p.issuer, of=p.patient_id),
            "retired": owned(a.patient, a.patient_id, a.issuer, of=a.patient_id),
            "visits": owned(v.patient, v.admission_id, v.issuer, v.location, v.state, of=v.admission_id),
            "orders": owned(r.patient, *numbers, of=r.placer_number),
            "worklist": sorted([[*step[:2], _shown(json.loads(step[2]))] for step in steps], key=str),
        }


def _shown(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without the names of authorities that stay as the last message has them."""
    said = ("Order", "IssuerOfAdmission", "IssuerOfPatientIDQ")
    return {keyword: answer[keyword] for keyword in sorted(answer) if not keyword.startswith(said)}


COUNT = settings(
    max_examples=scaled(20, 2500),
    deadline=None,
    derandomize=not FULL,  # the same sequences each time
    suppress_health_check=list(HealthCheck),
    database=None,
    phases=[Phase.explicit, Phase.generate],  # a sequence is short enough to be read as it is
)


@COUNT
@given(acts=st.lists(ACTS, min_size=1, max_size=9))
def _check_told_first(database: Database, acts: Sequence[Act]) -> None:
    one, many = (Run(database, one_form=form) for form in (True, False))
    for run in (one, many):
        run.tell()
        for act in acts:
            run.act(act)
    assert many.codes == one.codes
    assert many.state() == one.state()


def test_the_last_word_on_an_order_and_its_patient_is_that_of_who_spoke_of_them(database: Database) -> None:
    """What ends a step, for example its images, says nothing of the order. Of two that are one it must not count."""
    run, forms = Run(database, one_form=True), ("both",) * 6

    def said() -> list[float]:
        patient, order = tables.patient, tables.service_request
        query = select(patient.c.updated_at, order.c.updated_at).join_from(patient, order)
        return database.read(lambda connection: list(connection.execute(query).one())).result(30)

    def end(connection: Connection) -> None:
        row = connection.execute(select(tables.service_request.c.id)).scalar_one()
        order = reading.load_order(connection, row)
        writing.write(connection, order, order, "image", StoryContext(uuid4(), AT + timedelta(hours=1), "UNASSIGNED"))

    run.act(Act("NW", 0, 0, 0, forms))
    assert said() == [(AT + timedelta(minutes=1)).timestamp()] * 2
    database.submit(end).result(30)
    assert said() == [(AT + timedelta(minutes=1)).timestamp()] * 2
    run.act(Act("NW", 0, 0, 0, forms))
    assert run.codes == ["AA", "AA"]
    assert said() == [(AT + timedelta(minutes=2)).timestamp()] * 2


def demographics(state: Any) -> Any:
    """A state whose answers have only the patient: what a visit changed before two records were one stays so."""
    shown = [
        {
            keyword: value
            for keyword, value in answer.items()
            if "Patient" in keyword and keyword != "CurrentPatientLocation"
        }
        for *_, answer in state["worklist"]
    ]
    return {**state, "worklist": sorted(shown, key=str)}


TOLD_LATE = ACTS.filter(lambda act: act.kind in ("NW", "A08", "A01"))


@example(
    # the visit of the first patient record must not count as newer because the record was joined to another one
    acts=[
        Act("NW", 2, 1, 0, ("namespace", "both", "moved", "namespace", "both", "namespace")),
        Act("A01", 2, 2, 2, ("moved", "namespace", "moved", "namespace", "both", "moved")),
        Act("A08", 2, 2, 1, ("both", "universal", "namespace", "namespace", "both", "universal")),
    ]
)
@COUNT
@given(
    acts=st.lists(TOLD_LATE, min_size=1, max_size=9, unique_by=lambda act: (act.kind != "NW" or act.order, act.kind))
)
def _check_told_last(database: Database, acts: Sequence[Act]) -> None:
    one, many = (Run(database, one_form=form) for form in (True, False))
    for run in (one, many):
        for act in acts:
            run.act(act)
        run.tell()
    assert many.codes == one.codes
    assert demographics(many.state()) == demographics(one.state())


@example(
    # P1 was retired under one name and lives under the other: it is kept apart, whoever has it as a retired identifier
    before=[
        Act("A01", 1, 1, 0, ("namespace",) * 6),
        Act("A40", 2, 1, 2, ("universal",) * 6),
        Act("A03", 0, 2, 0, ("namespace",) * 6),
        Act("A47", 0, 2, 2, ("moved",) * 6),
    ],
    after=[Act("A40", 0, 2, 2, ("moved",) * 6), Act("NW", 0, 2, 0, ("moved",) * 6)],
    joined=5,
)
@COUNT
@given(
    before=st.lists(ACTS, min_size=1, max_size=6),
    after=st.lists(ACTS, min_size=1, max_size=6),
    joined=st.integers(0, 5),
)
def _check_told_between(database: Database, before: Sequence[Act], after: Sequence[Act], joined: int) -> None:
    """While much is still to be joined, each message finds what it names as if all were."""
    at_once, later = (Run(database, one_form=False) for _ in range(2))
    for run in (at_once, later):
        for act in before:
            run.act(act)
        run.tell()
        for number, act in enumerate(after):
            if run is at_once or number == joined:
                run.walk()
            run.act(act)
    assert later.codes == at_once.codes
    assert later.state() == at_once.state()


LAWS = {"told first": _check_told_first, "told last": _check_told_last, "told between": _check_told_between}


@pytest.mark.timeout(scaled(600, 6 * 3600))  # each of some hundred transactions
@pytest.mark.parametrize("check", LAWS.values(), ids=LAWS)
def test_random_forms_end_as_one_form(database: Database, check: Callable[[Database], None]) -> None:
    check(database)
