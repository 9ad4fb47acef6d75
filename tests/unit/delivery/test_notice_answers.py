"""What a webhook's status and Retry-After mean, and what a notice says in words."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from broker.delivery.notices.answer import NoticeVerdict
from broker.delivery.notices.webhook_sender import meaning
from broker.delivery.notices.wording import Teller, document, mail, plain
from broker.delivery.web.http_parts import LONGEST_WAIT
from broker.site.tables.mail import Mail
from broker.status.causes import reason
from broker.store.notices import RuleNotice, StoredNotice

NOW = datetime(2026, 12, 2, 8, tzinfo=UTC)
TABLE = Mail(sender="broker@hospital.example", to=("it@hospital.example",))
TELLER = Teller("BROKER", UTC, "https://broker.example")


def told(rule: str = "r", order: int = 0, **more: Any) -> StoredNotice:
    parts: dict[str, Any] = {
        "rule": rule, "rules_version": 1, "action": "notify", "destinations": (), "level": "instance",
        "device": "CT01", "modality": "CT", "key": "k",
    }  # fmt: skip
    return StoredNotice(at=0.0, notice=RuleNotice(**parts | more), objects=3, order=order)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (200, "done"), (204, "done"), (299, "done"), (300, "held"), (304, "held"), (400, "held"), (401, "held"),
        (404, "held"), (408, "again"), (410, "held"), (429, "away"), (500, "again"), (503, "away"), (504, "again"),
        (199, "held"), (600, "held"),
    ],
)  # fmt: skip
def test_each_status_has_a_meaning(status: int, verdict: str) -> None:
    answer = meaning(status, "", 0.0)
    assert (answer.verdict, answer.code, answer.after) == (NoticeVerdict(verdict), f"http-{status}", 0)
    assert reason(answer.code).values["code"] == str(status)  # said in words where it is held


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120), (" 7 ", 7), ("0", 0), ("", 0), ("-5", 0), ("1e9", 0), ("soon", 0), ("９", 0),
        ("99999999999999999999", LONGEST_WAIT), ("Wed, 02 Dec 2026 08:01:00 GMT", 60),
        ("Wed, 02 Dec 2020 08:01:00 GMT", 0), ("Wed, 02 Dec 9999 08:01:00 GMT", LONGEST_WAIT),
    ],
)  # fmt: skip
def test_retry_after_is_read_and_capped(text: str, seconds: float) -> None:
    assert meaning(503, text, NOW.timestamp()).after == seconds


@given(some.text(max_size=60))
def test_any_retry_after_is_bounded(text: str) -> None:
    assert 0 <= meaning(429, text, NOW.timestamp()).after <= LONGEST_WAIT


@given(some.text(min_size=1, max_size=200), some.text(max_size=64), some.text(max_size=64))
def test_no_text_begins_a_header_or_breaks_the_form(rule: str, device: str, modality: str) -> None:
    """Whatever a rule is called or a device says of itself."""
    raw = mail(told(rule, device=device, modality=modality), ["a", "b"], TELLER, TABLE, NOW)
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert b"\n" not in raw.replace(b"\r\n", b"")
    head = raw.partition(b"\r\n\r\n")[0]
    names = [line.partition(b":")[0] for line in head.split(b"\r\n") if line[:1] not in (b" ", b"\t")]
    assert sorted(names) == sorted(
        [b"From", b"To", b"Subject", b"Date", b"Message-ID", b"Auto-Submitted", b"MIME-Version", b"Content-Type",
         b"Content-Transfer-Encoding"]
    )  # fmt: skip
    read = message_from_bytes(raw, policy=default)
    assert read["To"] == "it@hospital.example"


def test_a_notice_names_a_device_of_one_title_and_leads_to_the_exam() -> None:
    assert document(told(), ["ct1"], TELLER)["device"] == {"ae_title": "CT01", "node": "ct1"}
    assert document(told(), ["ct1", "ct2"], TELLER)["device"]["node"] == ""
    assert document(told(), [], Teller("BROKER", UTC, ""))["link"] == ""
    assert document(told(order=12), [], TELLER)["link"] == "https://broker.example/exams/12"
    assert plain("a\r\nb\0c\u2028d") == "a  b c d"
