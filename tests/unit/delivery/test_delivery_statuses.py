"""Statuses of a destination (PS3.4 B.2.3, PS3.7 annex C) and what they mean for the job."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from broker.delivery.outcome import RequestKind, verdict
from broker.dicom.dimse import status as st


@pytest.mark.parametrize("status", [0x0000, 0x0001, 0xB000, 0xB006, 0xB007, 0xBFFF, 0x0107, 0x0116])
def test_success_and_warnings_are_done(status: int) -> None:
    assert verdict(RequestKind.STORE, status) == "done"


@pytest.mark.parametrize("status", [0xA700, 0xA701, 0xA7FF, 0x0110])
def test_trouble_of_the_destination_is_worth_another_try(status: int) -> None:
    assert verdict(RequestKind.STORE, status) == "busy"
    assert verdict(RequestKind.STORE, status, again=True) == "busy"


@pytest.mark.parametrize(
    "status", [0xA900, 0xA9FF, 0xC000, 0xC123, 0xCFFF, 0x0122, 0x0124, 0x0211, 0x0117, 0xFE00, 0xFF00, 0xA800, 0x0111]
)
def test_a_refusal_needs_a_person(status: int) -> None:
    assert verdict(RequestKind.STORE, status) == "refused"


def test_our_own_duplicate_is_done() -> None:
    """The answer to an earlier attempt was lost; a first attempt that is a duplicate is somebody else's object."""
    assert verdict(RequestKind.STORE, 0x0111, again=True) == "done"
    assert verdict(RequestKind.STORE, 0x0111) == "refused"


@given(some.integers(0, 0xFFFF), some.integers(1, 10))
def test_every_status_has_a_verdict_and_only_success_and_warnings_are_done(status: int, attempts: int) -> None:
    found = verdict(RequestKind.STORE, status, again=attempts > 1)
    assert found in ("done", "busy", "refused")
    if found == "done":
        assert status in (0, 1, 0x0107, 0x0111, 0x0116) or status >> 12 == 0xB


def test_pending_is_neither_success_nor_final() -> None:
    assert st.is_pending(0xFF00)
    assert st.is_pending(0xFF01)
    assert not st.is_pending(0xFE00)
    assert not st.is_success_or_warning(0xFF00)
