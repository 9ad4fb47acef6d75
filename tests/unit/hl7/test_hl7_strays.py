from __future__ import annotations

import pytest

from broker.hl7.message import parse

HEAD = "MSH|^~\\&|A|B|C|D|T||ORM^O01|1|P|2.5.1||||||UNICODE UTF-8\r"


@pytest.mark.parametrize(
    ("rest", "places"),
    [
        ("PID|1||7||DOE\x00^A||1970", ["PID^1^5"]), ("PID|1||7||M\ufffdLLER^A", ["PID^1^5"]),
        ("PID|1||7||DOE\x1b$A<\x1b(B^A", ["PID^1^5"]), ("PID|1||7||\x7fDOE\r\nNTE|1||a\x85b\nNTE|2||\x01\x02c",
            ["PID^1^5", "NTE^1^3", "NTE^2^3"]), ("PID|1||7||DOE\tA", []), ("PID|1||7||DOE\r\x00\x1a", []),
        ("PID|1||7||DOE^A\x00\x00", []), ("\x01PID|1||7||DOE^A", []),
    ],
)  # fmt: skip
def test_what_is_no_text_is_told_at_its_field(rest: str, places: list[str]) -> None:
    message = parse((HEAD + rest + "\r").encode())
    assert [(f.location, f.severity) for f in message.findings] == [(place, "W") for place in places]
    assert message.get("PID-3") == "7"


def test_a_header_and_many_places() -> None:
    head = HEAD.replace("|B|", "|B\x01|")
    message = parse((head + "".join(f"NTE|{n}||\x02x\r" for n in range(50))).encode())
    assert message.findings[0].location == "MSH^1^4"
    assert len(message.findings) == 20
