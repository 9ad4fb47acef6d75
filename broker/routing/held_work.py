"""Does with many objects at once what a person decided: a page at a time, so that others can write in between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Lock

from sqlalchemy import Connection

from broker.errors import BadContent
from broker.routing import holding
from broker.routing.hindsight.replaying import ReplayedDays, replay
from broker.routing.holding import Deciding, Ending
from broker.routing.rejudging import FactReader, Judged, judge_again
from broker.routing.rules.evaluate import Facts
from broker.routing.rules.ruleset import RuleSet, fields_of
from broker.routing.spool_check import SpoolCheck, check_part
from broker.store.db.database import Database
from broker.store.images import held_objects
from broker.store.images.held_objects import HeldObject, ObjectFilter

PAGE = 100  # objects of one transaction
MOST = 10_000  # objects of one decision


class ReplayBusy(BadContent):
    """Another draft is being replayed: it reads many files, so that one is enough at a time."""

    def __init__(self) -> None:
        super().__init__("another draft is being replayed: try again in a moment", code="replay-busy")


class BytesBusy(BadContent):
    """The bytes of objects are being checked: it reads the whole spool, so that one is enough at a time."""

    def __init__(self) -> None:
        super().__init__("another check of the spool is under way: try again in a moment", code="check-busy")


class OtherCount(Exception):
    """Not as many objects match as a person saw."""


class HeldWork:
    """What can be done with held and discarded objects. Its methods block, and raise StoreUnavailable."""

    def __init__(
        self,
        database: Database,
        files: Path,
        rules: Callable[[], RuleSet],
        destinations: Callable[[], frozenset[str]],
        wake: Callable[[], None],
    ) -> None:
        """`files` is the spool folder, `rules` are those in force, `destinations` the nodes that take objects.

        `wake` wakes the queue.
        """
        self._database = database
        self._files = files
        self._rules = rules
        self._destinations = destinations
        self._wake = wake
        self._replaying = Lock()
        self._checking = Lock()

    def rows(self, wanted: ObjectFilter, expected: int) -> Sequence[int]:
        """All objects that match. Raises OtherCount unless they are as many as expected, at most MOST."""
        found = self._database.read(held_objects.rows, wanted, expected + 1).result()
        if len(found) != expected or expected > MOST:
            raise OtherCount
        return found

    def check_bytes(self, after: int, mending: Sequence[str] = ()) -> SpoolCheck:
        """Whether the bytes of objects behind a row are those that were received; see `spool_check.check_part`.

        Raises BytesBusy while somebody else asks for it.
        """
        if not self._checking.acquire(blocking=False):
            raise BytesBusy
        try:
            found = check_part(self._database, self._files, after, mending)
        finally:
            self._checking.release()
        if found.released:
            self._wake()
        return found

    def judge(self, rows: Sequence[int]) -> list[Judged]:
        """What today's rules would do with objects. Changes nothing."""
        return judge_again(self._database, self._files, self._rules(), rows)

    def replay(self, draft: RuleSet, since: float) -> ReplayedDays:
        """What a draft would have done with the objects received since a time (s since the epoch).

        Raises ReplayBusy.
        """
        if not self._replaying.acquire(blocking=False):
            raise ReplayBusy
        try:
            return replay(self._database, self._files, self._rules(), draft, since)
        finally:
            self._replaying.release()

    def study_facts(self, study: str, rules: RuleSet, limit: int) -> list[tuple[HeldObject, Facts, bool]]:
        """Objects of a study with what rules see of them, and whether their bytes are there. Changes nothing."""
        objects = self._database.read(held_objects.of_study, study, limit).result()
        return list(FactReader(self._database, self._files, fields_of(rules)).read(objects))

    def route(self, rows: Sequence[int], who: Deciding) -> Counter[Ending]:
        """Let objects go the way of today's rules; how many ended how."""
        done: Counter[Ending] = Counter()
        for page in _pages(rows):
            rules = self._rules()
            judged = judge_again(self._database, self._files, rules, page)

            def routed(connection: Connection, judged: list[Judged] = judged, rules: RuleSet = rules) -> list[Ending]:
                return [holding.route(connection, one, rules, who) for one in judged]

            done += Counter(self._written(routed))
            gone = len(self._database.read(held_objects.purged, page).result())
            done += Counter({Ending.GONE: gone, Ending.CHANGED: max(0, len(page) - len(judged) - gone)})
        return +done

    def send(self, rows: Sequence[int], nodes: Sequence[str], who: Deciding) -> Counter[Ending]:
        """Send objects to chosen nodes. Raises BadContent for one that is no destination."""
        unknown = [node for node in nodes if node not in self._destinations()]
        if unknown or not nodes:
            raise BadContent("not a destination", code="unknown-node")

        def sent(connection: Connection, held: HeldObject) -> Ending:
            return holding.send(connection, held.id, held.sop_instance_uid, nodes, who)

        return self._each(rows, sent)

    def discard(self, rows: Sequence[int], who: Deciding) -> Counter[Ending]:
        """Give objects up."""
        return self._each(rows, lambda connection, held: holding.discard(connection, held.id, who))

    def undo(self, rows: Sequence[int], who: Deciding) -> Counter[Ending]:
        """Take discards back: the objects wait for a person again."""
        return self._each(rows, lambda connection, held: holding.undo(connection, held.id, who))

    def purge(self, rows: Sequence[int], who: Deciding) -> Counter[Ending]:
        """Delete the bytes of discarded objects now. Nobody can undo it."""
        done: Counter[Ending] = Counter()
        for page in _pages(rows):

            def purged(connection: Connection, page: Sequence[int] = page) -> tuple[list[str], int]:
                before = held_objects.purged(connection, page)
                gone = held_objects.purge(connection, page, who.at)
                for row, _ in gone:
                    who.note(connection, "objects.purged", row)
                return [path for _, path in gone], len(before)

            paths, before = self._database.execute(purged)
            for path in filter(None, paths):
                (self._files / path).unlink(missing_ok=True)
            changed = len(page) - len(paths) - before
            done += Counter({Ending.PURGED: len(paths), Ending.GONE: before, Ending.CHANGED: changed})
        return +done

    def _each(self, rows: Sequence[int], end: Callable[[Connection, HeldObject], Ending]) -> Counter[Ending]:
        done: Counter[Ending] = Counter()
        for page in _pages(rows):

            def ended(connection: Connection, page: Sequence[int] = page) -> list[Ending]:
                found = held_objects.load(connection, page)
                gone = [Ending.GONE] * len(held_objects.purged(connection, page))
                missing = [Ending.CHANGED] * (len(page) - len(found) - len(gone))
                return [end(connection, one) for one in found] + gone + missing

            done += Counter(self._written(ended))
        return done

    def _written(self, story: Callable[[Connection], list[Ending]]) -> list[Ending]:
        done = self._database.execute(story)
        self._wake()
        return done


def _pages(rows: Sequence[int]) -> Iterator[Sequence[int]]:
    unique = list(dict.fromkeys(rows))
    for start in range(0, len(unique), PAGE):
        yield unique[start : start + PAGE]
