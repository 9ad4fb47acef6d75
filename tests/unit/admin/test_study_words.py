"""The words of the pages of studies: every state has some, and what was done with a study is told whole."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from broker.admin.web.studies import detail, overview, words
from broker.admin.web.words import Language
from broker.delivery.resending import ResendEnding
from broker.store.images.instances import InstanceState
from broker.store.studies.counting import DeliveryState, DestinationCount
from broker.store.studies.finding import StudyFilter
from broker.store.studies.objects import ObjectDelivery

SAY = Language("en", UTC).say
DAY = 86_400.0


def test_every_state_has_words() -> None:
    assert set(words.DELIVERIES) == set(words.DELIVERED) == set(DeliveryState)
    assert set(words.STAYS) == set(words.OBJECTS) == set(InstanceState) - {InstanceState.ROUTED}


def test_a_destination_is_told_by_its_states_in_one_order() -> None:
    one = DestinationCount("pacs", {DeliveryState.HELD: 1, DeliveryState.SENT: 12_000, DeliveryState.WAITING: 0}, {})
    assert [(tone, SAY(said)) for tone, said in words.delivered(one)] == [("ok", "12,000 sent"), ("bad", "1 held")]
    proven = DestinationCount("pacs", {DeliveryState.SENT: 2}, {}, 2)
    assert [SAY(said) for _, said in words.delivered(proven)] == ["2 sent", "2 committed"]


@pytest.mark.parametrize(
    ("state", "error", "said", "why"),
    [
        (DeliveryState.SENT, "", "pacs has it", None),
        (DeliveryState.HELD, "status-C123", "held for pacs",
         "it refuses it: it cannot understand the object (status C123)"),
        (DeliveryState.ELSEWHERE, "rerouted", "not for pacs any more", None),
    ],
)  # fmt: skip
def test_an_object_is_told(state: DeliveryState, error: str, said: str, why: str | None) -> None:
    _, found, cause = words.of_object(ObjectDelivery("pacs", state, error))
    assert (SAY(found), SAY(cause) if cause else None) == (said, why)


def test_what_became_of_a_study_is_told_whole() -> None:
    """Each ending has its number, so that none is left out."""
    all_sent = words.resent(Counter({ResendEnding.AGAIN: 1}), "pacs")
    assert SAY(all_sent) == "1 object is sent to pacs."
    mixed = SAY(words.resent(Counter({ending: 101 + place for place, ending in enumerate(ResendEnding)}), "pacs"))
    assert all(str(101 + place) in mixed for place in range(len(ResendEnding))), mixed


def test_filters_mean_whole_days_of_the_site() -> None:
    days = {"since": "2026-12-01", "until": "2026-12-01"}
    start = datetime(2026, 12, 1, tzinfo=UTC).timestamp()
    assert overview.filter_of(days, UTC) == StudyFilter(since=start, until=start + DAY)
    given = {"patient": "P1", "state": "incomplete", "exam": "12"}
    assert overview.filter_of(given, UTC) == StudyFilter(patient="P1", incomplete=True, order=12)
    assert overview.filter_of({"exam": "x"}, UTC) == StudyFilter()


def test_a_question_is_asked_again_with_what_is_wrong_in_it() -> None:
    slip = detail.StudySlip(question="resend", errors={"to": words.ADVICE[DeliveryState.HELD]})
    assert (slip.errors_of("resend"), slip.errors_of("reroute")) == (slip.errors, {})
