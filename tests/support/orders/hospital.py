"""A broker's HL7 door and worklist in one process, without sockets: messages in, answers and worklist items out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset

from broker.hl7.mllp import framing
from broker.orders.inbound.reception import Interface
from broker.orders.listener import OrderDoor
from broker.orders.mapping.book import ProfileBook
from broker.orders.mapping.document import read as read_profile
from broker.store.db.database import Database
from broker.worklist.scp import WorklistService
from support.loops import shortly
from support.orders.intake import PEER, ZONE
from support.worklist.worklist import IMPLICIT, SPS, encoded, read
from support.worklist.worklist_table import ROWS

# other attributes of the patient module, which a device may ask for (PS3.4 table K.6-1)
MORE = (
    "PatientAddress", "PatientTelephoneNumbers", "PatientReligiousPreference", "CountryOfResidence", "PatientAge",
    "MilitaryRank", "BranchOfService", "Occupation", "EthnicGroup", "RegionOfResidence", "PatientBirthTime",
    "AdditionalPatientHistory", "LastMenstrualDate", "SmokingStatus", "PatientInstitutionResidence",
)  # fmt: skip
PENDING = (0xFF00, 0xFF01)


class _Request:
    """What the worklist door sees of a C-FIND-RQ; it keeps what is answered."""

    def __init__(self, identifier: bytes, calling_ae: str, having: Sequence[str]) -> None:
        self.command = SimpleNamespace(message_id=1)
        self.context = SimpleNamespace(abstract_syntax="1.2.840.10008.5.1.4.31", transfer_syntax=IMPLICIT)
        self.peer = SimpleNamespace(calling_ae=calling_ae, called_ae="BROKER", address="127.0.0.1", extended={})
        self.data, self.cancelled = self, False
        self.status, self.items = -1, list[Dataset]()
        self._identifier = identifier
        self._having = [text.encode() for text in having]

    async def read_all(self, limit: int) -> bytes:
        return self._identifier

    async def respond(self, status: int, data: bytes | None = None, *, comment: str = "", offending: int = 0) -> None:
        if status in PENDING:
            if not self._having or any(text in (data or b"") for text in self._having):
                self.items.append(read(data or b""))
        else:
            self.status = status

    async def respond_all(self, status: int, answers: Sequence[bytes]) -> int:
        for data in answers:
            await self.respond(status, data)
        return len(answers)


def everything() -> dict[str, Any]:
    """Keys that ask for all attributes of table K.6-1 and of the patient module, and match everything."""
    keys: dict[str, Any] = dict.fromkeys(MORE, "")
    for row in ROWS:
        level = keys
        for keyword in row.path[:-1]:
            if not level.get(keyword):
                level[keyword] = [{}]
            level = level[keyword][0]
        level.setdefault(row.path[-1], [] if row.vr == "SQ" else None if row.vr == "US" else "")
    return keys


@cache
def _everything() -> bytes:
    return encoded(everything(), charset=["ISO_IR 192"])


@cache
def _built_in() -> ProfileBook:
    return ProfileBook()


class Hospital:
    """A database with one HL7 listener and a worklist. `profiles` are mapping profiles as TOML."""

    def __init__(self, database: Database, profiles: Sequence[str] = (), **interface: Any) -> None:
        """`interface` are fields of `Interface`."""
        documents = [read_profile(text, "profile of the case") for text in profiles]
        self.book = ProfileBook({document["name"]: document for document in documents}) if documents else _built_in()
        self.interface = Interface(**{"name": "test", **interface})
        self.database = database
        self.door = OrderDoor(database, self.interface, self.book.choose, zone=ZONE, default_station="UNASSIGNED")
        self._worklist = WorklistService(database, max_answers=10_000, charset="ISO_IR 192", zone=ZONE)

    def send(self, raw: bytes) -> bytes | None:
        """The answer to a message, None where the door closes the connection."""
        answer = shortly(self.door.handle(raw, PEER))
        return None if answer is None else framing.parts(answer)[-1] if answer else b""

    def find(
        self, identifier: bytes | None = None, calling_ae: str = "CT01", having: Sequence[str] = ()
    ) -> tuple[int, list[Dataset]]:
        """Status and answers of a C-FIND; of one that asks for everything without an `identifier`.

        Only answers are read that contain one of the texts of `having`, if there are any (pydicom takes its time).
        """
        request = _Request(_everything() if identifier is None else identifier, calling_ae, having)
        shortly(self._worklist.find(request))  # type: ignore[arg-type]
        return request.status, request.items


def texts(item: Dataset, prefix: str = "") -> dict[str, str]:
    """An answer as texts by keyword; those of the step begin with `step.`, of an item of a sequence with its name."""
    found: dict[str, str] = {}
    for element in item:
        name = prefix + (keyword_for_tag(element.tag) or str(element.tag))
        if element.VR == "SQ":
            for number, below in enumerate(element.value or ()):
                found.update(texts(below, "step." if name == SPS else f"{name}[{number}]."))
        elif element.VM > 1:
            found[name] = str([str(value) for value in element.value])
        elif element.value not in (None, ""):
            found[name] = str(element.value)
    return found


def shows(found: Mapping[str, str], wanted: Sequence[str]) -> bool:
    """Whether an item fulfils conditions: `Keyword=value` exactly, `Keyword~text` contains."""
    for condition in wanted:
        equal, contains = condition.find("="), condition.find("~")
        exact = contains < 0 or 0 <= equal < contains
        keyword, value = condition.split("=" if exact else "~", 1)
        have = found.get(keyword, "")
        if (have != value) if exact else (not have or value not in have):
            return False
    return True
