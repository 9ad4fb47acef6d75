"""Messages in the journal of a database, received by its own door or put there, and messages that were sent."""

from __future__ import annotations

from broker.model.message import SentMessage
from broker.store.db.database import Database
from broker.store.journal import sent
from support.orders.hospital import Hospital

ANSWER = b"MSH|^~\\&|RIS|H|BROKER|RAD|20300312||ACK|X|P|2.5.1\rMSA|AE|C1\rERR||ORC^1^2|204^Unknown key^HL70357|E\r"
GOOD = b"MSH|^~\\&|RIS|H|BROKER|RAD|20300312||ACK|X|P|2.5.1\rMSA|AA|C1\r"


def order_message(
    number: int, *, sender: str = "RIS", control_id: str = "", modality: str = "CT", birth: str = "19700203"
) -> bytes:
    """An order with accession A and its number, of patient QZPAT and its number."""
    lines = (
        f"MSH|^~\\&|{sender}|SITE|BROKER|RAD|20300101080000||ORM^O01|{control_id or f'{sender}{number}'}|P|2.5.1",
        f"PID|||QZPAT{number}^^^HOSP||QZname^Anna||{birth}|F",
        f"ORC|NW|P{number}|||||^^^20300115100000",
        f"OBR|1|P{number}||CHEST^Chest||||||||||||||A{number}||||||{modality}",
    )
    return "".join(f"{line}\r" for line in lines).encode()


def send(database: Database, *messages: bytes) -> list[bytes]:
    """Let the door of a broker take messages; its answers."""
    hospital = Hospital(database)
    return [hospital.send(message) or b"" for message in messages]


def tell(
    database: Database,
    order: int,
    at: float,
    *,
    event: str = "completed",
    code: str = "AA",
    error: str = "",
    job: int = 0,
) -> None:
    """Put a message that told a RIS of an order, with its answer."""
    told = SentMessage(
        at=at,
        node="ris",
        request=order,
        job=job,
        event=event,
        control_id=f"C{at:.0f}",
        message_type="ORM^O01",
        raw=order_message(order, sender="BROKER"),
        answer_code=code,
        answer={"AA": GOOD, "AE": ANSWER}.get(code, b""),
        error=error,
    )
    database.execute(sent.record, told)
