"""Tells the RIS that images of an order arrive: once per study, and objects after the first cost nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from broker.orders.telling import notices
from broker.orders.telling.feedback import OrderEvent
from broker.site.nodes import Node

REMEMBERED = 10_000  # studies; the queue itself knows which were told, this only saves asking it


class News:
    """What reception tells the nodes that want to hear of images. One per process; its methods may run in threads."""

    def __init__(self, subscribers: Callable[[], tuple[Node, ...]]) -> None:
        """`subscribers` are the nodes that are sent feedback just then."""
        self._subscribers = subscribers
        self._of: tuple[Node, ...] | None = None  # the subscribers that `_nodes` are of
        self._nodes: tuple[Node, ...] = ()
        self._told: dict[str, None] = {}

    def of(self, study_instance_uid: str, at: float) -> Telling | None:
        """What is to be told with an object of a study, received `at` (seconds); None for nothing."""
        subscribers = self._subscribers()
        if subscribers is not self._of:
            self._of, self._told = subscribers, {}
            self._nodes = tuple(n for n in subscribers if n.feedback and OrderEvent.IMAGES in n.feedback.events)
        if not self._nodes or study_instance_uid in self._told:
            return None
        return Telling(study_instance_uid, at, self._nodes)

    def committed(self, telling: Telling | None) -> None:
        """The transaction is committed."""
        if telling is not None and telling.told:
            if len(self._told) >= REMEMBERED:
                self._told.clear()
            self._told[telling.study_instance_uid] = None


class Telling:
    """Part of the transaction of one object."""

    def __init__(self, study_instance_uid: str, at: float, nodes: Sequence[Node]) -> None:
        self.study_instance_uid, self._at, self._nodes = study_instance_uid, at, nodes
        self.told = False  # an order is known for the study

    def write(self, connection: Connection) -> None:
        """Put the messages into the queue. May run again, if the transaction does."""
        self.told = notices.images(connection, self.study_instance_uid, self._at, self._nodes)
