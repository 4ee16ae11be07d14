"""The scheduler: finds what is due and wakes for it. It may run many times; a lease lets one act."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from types import FrameType

from peewee import PeeweeException

from app import metrics
from app.database import DatabaseUnavailable, connection
from app.models import Site
from app.registry import RegistryError
from app.replication import backfill, claim, cursor, event_log, replicator, sites
from app.replication.context import Context
from app.replication.lease import heartbeat, monotonic, named
from app.replication.status import SCHEDULER
from workers.wake import limit

log = logging.getLogger(__name__)

#: Seconds between looks. What a lost wake costs at most.
INTERVAL = 1.0

#: Seconds between tidying up.
TIDY = 60.0

#: How long events and attempts are kept.
KEEP_EVENTS = timedelta(days=14)
KEEP_ATTEMPTS = timedelta(days=30)


@dataclass
class Scheduler:
    """One pass is `tick`; `run` repeats it until told to stop."""

    context: Context
    clock: Callable[[], float] = monotonic
    stop: threading.Event = field(default_factory=threading.Event)
    _tidied: float = float("-inf")
    _reconcile: threading.Thread | None = None

    def run(self) -> None:
        """Act while holding the lease; wait for it while another scheduler does. Survives the database's absence."""
        applied = False
        while not self.stop.is_set():
            try:
                if not applied:
                    sites.apply_environment(self.context.settings)
                    applied = True
                with named(SCHEDULER) as lease:
                    if lease is None:
                        self.stop.wait(INTERVAL)
                        continue
                    with heartbeat.keeping(lease):
                        while not self.stop.is_set() and lease.remaining() > 0:
                            self._tick_or_wait()
                            self.stop.wait(INTERVAL)
            except (PeeweeException, DatabaseUnavailable) as error:
                self._wait_for_database(error)
        self.context.stopping.set()
        metrics.buffer.flush()

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
        with connection():
            if self.clock() - self._tidied > TIDY:
                self._tidied = self.clock()
                event_log.prune(KEEP_EVENTS)
                replicator.prune_attempts(KEEP_ATTEMPTS)
            if not self.context.settings.replication_enabled:
                return
            for site in sites.enabled_secondaries():
                self._advance(site)
                self._reconcile_if_due(site)
            claim.fail_poisonous()
            replicator.awaken_digests()
            waiting = claim.count_due(limit(self.context.settings))
        if waiting:
            self.context.wake.rows(waiting)

    def _advance(self, site: Site) -> None:
        """Read events here as well: with every worker thread in a long transfer, the holder of a row must still learn
        of a fresh push to it."""
        if cursor.has_unread(site) and cursor.drain(site).registries:
            self.context.wake.events()

    def _reconcile_if_due(self, site: Site) -> None:
        if site.reconcile_requested_at is None or (self._reconcile is not None and self._reconcile.is_alive()):
            return
        # Beside the tick: a catalog of a hundred thousand repositories takes longer than a lease.
        self._reconcile = threading.Thread(target=self._mark_all, args=(site,), name="reconcile", daemon=True)
        self._reconcile.start()

    def _mark_all(self, site: Site) -> None:
        try:
            count = backfill.mark_all(site, self.context.primary)
            log.info("reconcile", extra={"site": site.name, "repositories": count, "why": site.reconcile_reason})
        except (RegistryError, backfill.NoCatalog, PeeweeException, DatabaseUnavailable) as error:
            log.warning("reconcile of site %s could not find repositories: %s", site.name, error)
            self.stop.wait(30)


def main(context: Context) -> None:
    """Run until SIGTERM or SIGINT."""
    scheduler = Scheduler(context)

    def end(_number: int, _frame: FrameType | None) -> None:
        scheduler.stop.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    scheduler.run()
