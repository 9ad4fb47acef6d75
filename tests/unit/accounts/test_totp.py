"""Codes of apps and recovery codes: the vectors of RFC 6238, the time for which a code counts, and how it is typed."""

from __future__ import annotations

import base64
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.accounts.second_factor import recovery, totp
from broker.accounts.second_factor.seal import Seal, SealBroken

SECRET = b"12345678901234567890"
# RFC 6238 appendix B, SHA-1: time and the last six of the eight digits
VECTORS = [
    (59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (2000000000, "279037"),
    (20000000000, "353130"),
]  # fmt: skip


@pytest.mark.parametrize(("at", "code"), VECTORS)
def test_codes_are_those_of_the_standard(at: int, code: str) -> None:
    assert totp.code_at(SECRET, at // 30) == code
    assert totp.step_of(SECRET, code, float(at), 0) == at // 30


def test_a_code_counts_half_a_minute_before_and_after() -> None:
    step = 60_000_000
    code, begins = totp.code_at(SECRET, step), step * 30.0
    within = [at for at in range(-90, 120, 10) if totp.step_of(SECRET, code, begins + at, 0) == step]
    assert (within[0], within[-1]) == (-30, 50)


def test_a_code_that_was_used_counts_no_more() -> None:
    step = 60_000_000
    at = step * 30.0 + 5
    assert totp.step_of(SECRET, totp.code_at(SECRET, step), at, step - 1) == step
    assert totp.step_of(SECRET, totp.code_at(SECRET, step), at, step) is None
    assert totp.step_of(SECRET, totp.code_at(SECRET, step - 1), at, step) is None  # nor one of before it
    assert totp.step_of(SECRET, totp.code_at(SECRET, step + 1), at, step) == step + 1


@pytest.mark.parametrize("text", ["", "12345", "1234567", "12345a", "١٢٣٤٥٦", "123456\n", "-12345", "12 456"])
def test_what_is_no_code(text: str) -> None:
    assert not totp.looks_like_one(text)
    assert totp.step_of(SECRET, text, 59.0, 0) is None


@given(st.text(max_size=40), st.text(max_size=40))
def test_the_address_keeps_what_apps_need(account: str, place: str) -> None:
    secret = totp.new_secret()
    parts = urlsplit(totp.address(secret, account, place))
    query = parse_qs(parts.query, keep_blank_values=True)
    assert (parts.scheme, parts.netloc) == ("otpauth", "totp")
    assert unquote(parts.path.removeprefix("/")) == f"{place}:{account}"
    assert base64.b32decode(query["secret"][0]) == secret
    assert (query["issuer"], query["digits"], query["period"]) == ([place], ["6"], ["30"])


def test_recovery_codes_are_long_and_different() -> None:
    codes = recovery.new_codes()
    assert len({recovery.digest_of(code) for code in codes}) == recovery.COUNT == 10
    assert {len(code.replace("-", "")) for code in codes} == {24}  # 5 bits each: at least 112


def test_a_recovery_code_is_read_however_it_is_typed() -> None:
    code = "0123-4567-89ab-cdef-ghjk-mnpq"
    for typed in (
        code.upper(),
        code.replace("-", ""),
        f"  {code} ",
        "o123 4567 89AB cdef ghjk mnpq",
        code.replace("1", "l"),
    ):
        assert recovery.digest_of(typed) == recovery.digest_of(code) is not None
    for typed in ("", "123456", code[:-1], code + "0", code.replace("b", "u"), "x" * 10_000, "é" * 24):
        assert recovery.digest_of(typed) is None


def test_a_seal_tells_nothing_and_is_bound() -> None:
    seal, other = Seal(lambda: b"k" * 32), Seal(lambda: b"o" * 32)
    sealed = seal.close(SECRET, "user 1")
    assert SECRET not in sealed
    assert sealed != seal.close(SECRET, "user 1")
    assert seal.open(sealed, "user 1") == SECRET
    for broken, about, by in (
        (sealed, "user 2", seal), (sealed, "user 1", other), (sealed[:-1], "user 1", seal), (b"", "user 1", seal),
        (sealed[:-1] + bytes([sealed[-1] ^ 1]), "user 1", seal),
    ):  # fmt: skip
        with pytest.raises(SealBroken):
            by.open(broken, about)
