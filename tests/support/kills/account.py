"""The account at the end: every acknowledgement has its row, its place in the worklist, its delivery, its message."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any

from pynetdicom import AE
from pynetdicom.sop_class import ModalityWorklistInformationFind  # type: ignore[attr-defined]

import support.peers.pausing  # noqa: F401
from support.dicom.raw import RawScu, associate_ac, p_data
from support.dicom.raw_scp import RawScp, receive, store_rsp
from support.hl7.receiver import Ris
from support.kills.ledger import Fate, Ledger, fate, mpps_uid, station
from support.kills.peers import LATER, LATER_NAME
from support.mpps.mpps import Manager
from support.worklist.worklist import DATE, SPS, STATION, TIME, dataset

Rows = Callable[[str], list[tuple[Any, ...]]]


class Pacs:
    """Takes objects and counts them by their SHA-256."""

    def __init__(self) -> None:
        self.taken: Counter[bytes] = Counter()
        self._lock = threading.Lock()

    def serve(self, peer: RawScu) -> None:
        """One association."""
        _, body = peer.pdu()
        peer.send(associate_ac(body))
        digest = sha256()
        while (found := receive(peer, digest.update)) is not None:
            with self._lock:
                self.taken[digest.digest()] += 1
            digest = sha256()
            peer.send(p_data(found[0], store_rsp(found[1]), is_command=True))

    def listen(self) -> RawScp:
        """The provider."""
        return RawScp(self.serve)


class Account:
    """Compares what was acknowledged with what is there. Each check names what differs; nothing: all is there."""

    def __init__(self, ledger: Ledger, rows: Rows, pacs: Pacs, ris: Ris, manager: Manager) -> None:
        self._ledger, self._rows = ledger, rows
        self._pacs, self._ris, self._manager = pacs, ris, manager
        self.differences: list[str] = []

    def before_the_rest(self) -> None:
        """After the last kill, before anybody sends again."""
        self._orders(exactly=False)
        self._objects(exactly=False)
        begun = {uid for (uid,) in self._rows("SELECT sop_instance_uid FROM mpps")}
        self._same("MPPS begun", {mpps_uid(n) for n in self._ledger.begun} - begun)

    def at_the_end(self, port: int) -> None:
        """After all is sent and done; `port`: the DICOM door."""
        self._jobs()
        self._orders(exactly=True)
        self._objects(exactly=True)
        self._delivered()
        self._performed()
        self._told()
        self._worklist(port)

    def under_way(self) -> bool:
        """Jobs are tried, or wait for their turn behind none that is held."""
        stuck = "(SELECT group_key FROM job WHERE state = 'held' AND group_key IS NOT NULL)"
        return self._rows(
            f"SELECT 1 FROM job WHERE state NOT IN ('done', 'held') AND (group_key IS NULL OR group_key NOT IN {stuck})"
        ) != []  # fmt: skip

    def _jobs(self) -> None:
        unfinished = "SELECT kind, lane, state, last_error, attempts, failures FROM job WHERE state <> 'done'"
        self._same("jobs done", self._rows(unfinished))

    def _same(self, name: str, different: Iterable[Any]) -> None:
        if odd := sorted(map(str, different)):
            self.differences.append(f"{name}: {len(odd)} differ, such as {odd[:3]}")

    def _orders(self, *, exactly: bool) -> None:
        ledger = self._ledger
        found = Counter({name: int(count) for name, count in self._rows(
            "SELECT filler_number, count(*) FROM service_request GROUP BY filler_number")})  # fmt: skip
        steps = Counter({name: int(count) for name, count in self._rows(
            "SELECT accession, count(*) FROM scheduled_step GROUP BY accession")})  # fmt: skip
        self._same("orders stored", {n for n in ledger.placed if (found[f"FI{n}"], steps[f"A{n}"]) != (1, 1)})
        self._same("orders twice", {name for name, count in (found + steps).items() if count > 1})
        if exactly:
            self._same("orders nobody sent", found.keys() - {f"FI{n}" for n in ledger.placed})
            journal = self._rows("SELECT count(*), count(DISTINCT control_id) FROM message WHERE accepted")
            count = len(ledger.placed) + len(ledger.changed) + len(ledger.canceled)
            self._same("messages in the journal", set() if journal == [(count, count)] else {(count, *journal[0])})

    def _objects(self, *, exactly: bool) -> None:
        found = self._rows("SELECT sop_instance_uid, count(*), min(state) FROM instance GROUP BY sop_instance_uid")
        kept = {uid for uid, count, state in found if (count, state) == (1, "routed")}
        self._same("objects stored", self._ledger.images.keys() - kept)
        self._same("objects twice or held", {uid for uid, *_ in found} - kept)
        if exactly:
            self._same("objects nobody sent", kept - self._ledger.images.keys())
            jobs = self._rows("SELECT count(*), count(DISTINCT subject) FROM job WHERE kind = 'deliver'")
            self._same("deliveries", set() if jobs == [(len(kept), len(kept))] else {(len(kept), *jobs[0])})

    def _delivered(self) -> None:
        digests = self._ledger.images.values()
        self._same("objects delivered", {d.hex() for d in digests if d not in self._pacs.taken})
        self._same("objects delivered that nobody sent", {d.hex() for d in self._pacs.taken.keys() - set(digests)})

    def again(self) -> int:
        """How many objects the PACS got that it had."""
        return sum(self._pacs.taken.values()) - len(self._pacs.taken)

    def _performed(self) -> None:
        found = self._rows(
            "SELECT m.sop_instance_uid, m.status, m.linking, s.accession, s.status,"
            " (SELECT count(*) FROM mpps_message WHERE mpps = m.id)"
            " FROM mpps m JOIN mpps_link l ON l.mpps = m.id LEFT JOIN scheduled_step s ON s.id = l.step"
        )
        wanted = {(mpps_uid(n), "COMPLETED", "linked", f"A{n}", "COMPLETED", 2) for n in self._ledger.ended}
        told = [(*(part.decode() if isinstance(part, bytes) else part for part in row),) for row in found]
        self._same("MPPS", wanted.symmetric_difference(told))
        self._same("MPPS twice", {row for row, count in Counter(told).items() if count > 1})
        sent = {mpps_uid(n): "COMPLETED" for n in self._ledger.ended}
        self._same("MPPS passed on", set(sent.items()).symmetric_difference(self._manager.status.items()))

    def _told(self) -> None:
        heard: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for told in self._ris.told:
            heard[told.get("ORC", 2)].setdefault(told.control_id, told.status)
        said = {placer: tuple(statuses.values()) for placer, statuses in heard.items()}
        wanted = {f"PL{n}^RIS": ("IP", "CM") for n in self._ledger.ended}
        self._same("feedback", set(wanted.items()).symmetric_difference(said.items()))
        raw: defaultdict[str, set[bytes]] = defaultdict(set)
        for told in self._ris.told:
            raw[told.control_id].add(told.raw)
        self._same("feedback with other bytes under the same control id", {k for k, v in raw.items() if len(v) > 1})

    def _worklist(self, port: int) -> None:
        ledger = self._ledger
        wanted = set()
        for n in ledger.placed:
            kind = fate(n)
            if kind in (Fate.PLAIN, Fate.CHANGED):
                start, name = (LATER, LATER_NAME) if kind is Fate.CHANGED else ("20300312103000", "Müller^Käthe")
                wanted.add((f"A{n}", f"QZPAT{n}", name, f"2.999.7.{n}", f"RP{n}", f"SPS{n}", station(n), start))
        listed = worklist(port)
        self._same("worklist", wanted.symmetric_difference(listed))
        self._same("worklist twice", {row for row, count in Counter(listed).items() if count > 1})


KEYS: dict[Any, Any] = {
    "SpecificCharacterSet": "ISO_IR 192", "PatientName": "", "PatientID": "", "AccessionNumber": "",
    "StudyInstanceUID": "", "RequestedProcedureID": "",
    SPS: [{STATION: "", DATE: "", TIME: "", "Modality": "CT", "ScheduledProcedureStepID": ""}],
}  # fmt: skip


def worklist(port: int) -> list[tuple[str, ...]]:
    """The whole worklist as pynetdicom reads it."""
    ae = AE("ACCOUNT")
    ae.add_requested_context(ModalityWorklistInformationFind)
    ae.dimse_timeout = ae.network_timeout = 300
    association = ae.associate("127.0.0.1", port, ae_title="BROKER")
    assert association.is_established
    found = []
    for status, item in association.send_c_find(dataset(KEYS), ModalityWorklistInformationFind):
        if item is None:
            assert status.Status == 0, hex(status.Status)
            continue
        [step] = item[SPS].value
        start = f"{step[DATE].value}{step[TIME].value}"
        found.append((
            str(item.AccessionNumber), str(item.PatientID), str(item.PatientName), str(item.StudyInstanceUID),
            str(item.RequestedProcedureID), str(step.ScheduledProcedureStepID), str(step[STATION].value), start,
        ))  # fmt: skip
    association.release()
    return found
