"""The scheduler: finds what is due and wakes for it. It may run many times; a lease lets one act."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType

from peewee import PeeweeException

from app import metrics, migrate
from app.database import DatabaseUnavailable, connection
from app.models import Site
from app.replication import (
    backfill,
    claim,
    closing,
    cursor,
    instances,
    marking,
    membership,
    reporting,
    retention,
    sites,
)
from app.replication.context import Context
from app.replication.follower import Follower
from app.replication.lease import HeldLease, heartbeat, monotonic, named
from app.replication.log import state as log_state
from app.replication.reporting import Reporter
from app.replication.status import SCHEDULER
from app.replication.verification import asking
from app.replication.verification import claim as verifications
from app.replication.verification.capacity import runs
from workers.reconciles import Reconciles
from workers.wake import limit

log = logging.getLogger(__name__)

#: Seconds between looks. What a lost wake costs at most.
INTERVAL = 1.0

#: Seconds between tidying up.
TIDY = 60.0

#: Wakes in a row that reach nobody, after which another scheduler may try: it may stand where the queue can be reached.
UNHEARD = 10

#: Seconds that a follower is given to end, before its lease is given up for it.
FOLLOWER_PATIENCE = 1.0


@dataclass
class Scheduler:
    """One pass is `tick`; `run` repeats it until told to stop."""

    context: Context
    clock: Callable[[], float] = monotonic
    stop: threading.Event = field(default_factory=threading.Event)
    reconciles: Reconciles = field(init=False)
    _tidied: float = float("-inf")
    #: There is more to forget than the last tick had time for.
    _behind: bool = False
    _following: threading.Thread | None = None
    _reported: float = float("-inf")
    _reporting: threading.Thread | None = None

    def __post_init__(self) -> None:
        self.reconciles = Reconciles(self.context, self.clock)

    def run(self) -> None:
        """Act while holding the lease; wait for it while another scheduler does. Survives the database's absence."""
        applied = False
        follower: Follower | None = None
        while not self.stop.is_set():
            if migrate.watch.wrong():
                self.stop.wait(INTERVAL)
                continue
            try:
                if not applied:
                    site = sites.apply_environment(self.context.settings)
                    applied = True
                    follower = self._follow(site)
                with named(SCHEDULER) as lease:
                    if lease is None:
                        self.stop.wait(INTERVAL)
                        continue
                    with heartbeat.keeping(lease):
                        self._act(lease)
                if not self.stop.is_set():
                    # Long enough for another one to find that the lease is free.
                    self.stop.wait(INTERVAL * 2)
            except (PeeweeException, DatabaseUnavailable) as error:
                self._wait_for_database(error)
        self.context.stopping.set()
        if follower is not None:
            self._end(follower)
        metrics.buffer.flush()

    def _act(self, lease: HeldLease) -> None:
        """Look again and again, until there is a reason to leave it to another."""
        before = self.context.wake.failures
        while not self.stop.is_set() and lease.remaining() > 0 and not migrate.watch.wrong():
            self._tick_or_wait()
            failures = self.context.wake.failures
            before = min(before, failures)
            if failures - before >= UNHEARD:
                log.warning("the queue is not reached from here: another scheduler may act")
                return
            self.stop.wait(INTERVAL)

    def _follow(self, site: Site | None) -> Follower | None:
        """Follow the primary's log beside the ticks: it waits for events for longer than a lease lasts."""
        if site is None or self.context.log is None:
            return None
        follower = Follower(self.context, site, self.context.log, self.stop)
        self._following = threading.Thread(target=follower.run, name="follower", daemon=True)
        self._following.start()
        return follower

    def _end(self, follower: Follower) -> None:
        if self._following is not None:
            self._following.join(FOLLOWER_PATIENCE)
            if self._following.is_alive():
                with contextlib.suppress(PeeweeException, DatabaseUnavailable):
                    follower.let_go()

    def _tick_or_wait(self) -> None:
        try:
            self.tick()
        except (PeeweeException, DatabaseUnavailable) as error:
            # The lease is kept: given up while the database is away it could not be released, and everybody would
            # have to wait for its end after the database is back.
            self._wait_for_database(error)

    def _wait_for_database(self, error: Exception) -> None:
        log.warning("the scheduler waits for the database: %s", error)
        self.stop.wait(INTERVAL * 3)

    def tick(self) -> None:
        """One look at everything that could be due."""
        self._report_if_due()
        with connection():
            tidying = self.clock() - self._tidied > TIDY
            if tidying:
                self._tidied = self.clock()
                instances.prune()
            if tidying or self._behind:
                self._behind = not retention.forget(self.context.settings.retention, self.clock, retention.BUDGET)
            if self.context.settings.role.receives:
                log_state.set_fence()
                instances.ask_for_reconcile()
            if not self.context.settings.replication_enabled:
                return
            if tidying:
                membership.settle_strays()
                backfill.request_overdue(self.context.settings.reconcile_interval)
            enabled = sites.enabled_secondaries()
            for site in enabled:
                self._advance(site)
            self.reconciles.begin_due(enabled)
            if tidying:
                self._arrange_verification()
            closing.fail_poisonous()
            marking.awaken_digests()
            fresh, others, busy = self._wanted()
            unverified = verifications.count_due(self.context.settings, self._verifying())
        if fresh:
            self.context.wake.rows(fresh)
        if others:
            self.context.wake.bulk(others, busy)
        if unverified:
            self.context.wake.verifications(unverified)

    def _wanted(self) -> tuple[int, int, int]:
        """How many rows wait that were just pushed, how many others, and how many are in somebody's hands."""
        most = limit(self.context.settings)
        fresh = claim.count_due(most, at_most=marking.FRESH)
        others = claim.count_due(most) - fresh
        return fresh, others, claim.count_held() if others > 0 else 0

    def _verifying(self) -> int:
        """How many repositories all worker processes together verify at once."""
        settings = self.context.settings
        return runs(settings.worker_threads) * settings.worker_processes

    def _arrange_verification(self) -> None:
        verifications.fail_abandoned()
        asking.switch(self.context.settings)
        asking.ask_for_overdue(self.context.settings)

    def _advance(self, site: Site) -> None:
        """Read events here as well: with every worker thread in a long transfer, the holder of a row must still learn
        of a fresh push to it."""
        if cursor.has_unread(site) and cursor.drain(site).registries:
            self.context.wake.events()

    def _report_if_due(self) -> None:
        """Tell the primary's deployment how we are, beside the tick: it may take its time to answer.

        A report that could not be made in its minute is not made up for: the next says more.
        """
        if self.context.deployment is None or self.clock() - self._reported < reporting.INTERVAL:
            return
        if self._reporting is not None and self._reporting.is_alive():
            return
        self._reported = self.clock()
        self._reporting = threading.Thread(target=self._report, name="report", daemon=True)
        self._reporting.start()

    def _report(self) -> None:
        try:
            with connection():
                site = Site.get_or_none(Site.name == self.context.settings.site_name)
            if site is not None:
                Reporter(self.context, site).report()
        except (PeeweeException, DatabaseUnavailable) as error:
            log.warning("our status could not be reported: %s", error)


def main(context: Context) -> None:
    """Run until SIGTERM or SIGINT."""
    scheduler = Scheduler(context)

    def end(_number: int, _frame: FrameType | None) -> None:
        scheduler.stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    scheduler.run()
