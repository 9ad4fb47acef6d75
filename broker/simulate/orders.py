"""Makes synthetic patients and orders for them. Every name says in its language that it is a test."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from broker.simulate.stations import Station

Group = tuple[str, str]  # family and given name

# one name in up to three writings: alphabetic, ideographic, phonetic
_NAMES: tuple[tuple[Group, ...], ...] = (
    (("Testmüller", "Änne"),),
    (("Essai-Lefèvre", "Zoé Françoise"),),
    (("SHIKEN", "Hanako"), ("試験", "花子"), ("しけん", "はなこ")),
    (("Δοκιμή", "Ελένη"),),
    (("Prøve-Åsen", "Søren"),),
    (("Ñemuestra", "José María"),),
    (("Próbny", "Łukasz"),),
    (("TESUTO", "Tarō"), ("テスト", "太郎"), ("てすと", "たろう")),
    (("Тестова", "Юлия"),),
    (("O'Trial", "Siobhán"),),
    (("Zkušební", "Jiří"),),
    (("Test", "Ann"),),
)


@dataclass(frozen=True, slots=True)
class SimulatedPatient:
    """A synthetic patient."""

    patient_id: str
    name: tuple[Group, ...]
    birth_date: date
    sex: str

    @property
    def person_name(self) -> str:
        """The name as a DICOM PN (PS3.5 6.2.1)."""
        return "=".join("^".join(group) for group in self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedOrder:
    """One order with one procedure of one step. `start` is the wall clock of the site."""

    number: int
    patient: SimulatedPatient
    station: Station
    accession: str
    study_instance_uid: str
    start: datetime

    @property
    def placer(self) -> str:
        """Placer order number."""
        return f"P{self.accession}"

    @property
    def filler(self) -> str:
        """Filler order number."""
        return f"F{self.accession}"

    @property
    def procedure_id(self) -> str:
        """Requested Procedure ID."""
        return f"RP{self.accession[3:]}"

    @property
    def step_id(self) -> str:
        """Scheduled Procedure Step ID."""
        return f"SPS{self.accession[3:]}"


def patient(number: int) -> SimulatedPatient:
    """The n-th synthetic patient."""
    born = date(1931, 1, 1) + timedelta(days=number * 977 % 30_000)
    return SimulatedPatient(f"SIM-{number:06d}", _NAMES[number % len(_NAMES)], born, "FMO"[number % 3])


def make_orders(count: int, day: date, stations: Sequence[Station]) -> list[SimulatedOrder]:
    """`count` orders on `day`, over all stations in turn, from 8 o'clock on."""
    begin = datetime.combine(day, time(8))
    return [
        SimulatedOrder(
            number=number,
            patient=patient(number),
            station=stations[number % len(stations)],
            accession=f"SIM{day:%y%m%d}{number:04d}",
            study_instance_uid=f"2.25.{uuid.uuid4().int}",
            start=begin + timedelta(minutes=5 * (number % 120)),
        )
        for number in range(count)
    ]
