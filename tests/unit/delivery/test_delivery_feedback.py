"""What a RIS answers, and what that means for a message to it."""

from __future__ import annotations

import pytest

from broker.delivery.feedback.answers import RisAnswer, answers, read, verdict
from broker.site.feedback import Feedback


def ack(code: str, control_id: str = "BRK1", more: str = "", version: str = "2.3.1") -> bytes:
    return f"MSH|^~\\&|RIS||BROKER||2026||ACK|1|P|{version}\rMSA|{code}|{control_id}\r{more}".encode()


@pytest.mark.parametrize(
    ("raw", "right"),
    [
        (ack("AA"), True), (ack("AE"), True), (ack("AA", " BRK1 "), True), (ack("AA", "BRK2"), False),
        (ack("AA", ""), False), (ack("AA", "brk1"), False), (ack("AA", "BRK"), False), (b"", False), (b"\0\xff", False),
        (b"MSH|^~\\&|RIS||BROKER||2026||ORM^O01|BRK1|P|2.3.1\rORC|NW|1\r", False),
        (b"MSA|AA|BRK1\r", False), (ack("AA").replace(b"\r", b"\n"), True),
    ],
)  # fmt: skip
def test_an_answer_is_known_by_our_control_id(raw: bytes, right: bool) -> None:
    assert answers(raw, "BRK1") is right


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (ack("AA"), "AA"), (ack("aa"), "AA"), (ack("CE"), "CE"),
        (ack("AE", more="ERR||ORC^1^2|204^Unknown key identifier^HL70357|E||||Patient Müller\r", version="2.5"),
         "AE-204"),
        (ack("AE", more="ERR|ORC^1^2^204&Unknown key&HL70357\r"), "AE-204"),
        (ack("AR", more="ERR||MSH^1^9|Müller^Käthe|E\r"), "AR"),
        (ack("AE", more="ERR||MSH^1^9|123456|E\r"), "AE"),
        (ack("Müller"), "unknown-code"), (ack(""), "unknown-code"),
    ],
)  # fmt: skip
def test_an_answer_is_kept_as_codes_alone(raw: bytes, shown: str) -> None:
    assert str(read(raw)) == shown


@pytest.mark.parametrize(
    ("code", "keys", "tries", "wanted"),
    [
        ("AA", {}, 1, "done"), ("CA", {}, 9, "done"),
        ("AE", {}, 1, "retry"), ("CE", {}, 2, "retry"), ("AE", {}, 3, "hold"), ("AR", {}, 1, "hold"),
        ("CR", {}, 1, "hold"), ("unknown-code", {}, 1, "retry"), ("unknown-code", {}, 3, "hold"),
        ("AE", {"on_error": "hold"}, 1, "hold"), ("AR", {"on_reject": "retry"}, 2, "retry"),
        ("AR", {"on_reject": "retry", "attempts": 2}, 2, "hold"), ("AE", {"attempts": 1}, 1, "hold"),
    ],
)  # fmt: skip
def test_verdict(code: str, keys: dict[str, object], tries: int, wanted: str) -> None:
    assert verdict(RisAnswer(code), Feedback.model_validate(keys), tries) == wanted
