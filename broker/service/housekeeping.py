"""Schedules work that nobody waits for, in threads of APScheduler.

Every duty reads pages and writes small transactions, by indexed statements (`tests/store/test_upkeep_plans.py` checks
their plans). They write as `store.db.pace` says: transactions of about 8 ms, or of one order or MPPS, while nobody else
waits for the writer. Of those marked with a star only one runs at a time.

    duty              period  reads at once       writes at once    by
    ----------------  ------  ------------------  ----------------  ----------------------------------------------
    resolve           60 s    -                   -                 names of nodes; no database
    probe             3 s     -                   one row           only after a write that failed
    clock             60 s    -                   a file            no database: when this broker last ran
    callers           3 s     -                   16 to 512 devices keys of device_query, knock, node_contact
    views             2 s     -                   16 to 512         what was seen is appended to audit
    audit feed        1 s     2000 rows           20 jobs           primary key, where a repository is a node
    memory            2 s     -                   -                 no database: what is free goes back, if it is much
    room, disks       10 s    -                   a file            no database: free room, clock of the spool, disks
    rates             5 s     -                   -                 no database: counters of all processes
    queue minutes     20 s    10,001 of a lane    -                 ix_job_waiting: what the plot of the queue shows
    senders           15 s    2000 messages       100 rows          primary key of message: who sent since
    planned rules     1 s     -                   one version       ix_rule_plan_state; nothing where none is due
    sweep *           day     200 files           -                 ix_instance_path
    purge *           hour    200 objects         16 to 512         ix_instance_purge, ix_job_subject
    jobs, objects *   hour    500 rows            16 to 512         primary keys, ix_job_subject, indexes of the study
    notices, studies* hour    500 rows            16 to 512         primary keys, ix_job_subject; also commitments
    gatherings *      hour    500 rows            16 to 512         ix_gathering_done, ix_instance_study_...
    orders, MPPS *    hour    500 rows            1 to 512          primary keys, indexes of what names them
    visits, patients* hour    500 rows, all       1 to 512          primary keys, indexes of what names them
    step events *     hour    500 rows            16 to 512         primary key, that of scheduled_step
    audit *           hour    500 rows            16 to 512         primary key
    import notes *    hour    500 rows            16 to 512         ix_import_item_last_at
    knocks *          hour    1000 rows at most   16 to 512         the table: it has no more
    idempotency *     hour    500 rows            16 to 512         ix_idempotency_at
    cancels *         hour    500 rows            16 to 512         ix_tombstone_at
    appointments *    hour    500 rows            16 to 512         ix_appointment_at
    authorities       10 s    2000 rows           8 numbers or more primary keys, numbers of orders and patients
    patient words     30 s    512 patients        16 to 512         ix_patient_unfindable; nothing once all have them
    closing: images   15 s    500 steps           one order         ix_step_station_search, ix_instance_study_...
    closing: time     300 s   500 steps           one order         ix_scheduled_step_start
    closing: overdue  300 s   500 MPPS            one MPPS          ix_mpps_status
    closing: compare  300 s   500 MPPS            one MPPS          ix_mpps_compared_at, ix_mpps_attention
    levels            1 s     200 objects         16 to 512         ix_gathering_due, ix_instance_study_..., keys
    worklist copy     30 s    open steps          a file of its own ix_scheduled_step_start; nothing is written here
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.background import BackgroundScheduler

from broker import memory, telemetry
from broker.audit.feeding import AuditFeeder
from broker.errors import StoreUnavailable
from broker.mpps.mpps_walk import compare_objects, end_overdue
from broker.orders.authority_walk import join_authorities
from broker.orders.core import lifecycle
from broker.orders.step_walk import StepWalk, end_by_images, end_by_time
from broker.orders.term_walk import make_findable
from broker.queue.clock_watch import REST, ClockWatch
from broker.routing import sweep
from broker.routing.drafts.four_eyes import permit_of
from broker.routing.drafts.rule_plans import RulePlans
from broker.routing.levels.carrying_out import LevelWork
from broker.routing.levels.walk import LevelWalk
from broker.service.foundation import Foundation
from broker.service.health import Monitor
from broker.service.status import meters
from broker.service.status.duties import DutyBook, DutyRun, Every
from broker.service.status.row_marks import RowMarks
from broker.store import jobs, overview, thinning
from broker.store.ageing.schedule import scheduled
from broker.store.ageing.spooled import DELIVERED, DISCARDED
from broker.store.db.pace import Pace
from broker.store.worklist import outage
from broker.store.worklist.outage_keeper import CopyKeeper

DAY, HOUR = 86_400.0, 3600.0  # seconds
BY_TIME_EVERY = 300.0  # seconds between two walks that look at hours: they need no closer look
JOIN_EVERY = 10.0  # seconds between two looks whether names of authorities are to be joined
WORDS_EVERY = 30.0  # seconds between two looks for new patients: many at once, until then each search looks at them
LEVELS_EVERY = 1.0  # seconds between two looks whether a series or study is complete
COPY_EVERY = 30.0  # seconds between two refreshes of the worklist's copy
COPY_SHARE = 20  # times as long as a refresh of the worklist's copy took is the least time to the next one


class Housekeeping:
    """Runs periodic jobs, scheduled in UTC: a daily job at a local hour would run twice when the clocks go back."""

    def __init__(
        self,
        foundation: Foundation,
        clock: ClockWatch,
        write_behind: Callable[[], None],
        duties: DutyBook | None = None,
    ) -> None:
        """Schedule what every process does for itself. `write_behind` writes down what callers did.

        `duties` remembers how each run went.
        """
        self._clock = clock
        self._duties = duties or DutyBook()
        clock.follow(self._set_anew)
        self._foundation = foundation
        self._settings = foundation.settings
        self._database = foundation.database
        self._scheduler = BackgroundScheduler(timezone=UTC)
        self._stopping = ExitStack()  # ends long jobs
        self._ending = threading.Event()
        self._stopping.callback(self._ending.set)
        self._closing = ExitStack()
        self._long = threading.Lock()  # one long duty at a time
        self._add("resolve", foundation.directory.resolve, 60)
        self._add("probe", self._probe, 3)
        self._add("callers", write_behind, 3)
        self._add("views", foundation.audit.flush, 2)
        self._add("memory", memory.Trimmer(every=30).look, 2, at_once=True)
        self._add("room", self._look_at_disks, 10, at_once=True)

    def serve_all(self, wake: Callable[[], None], keep_clock: Callable[[], None]) -> None:
        """Schedule what one process does for all. Call it before anything writes into the spool.

        `wake` is called when the RIS is to be told, `keep_clock` while the clock is not in doubt.
        """
        self._add("clock", keep_clock, 60, at_once=True, by_age=True)
        self._keep_spool()
        self._keep_tables()
        self._add("check", self._check_database, DAY, at_once=self._database.unclean, long=True)
        self._end_steps(wake)
        self._judge_levels(wake)
        self._keep_copy()
        self._hand_over_audit(wake)
        base = self._foundation
        plans = RulePlans(base.database, base.site, permit_of(base.settings))
        self._add("planned-rules", plans.look, 1, by_age=True)

    def keep_marks(self, marks: RowMarks) -> None:
        """Look whether the database has lost rows, then keep how far it has come, each minute and at the end."""
        marks.keep_at_the_end()
        self._closing.callback(marks.keep_at_the_end)
        self._add("rows", marks.keep, 60)

    def _hand_over_audit(self, wake: Callable[[], None]) -> None:
        """Let the lanes of audit repositories know what is new in the audit trail."""
        feeder, directory = AuditFeeder(self._database), self._foundation.directory

        def feed() -> None:
            if feeder.feed([node.name for node in directory.nodes if node.audits]):
                wake()

        self._add("audit-feed", feed, 1)

    def watch(self, monitor: Monitor) -> None:
        """Schedule what *Now* is made of, in one process."""
        self._add("disks", monitor.disks.look, 10, at_once=True)
        self._add("rates", monitor.meters.read, meters.EVERY, at_once=True)
        self._add("senders", monitor.senders.count, 15, at_once=True)

        def count_waiting() -> None:
            monitor.meters.lanes.count(time.time(), self._database.read(overview.waiting).result())

        self._add("queue-minutes", count_waiting, 20, at_once=True)

    def _keep_spool(self) -> None:
        """Sweep and purge the spool."""
        started, spool = time.monotonic(), self._foundation.spool
        sweeping, purging = self._pace(), self._pace()

        def sweep_spool() -> None:
            age = min(time.monotonic() - started, sweep.YOUNG)  # what is older than this process is of an earlier one
            sweep.set_aside_unclaimed(sweeping, spool, age=age)

        def purge() -> None:
            kept = self._settings.delivery
            with self._watched(DELIVERED) as run:
                run.deleted = sweep.purge_delivered(purging, spool, kept.keep_days, kept.keep_discarded_days)
            sweep.discard_held(purging, kept.keep_held_days)
            with self._watched(DISCARDED) as run:
                run.deleted = sweep.purge_discarded(purging, spool, kept.keep_discarded_days)

        self._add("sweep", sweep_spool, DAY, at_once=True, long=True, by_age=True)
        self._add("purge", purge, HOUR, long=True, by_age=True)

    def _pace(self) -> Pace:
        """The pace of a duty; it ends with this process."""
        return Pace(self._database, stopping=self._ending)

    def _check_database(self) -> None:
        """Look for damage of the SQLite file, daily and after a start that followed no orderly end."""
        began = time.monotonic()
        if not self._database.check():
            telemetry.logger().info("store.checked", duration=round(time.monotonic() - began, 1))

    def _look_at_disks(self) -> None:
        for room in self._foundation.rooms:
            room.look()
        self._foundation.spool.clock.look()
        if self._database.dialect == "sqlite":
            self._foundation.reserve.keep()

    def _keep_tables(self) -> None:
        """Delete old rows that nobody needs any more."""
        paces: defaultdict[str, Pace] = defaultdict(self._pace)

        def thin() -> None:
            now = time.time()
            for one in scheduled(self._settings, now):
                if one.days:
                    name = one.rule.name
                    with self._watched(name) as run:
                        run.deleted = thinning.thin(paces[name], one.rule, now - one.days * DAY)
                        telemetry.child(telemetry.ROWS_THINNED, name).inc(run.deleted)

        self._add("retention", thin, HOUR, at_once=True, long=True, by_age=True)

    def _end_steps(self, wake: Callable[[], None]) -> None:
        """End steps and MPPS whose modality does not say that they are done; join what a message has told to be one."""
        walk = StepWalk(pace=self._pace(), settings=self._settings, directory=self._foundation.directory, wake=wake)
        joining = replace(walk, pace=self._pace())
        due = 0.0

        def join() -> None:
            join_authorities(joining)

        def end() -> None:
            nonlocal due
            end_by_images(walk)
            now = time.monotonic()
            if now >= due:
                due = now + BY_TIME_EVERY
                end_by_time(walk)
                end_overdue(walk)
                compare_objects(walk)

        self._add("closing", end, self._settings.worklist.closing_every, at_once=True, by_age=True)
        self._add("authorities", join, JOIN_EVERY, at_once=True)
        finding = self._pace()

        def find() -> None:
            make_findable(finding)

        self._add("patient-words", find, WORDS_EVERY, at_once=True)

    def _judge_levels(self, wake: Callable[[], None]) -> None:
        """Judge series and studies once they are complete."""
        base = self._foundation
        walk = LevelWalk(LevelWork(base.database, self._pace(), base.spool.root, base.rules, wake))
        self._clock.follow(walk.look_anew)
        if base.database.dialect == "sqlite":  # nobody else has taken anything
            walk.look_anew()
        self._add("levels", walk.run, LEVELS_EVERY, at_once=True)

    def _keep_copy(self) -> None:
        """Refresh the copy of the worklist for outages of the database."""
        path, age = self._foundation.worklist_copy, self._settings.worklist.outage_copy_age
        if not age:
            outage.discard(path)  # no file with patients stays behind
            return
        keeper = CopyKeeper(self._database, path, lifecycle.OPEN)
        self._closing.callback(keeper.close)
        state = {"made": time.monotonic(), "away": False, "next": 0.0}

        def refresh() -> None:
            began = time.monotonic()
            if began < state["next"]:
                return
            try:
                keeper.refresh()
            except StoreUnavailable:
                if not state["away"]:
                    telemetry.logger().warning("worklist.copy_not_refreshed", duration=round(began - state["made"], 1))
                state["away"] = True
            else:
                state["made"], state["away"] = began, False
                state["next"] = began + COPY_SHARE * (time.monotonic() - began)

        # asked when it is read: it grows also when nothing is refreshed
        telemetry.WORKLIST_COPY_AGE.set_function(lambda: time.monotonic() - state["made"])
        self._add("worklist-copy", refresh, min(COPY_EVERY, age / 10), at_once=True)

    def _probe(self) -> None:
        """After a failed write, try to write again: health recovers without traffic."""
        if not self._database.writable:
            self._database.submit(jobs.probe_write, time.time()).result()

    def start(self) -> None:
        """Start the scheduler."""
        self._scheduler.start()

    def stop(self) -> None:
        """Stop the scheduler; waits for running jobs."""
        self._stopping.close()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)

    def close(self) -> None:
        """Give back what the jobs held open."""
        self._closing.close()

    def _add(
        self,
        name: str,
        work: Callable[[], None],
        seconds: float,
        *,
        at_once: bool = False,
        long: bool = False,
        by_age: bool = False,
    ) -> None:
        """Schedule a job every so many seconds, first after them or at once. One that fails is logged and goes on.

        Of `long` ones a single one runs at a time. `by_age`: it deletes or ends by age, and rests when the clock was
        set.
        """

        def guarded() -> None:
            with self._watched(name), self._long if long else nullcontext():
                if not by_age or self._clock.steady():
                    work()

        first = {"next_run_time": datetime.now(UTC)} if at_once else {}
        self._scheduler.add_job(guarded, Every(seconds), coalesce=True, misfire_grace_time=None, **first)

    def _set_anew(self) -> None:
        """The clock was set: all jobs are due now or, if they are rare, in an hour."""
        for job in self._scheduler.get_jobs():
            wait = REST if job.trigger.seconds >= REST else 0
            job.modify(next_run_time=datetime.now(UTC) + timedelta(seconds=wait))

    @contextmanager
    def _watched(self, name: str) -> Iterator[DutyRun]:
        """Remember how it went. A failure is logged, and ends this work and no other."""
        began, failed, run = time.monotonic(), "", DutyRun()
        try:
            yield run
        except Exception as error:
            failed = telemetry.describe(error)
            telemetry.logger().warning("housekeeping.failed", kind=name, error=failed)
        self._duties.ran(name, time.time(), time.monotonic() - began, failed, run.deleted)
