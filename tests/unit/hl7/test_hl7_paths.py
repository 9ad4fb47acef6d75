"""Paths that choose segments and repetitions by what they say."""

from __future__ import annotations

import pytest

from broker.hl7.message import parse
from broker.hl7.paths import path

LINES = (
    "MSH|^~\\&|A|B|C|D|2026||ORU^R01|1|P|2.5.1", "PID|||1^^^X~2^^^Y&1.2&ISO^NI~3^^^X^MR",
    "OBX|1|ST|A^a||one||||||P", "OBX|2|ST|TM^t&u~B||two||||||F", "OBX|3|ST|TM^v||three~four||||||P", "NTE|1||note",
    "OBX|4|ST|||five",
)  # fmt: skip
MESSAGE = parse("\r".join(LINES).encode())


@pytest.mark.parametrize(
    ("where", "value", "place"),
    [
        ("OBX-5", "one", "OBX^1^5"),
        ("OBX[3.1=TM].5", "two", "OBX^2^5"),
        ("OBX[3.1=tm]-5", "two", "OBX^2^5"),
        ("OBX[3.1=T?].5.1", "two", "OBX^2^5"),
        ("OBX[3.1=TM][11=P].5", "three", "OBX^3^5"),
        ("OBX[3.1=TM][11=P].5[2]", "four", "OBX^3^5"),
        ("OBX[3.2.2=u].5", "two", "OBX^2^5"),
        ("OBX[3.1=B].5", "two", "OBX^2^5"),
        ("OBX[3=].5", "five", "OBX^4^5"),
        ("OBX[1=*].5", "one", "OBX^1^5"),
        ("OBX[3.1=Z].5", "", "OBX^1^5"),
        ("PID-3[5=NI].1", "2", "PID^1^3"),
        ("PID-3[4.1=x].1", "1", "PID^1^3"),
        ("PID-3[4=X][5=MR].1", "3", "PID^1^3"),
        ("PID-3[4.1=X][2].1", "3", "PID^1^3"),
        ("PID-3[4.2=1.2].4.3", "ISO", "PID^1^3"),
        ("PID-3[5=ZZ].1", "", "PID^1^3"),
        ("OBX/NTE[1=1].3", "note", "NTE^1^3"),
    ],
)
def test_a_path_chooses(where: str, value: str, place: str) -> None:
    assert MESSAGE.get(where) == value
    assert MESSAGE.at(where) == place


@pytest.mark.parametrize(
    "where", ["OBX.5", "OBX[3.1].5", "OBX[=A].5", "OBX[3.1=A", "OBX[3.1=A].", "PID-3[5=NI", "OBX[a=b].5"]
)
def test_other_texts_are_no_paths(where: str) -> None:
    with pytest.raises(ValueError, match="not a path"):
        path(where)
