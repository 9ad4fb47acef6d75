"""Puts into words what devices, PACS and the RIS had to do with an exam: reports, images, deliveries, news."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from sqlalchemy import Connection

from broker.exams.entries import EntryKind, EntrySource, SourceKind, StoryEntry, Tone
from broker.model.lane import JobState, Lane, LaneKind, parts_of
from broker.model.order import Order
from broker.model.performed import MessageKind
from broker.model.wording import Sentence
from broker.store import notices
from broker.store.exams import around
from broker.store.exams.around import DeliveryGroup, ImageGroup, ReportedWork, ToldNews
from broker.store.images.instances import InstanceState
from broker.store.notices import NoticeState

REPORTED: Mapping[str, Sentence] = {
    MessageKind.CREATE: Sentence("%(device)s reported that it has begun."),
    MessageKind.SET: Sentence("%(device)s reported on its work. It stands at %(status)s."),
}
NEWS: Mapping[str, Sentence] = {
    "arrived": Sentence("the patient has arrived"),
    "started": Sentence("the exam has begun"),
    "partial": Sentence("a part of the exam is completed"),
    "completed": Sentence("the exam is completed"),
    "discontinued": Sentence("the exam was broken off"),
    "cancelled": Sentence("the exam was called off"),
    "reopened": Sentence("the exam is to be done again"),
    "images": Sentence("the first images are here"),
}

RECEIVED: Mapping[str, tuple[Tone, Sentence]] = {
    InstanceState.ROUTED: (
        "",
        Sentence("%(n)s image came from %(device)s.", many="%(n)s images came from %(device)s."),
    ),
    InstanceState.HELD: (
        "warn",
        Sentence(
            "%(n)s image from %(device)s is held: a person must decide.",
            many="%(n)s images from %(device)s are held: a person must decide.",
        ),
    ),
    InstanceState.WAITING: (
        "",
        Sentence(
            "%(n)s image from %(device)s waits until its study is complete.",
            many="%(n)s images from %(device)s wait until their study is complete.",
        ),
    ),
    InstanceState.DISCARDED: (
        "",
        Sentence(
            "%(n)s image from %(device)s goes nowhere.",
            many="%(n)s images from %(device)s go nowhere.",
        ),
    ),
}
_KEPT: Mapping[str, SourceKind] = {
    InstanceState.HELD: SourceKind.HELD_IMAGES,
    InstanceState.DISCARDED: SourceKind.DISCARDED_IMAGES,
}
WARNED: tuple[Tone, Sentence] = (
    "warn",
    Sentence(
        "%(n)s image was sent to %(node)s, not without a warning.",
        many="%(n)s images were sent to %(node)s, not without a warning.",
    ),
)
DELIVERED: Mapping[str, tuple[Tone, Sentence]] = {
    JobState.DONE: (
        "ok",
        Sentence("%(n)s image was sent to %(node)s.", many="%(n)s images were sent to %(node)s."),
    ),
    JobState.HELD: (
        "bad",
        Sentence(
            "%(n)s image for %(node)s is held: it was not taken.",
            many="%(n)s images for %(node)s are held: they were not taken.",
        ),
    ),
    JobState.DISCARDED: (
        "bad",
        Sentence(
            "Sending %(n)s image to %(node)s was given up.", many="Sending %(n)s images to %(node)s was given up."
        ),
    ),
    JobState.READY: (
        "warn",
        Sentence("%(n)s image waits for %(node)s.", many="%(n)s images wait for %(node)s."),
    ),
}
TOLD: Mapping[str, tuple[Tone, Sentence]] = {
    JobState.DONE: ("ok", Sentence("%(node)s was told that %(news)s, and has confirmed it.")),
    JobState.HELD: ("bad", Sentence("%(node)s did not take the news that %(news)s: a person must decide.")),
    JobState.DISCARDED: ("bad", Sentence("%(node)s is not told that %(news)s: it was given up.")),
    JobState.READY: ("warn", Sentence("%(node)s is still to be told that %(news)s.")),
    "again": ("warn", Sentence("%(node)s was told that %(news)s and has not confirmed it: it is tried again.")),
}

NOTIFIED: Mapping[str, tuple[Tone, Sentence]] = {  # by the state of the job, empty where it is no longer kept
    "": ("ok", Sentence("%(node)s was notified by rule %(rule)s.")),
    JobState.DONE: ("ok", Sentence("%(node)s was notified by rule %(rule)s.")),
    JobState.HELD: ("bad", Sentence("%(node)s did not take the notice of rule %(rule)s: a person must decide.")),
    JobState.DISCARDED: ("", Sentence("The notice of rule %(rule)s for %(node)s was given up.")),
    JobState.READY: ("warn", Sentence("%(node)s is still to be notified by rule %(rule)s.")),
}


def traffic(connection: Connection, order: Order) -> Iterator[StoryEntry]:
    """All entries, in no order."""
    studies = list(dict.fromkeys(procedure.study_instance_uid for procedure in order.procedures))
    for report in around.work(connection, [step.row or 0 for step in order.steps()]):
        yield from _reported(report)
    for group in around.images(connection, studies):
        yield _received(group, order.row or 0)
    for delivered in around.deliveries(connection, studies):
        yield _delivered(delivered)
    for one in around.news(connection, order.row or 0, [procedure.row or 0 for procedure in order.procedures]):
        yield _told(one)
    for study in studies:
        for notice in notices.of_study(connection, study):
            yield _notified(notice)


def _reported(report: ReportedWork) -> Iterator[StoryEntry]:
    for kind, at in report.messages:
        yield StoryEntry(
            at=at,
            kind=EntryKind.WORK,
            text=_filled(REPORTED[kind], device=report.calling_ae, status=report.status),
            source=EntrySource(SourceKind.MPPS, str(report.row)),
        )


def _filled(sentence: Sentence, **values: object) -> Sentence:
    return replace(sentence, values=values)


def _received(group: ImageGroup, order: int) -> StoryEntry:
    """What came, with the way to what waits or was discarded."""
    tone, sentence = RECEIVED.get(group.state, RECEIVED[InstanceState.ROUTED])
    return StoryEntry(
        at=group.first_at,
        until=group.last_at,
        kind=EntryKind.IMAGES,
        tone=tone,
        text=_filled(sentence, n=group.count, device=group.calling_ae),
        code=group.reason,
        source=EntrySource(_KEPT[group.state], str(order)) if group.state in _KEPT else None,
    )


def _source(lane: str, state: str) -> EntrySource:
    """What is held leads to the list of held work, the rest to the node."""
    if state == JobState.HELD:
        return EntrySource(SourceKind.HELD, lane)
    return EntrySource(SourceKind.NODE, parts_of(lane)[1])


def _delivered(group: DeliveryGroup) -> StoryEntry:
    tone, sentence = DELIVERED.get(group.state, DELIVERED[JobState.READY])
    if group.state == JobState.DONE and group.error.startswith("status-B"):
        tone, sentence = WARNED
    return StoryEntry(
        at=group.first_at,
        until=group.last_at,
        kind=EntryKind.DELIVERY,
        tone=tone,
        text=_filled(sentence, n=group.count, node=parts_of(group.lane)[1]),
        code=group.error,
        source=_source(group.lane, group.state),
    )


def _told(news: ToldNews) -> StoryEntry:
    """What a RIS was told, and what it answered."""
    waits = news.state not in (JobState.DONE, JobState.HELD, JobState.DISCARDED)
    tone, sentence = TOLD["again" if waits and news.attempts else JobState.READY if waits else news.state]
    told = NEWS.get(news.event) or Sentence("something has changed")
    return StoryEntry(
        at=news.at,
        until=news.done_at,
        kind=EntryKind.FEEDBACK,
        tone=tone,
        text=_filled(sentence, node=parts_of(news.lane)[1], news=told),
        code=news.error,
        source=_source(news.lane, news.state),
    )


def _notified(one: NoticeState) -> StoryEntry:
    """Who was told that a rule acted."""
    tone, sentence = NOTIFIED.get(one.state, NOTIFIED[JobState.READY])
    return StoryEntry(
        at=one.at,
        kind=EntryKind.NOTICE,
        tone=tone,
        text=_filled(sentence, node=one.node, rule=one.rule),
        code=one.error,
        source=_source(Lane(LaneKind.NOTIFY, one.node).name, one.state),
    )
