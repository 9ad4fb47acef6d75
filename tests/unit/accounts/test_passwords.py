"""Hashes of passwords: argon2id, two at once, with a bounded queue; nobody costs as much as somebody."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Iterator

import pytest

from broker.accounts.passwords import THREADS, WAITING, Passwords, TooManyAtOnce


@pytest.fixture
def cheap() -> Iterator[Passwords]:
    made = Passwords(memory=8, passes=1, lanes=1)
    yield made
    made.close()


def test_a_password_is_told_from_another(cheap: Passwords) -> None:
    encoded = cheap.hash("correct horse").result(20)
    assert encoded.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert encoded != cheap.hash("correct horse").result(20)  # another salt
    assert cheap.verify(encoded, "correct horse").result(20)
    assert not cheap.verify(encoded, "correct horse ").result(20)
    assert not cheap.outdated(encoded)


def test_a_password_is_verified_as_it_was_typed(cheap: Passwords) -> None:
    """Nothing is cut, no case is changed. The same characters of two keyboards are the same (NIST SP 800-63B-4)."""
    long = "Ä long pass phrase, " * 6 + "to its end"
    encoded = cheap.hash(long).result(20)
    assert cheap.verify(encoded, unicodedata.normalize("NFD", long)).result(20)
    for other in (
        long[:-1],
        long + " ",
        long.lower(),
        long.upper(),
        long.strip("."),
        long.replace("Ä", "A"),
        f" {long}",
    ):
        assert cheap.verify(encoded, other).result(20) == (other == long), other


@pytest.mark.parametrize("encoded", ["", "x", "$argon2id$v=19$m=8,t=1,p=1$", "$2b$12$abcdefghijklmnopqrstuv"])
@pytest.mark.parametrize("password", ["", "x"])
def test_what_is_no_hash_fits_no_password(cheap: Passwords, encoded: str, password: str) -> None:
    assert cheap.verify(encoded, password).result(20) is False


def test_a_user_without_password_costs_a_hash(cheap: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    verified = []
    real = cheap._hasher.verify

    class Counting:
        def verify(self, encoded: str, password: bytes) -> bool:
            verified.append(encoded)
            return real(encoded, password)

        hash = cheap._hasher.hash

    monkeypatch.setattr(cheap, "_hasher", Counting())
    assert cheap.verify("", "something").result(20) is False
    assert [encoded[:9] for encoded in verified] == ["$argon2id"]


def test_the_usual_cost_is_that_of_the_standard() -> None:
    """RFC 9106 section 4, second choice; OWASP ASVS 5.0 appendix C asks for less."""
    usual = Passwords()
    encoded = usual.hash("x").result(60)
    usual.close()
    assert encoded.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_a_flood_is_refused_and_then_it_goes_on(cheap: Passwords, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, running, most = threading.Event(), [0], [0]
    lock = threading.Lock()

    class Slow:
        def hash(self, password: bytes) -> str:
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            gate.wait(20)
            with lock:
                running[0] -= 1
            return "done"

    monkeypatch.setattr(cheap, "_hasher", Slow())
    waiting = [cheap.hash("x") for _ in range(THREADS + WAITING)]
    for _ in range(3):
        with pytest.raises(TooManyAtOnce):
            cheap.hash("x")
    gate.set()
    assert {future.result(20) for future in waiting} == {"done"}
    assert most[0] == THREADS
    assert cheap.hash("x").result(20) == "done"


def test_after_the_end_nothing_begins() -> None:
    ended = Passwords(memory=8, passes=1, lanes=1)
    ended.close()
    with pytest.raises(TooManyAtOnce):
        ended.hash("x")


def test_a_character_is_the_same_from_each_keyboard(cheap: Passwords) -> None:
    encoded = cheap.hash("caf\u00e9 au lait 17").result(20)
    assert cheap.verify(encoded, "cafe\u0301 au lait 17").result(20)
    assert not cheap.verify(encoded, "cafe au lait 17").result(20)
    assert not cheap.verify(encoded, "\udcff\0").result(20)
