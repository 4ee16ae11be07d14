"""Reconciles: what sites ask for, each beside the scheduler's looks and at its own pace."""

from __future__ import annotations

import itertools
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from peewee import PeeweeException

from app.database import DatabaseUnavailable
from app.models import Site
from app.registry import RegistryError
from app.replication import backfill
from app.replication.backoff import Backoff
from app.replication.catalog import NoCatalog
from app.replication.context import Context
from app.replication.scope import Scope

log = logging.getLogger(__name__)

#: How long a site waits whose repositories could not be found: what a registry refuses once it refuses all day.
PAUSES = Backoff(first=30.0, cap=600.0)


@dataclass(eq=False, slots=True)
class _Pace:
    """One site's."""

    thread: threading.Thread | None = None
    reads_catalog: bool = False
    #: Times in a row that its repositories could not be found, and when it is tried again, by the scheduler's clock.
    unfound: int = 0
    not_before: float = float("-inf")
    #: Which of all sites' reconciles its last one was.
    turn: int = 0

    @property
    def at_work(self) -> bool:
        return self.thread is not None and self.thread.is_alive()


class Reconciles:
    """One for each scheduler. A site that is refused, or takes hours, keeps no other waiting.

    But one at a time reads the primary's catalog: it is the same one for all, and there is nothing to be gained. Of
    those who wait for it the one comes next whose turn was longest ago. A site with a list of its own waits for nobody.
    """

    def __init__(self, context: Context, clock: Callable[[], float]) -> None:
        self._context = context
        self._clock = clock
        #: By the site's id: the environment names them, so there are few.
        self._paces: dict[int, _Pace] = defaultdict(_Pace)
        self._turns = itertools.count(1)

    def begin_due(self, sites: Sequence[Site]) -> None:
        """Begin those that were asked for and can be begun."""
        asked = [site for site in sites if site.reconcile_requested_at is not None]
        for site in sorted(asked, key=lambda each: self._paces[each.id].turn):
            pace, reads_catalog = self._paces[site.id], not Scope.of(site).is_list
            if pace.at_work or self._clock() < pace.not_before or (reads_catalog and self.under_way(catalog=True)):
                continue
            pace.turn, pace.reads_catalog = next(self._turns), reads_catalog
            # Beside the tick: a catalog of a hundred thousand repositories takes longer than a lease.
            pace.thread = threading.Thread(target=self._run, args=(site, pace), name="reconcile", daemon=True)
            pace.thread.start()

    def under_way(self, *, catalog: bool = False) -> bool:
        """Whether one is under way; with `catalog`, one that reads it."""
        return any(pace.at_work and (pace.reads_catalog or not catalog) for pace in self._paces.values())

    def _run(self, site: Site, pace: _Pace) -> None:
        try:
            count = backfill.mark_all(site, self._context.repositories())
            pace.unfound = 0
            log.info("reconcile", extra={"site": site.name, "repositories": count, "why": site.reconcile_reason})
        except (backfill.WalkUnderWay, backfill.WalkLost):
            # Somebody at a keyboard is on it; whatever he leaves undone is still asked for.
            return
        except (RegistryError, NoCatalog, PeeweeException, DatabaseUnavailable) as error:
            log.warning("reconcile of site %s could not find repositories: %s", site.name, error)
            pace.unfound += 1
            at_least = error.retry_after if isinstance(error, RegistryError) else None
            pace.not_before = self._clock() + PAUSES.delay(pace.unfound, at_least=at_least).total_seconds()
