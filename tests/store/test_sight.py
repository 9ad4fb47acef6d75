"""What the broker says that a device sees is what the door answers, for every query, profile and negotiated option."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store.test_explain import KEYS, PROFILES, SECRET, orders  # noqa: F401 - `orders` is a fixture
from support.loops import shortly
from support.orders.documents import order
from support.service.rest import application, asking
from support.worklist.worklist import DATE, IMPLICIT, SPS, STATION, encoded

from broker.dicom.dataset.read import decode_data_set
from broker.errors import BadContent
from broker.settings import load
from broker.site.device import Device
from broker.site.directory import Directory
from broker.site.nodes import parse_nodes
from broker.store.db.database import Database
from broker.worklist import answering
from broker.worklist.explain import sight
from broker.worklist.explain.devices import devices
from broker.worklist.explain.memory import QueryMemory
from broker.worklist.explain.sight import DeviceSight, SightGround
from broker.worklist.query.attributes import TIMEZONE
from broker.worklist.query.writing import identifier
from broker.worklist.scp import WorklistService

SETTINGS = load()
CT = {"name": "ct1", "kind": "dicom", "ae_title": "CT01", "roles": ["modality"]}
FIND = "1.2.840.10008.5.1.4.31"
EVERY_OPTION = {FIND: b"\1\1\1\1\0\1\1"}
CODES = [{"CodeValue": "", "CodeMeaning": ""}]
RETURNED: tuple[dict[str, Any], ...] = (
    {},
    {"PatientID": "", "PatientName": "", "AccessionNumber": "", "RequestedProcedureCodeSequence": CODES},
    {"RequestedProcedureCodeSequence": [], "StudyInstanceUID": "", "StationName": ""},
)


@dataclass
class Asked:
    """What the door sees of a C-FIND-RQ of CT01; it keeps what is answered."""

    identifier: bytes
    extended: dict[str, bytes]
    status: int = -1
    comment: str = ""
    cancelled: bool = False

    def __post_init__(self) -> None:
        self.context = SimpleNamespace(abstract_syntax=FIND, transfer_syntax=IMPLICIT)
        self.peer = SimpleNamespace(calling_ae="CT01", called_ae="BROKER", address="127.0.0.1", extended=self.extended)
        self.data, self.answers = self, list[bytes]()

    async def read_all(self, limit: int) -> bytes:
        return self.identifier

    async def respond(self, status: int, data: bytes | None = None, *, comment: str = "", offending: int = 0) -> None:
        self.status, self.comment = status, comment

    async def respond_all(self, status: int, answers: Sequence[bytes]) -> int:
        self.answers += answers
        return len(answers)

    def documents(self) -> list[dict[str, Any]]:
        """The answers, without the attribute that is not supported: it comes back empty and is not remembered."""
        read = [dict(sight.readable(decode_data_set(data, IMPLICIT).elements)) for data in self.answers]
        return [{name: value for name, value in one.items() if name != "StationName"} for one in read]


class Site:
    """A broker with the device ct1, its door and what it says of its worklist."""

    def __init__(self, database: Database, profile: Device | None = None) -> None:
        (node,) = parse_nodes([CT])
        directory = Directory([replace(node, device=profile)])
        self._memory = QueryMemory(database, SECRET)
        self._database = database
        self._door = WorklistService(
            database,
            max_answers=SETTINGS.worklist.max_answers,
            charset=SETTINGS.worklist.charset,
            zone=SETTINGS.zone(),
            profile=directory.profile,
            memory=self._memory,
        )
        self.directory = directory
        self._ground = SightGround(directory=directory, settings=SETTINGS, secret=SECRET)

    def find(self, data: bytes, extended: dict[str, bytes] | None = None) -> Asked:
        asked = Asked(data, extended or {})
        shortly(self._door.find(asked))  # type: ignore[arg-type]
        self._memory.flush()
        return asked

    def look(self, device: str = "ct1", **how: Any) -> DeviceSight:
        typed = how.pop("typed", None)
        return self._database.read(
            lambda connection: sight.look(connection, device, typed, self._ground, **how)
        ).result(30)


def says_the_same(seen: DeviceSight, asked: Asked) -> None:
    assert (seen.count, seen.status, seen.comment) == (len(asked.answers), f"{asked.status:04X}", asked.comment)
    assert [dict(one.document) for one in seen.exams] == asked.documents()


@pytest.mark.usefixtures("orders")
def test_what_a_device_sees_is_what_the_door_answers(database: Database) -> None:
    profiles = st.builds(lambda profile, most: {**profile, **most}, PROFILES, st.sampled_from([{}, {"max_answers": 2}]))
    told, unsure = [0], [0]

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        KEYS,
        st.sampled_from(RETURNED),
        profiles,
        st.sampled_from([None, ["ISO_IR 100"], ["ISO_IR 192"]]),
        st.sampled_from([{}, EVERY_OPTION]),
        st.sampled_from([None, "+0900", "-0330"]),
    )
    def agree(
        keys: dict[Any, Any],
        returned: dict[str, Any],
        profile: dict[str, Any],
        charset: list[str] | None,
        extended: dict[str, bytes],
        offset: str | None,
    ) -> None:
        site = Site(database, Device(**profile))
        whole = {**returned, **keys, **({TIMEZONE: offset} if offset else {})}
        if charset is None:  # no set: names in ASCII alone
            whole = {key: value for key, value in whole.items() if key != "PatientName"}
        asked = site.find(encoded(whole, charset=charset), extended)
        seen = site.look()
        assert seen.which == "asked"
        if any(text.startswith("%(n)s exam fits all else") for text in (one.text for one in seen.findings)):
            unsure[0] += 1
            assert seen.count <= len(asked.answers) or seen.status == "A700"
        else:
            told[0] += len(asked.answers)
            says_the_same(seen, asked)

    agree()
    assert told[0] > 20  # most of what is asked can be told
    assert unsure[0] < 60


@pytest.mark.usefixtures("orders")
def test_typed_keys_are_read_as_the_door_reads_them(database: Database) -> None:
    for keys in (
        {},
        {"Modality": "CT"},
        {STATION: "CT02"},
        {DATE: "20300310-20300312"},
        {"PatientName": "DOE*"},
        {"PatientName": "müller"},
        {"PatientID": "QZPAT1", "AccessionNumber": "A1"},
    ):
        site = Site(database)
        step = {name: value for name, value in keys.items() if name in sight.IN_STEP}
        root = {name: value for name, value in keys.items() if name not in step}
        seen = site.look("CT99", typed=sight.typed_query(keys))  # which never asked: all attributes are told
        assert seen.which == "typed"
        says_the_same(seen, site.find(identifier({**root, SPS: [step]}, IMPLICIT)))
    for wrong in ({DATE: "tomorrow"}, {DATE: "20301399"}):
        with pytest.raises(BadContent):
            sight.typed_query(wrong)


def test_a_device_that_never_asked_and_one_that_is_refused(database: Database) -> None:
    with asking(application(database, SETTINGS)) as client:
        assert client.post("/orders", json=order(1)).json()["outcome"] == "created"
    site = Site(database)
    seen = site.look()
    assert (seen.which, seen.count, seen.asked_at, seen.refusal) == ("supposed", 1, None, "")
    assert seen.exams[0].document["AccessionNumber"] == "A1"
    assert seen.exams[0].order == 1
    stranger = site.look("US09")
    assert stranger.count == 0
    assert "is no node of the site" in stranger.refusal
    assert [(one.name, one.last) for one in database.read(devices, site.directory).result()] == [("ct1", None)]


def test_one_of_several_queries_is_answered_and_the_list_is_cut(database: Database) -> None:
    with asking(application(database, SETTINGS)) as client:
        for number in range(1, 6):
            assert client.post("/orders", json=order(number)).json()["outcome"] == "created"
    site = Site(database, Device(max_answers=4))
    site.find(encoded({"AccessionNumber": "", SPS: [{STATION: "CT01"}]}))
    site.find(encoded({"AccessionNumber": "", SPS: [{STATION: "XX01"}]}))
    assert site.look().count == 0
    cut = site.look(number=2, limit=3)
    assert (cut.count, cut.status, len(cut.exams)) == (4, "A700", 3)
    assert len(cut.findings) == 2
    (device,) = database.read(devices, site.directory).result()
    assert device.last is not None
    assert (device.calls, device.last.count, device.asks_for_all) == (2, 0, False)
    unread = site.find(b"\x40\0\0\1\4\0\0\0abcd")
    seen = site.look()
    assert (seen.status, seen.count) == (f"{unread.status:04X}", 0)


def test_a_long_list_is_not_looked_through_to_its_end(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "PAGE", 1)
    monkeypatch.setattr(sight, "PAGE", 1)
    with asking(application(database, SETTINGS)) as client:
        for number in range(1, 6):
            assert client.post("/orders", json=order(number)).json()["outcome"] == "created"
    for name, value, count in (("LOOKED_THROUGH", 3, 3), ("PATIENCE", -1.0, 1)):
        with monkeypatch.context() as patched:
            patched.setattr(sight, name, value)
            seen = Site(database).look()
        assert (seen.count, seen.status) == (count, "")
        assert any(one.values.get("n") == count for one in seen.findings)
    assert (Site(database).look().count, Site(database).look().status) == (5, "0000")
