"""Backfill: find the primary's repositories and ask for a full sync of each."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from app.database import connection, in_batches, now, transaction
from app.models import CatalogWalk, ContainerRepository, Site
from app.registry import RegistryError
from app.replication import marking, membership, progress
from app.replication.catalog import REFUSALS, do_without
from app.replication.event_log import repository_ids
from app.replication.lease import HeldLease, heartbeat, named
from app.replication.log import Catalog
from app.replication.scope import Scope

log = logging.getLogger(__name__)

#: Repositories marked in one transaction.
BATCH = 200

#: Repositories asked for on one page of the catalog.
PAGE = 1000

#: A walk that got no further for so long begins anew: the registry may not remember where its link led.
STALE = timedelta(hours=1)

#: Seconds between looks at a walk that somebody else is on.
POLL = 0.2


class WalkUnderWay(Exception):
    """Another process is finding this site's repositories."""


class WalkLost(Exception):
    """This process stood still for so long that another may be on the walk; what was marked stays so."""


def request(reason: str) -> None:
    """Make a reconcile of every secondary due; the scheduler sees to it."""
    with transaction():
        Site.update(reconcile_requested_at=now(), reconcile_reason=reason).where(~Site.primary).execute()


def request_overdue(interval: timedelta | None) -> int:
    """Make a reconcile of every site due that had none for so long; return of how many.

    One that is still under way is not begun anew: it would never end where it takes longer than the interval.
    """
    if interval is None:
        return 0
    asked = 0
    with transaction():
        instant = now()
        here = ~Site.primary & ~Site.remote & ~Site.retired & Site.enabled
        overdue = Site.reconcile_requested_at.is_null() & (Site.reconcile_started_at <= instant - interval)
        for site in Site.select().where(here & overdue):
            last = progress.backfill(site, instant)
            if last is not None and last.done:
                values = {"reconcile_requested_at": instant, "reconcile_reason": "the last one was long ago"}
                Site.update(**values).where(Site.id == site.id).execute()
                asked += 1
    return asked


def mark_all(
    site: Site,
    source: Catalog,
    *,
    priority: int = marking.BACKFILL,
    patience: float = 0.0,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Ask for a full sync of every repository in the site's scope; return how many.

    Found by the catalog, or named in GEO_REPOSITORIES where a registry has none; those already known are included,
    whether the catalog still lists them or not. One process at a time is on it, another waits for `patience` seconds.
    It goes on where one that was killed got to, and marks nothing twice.

    Raises:
        RegistryError: when the catalog breaks off. What was found until then is marked.
        NoCatalog: when there is nothing to go by.
        WalkUnderWay: when another process is on it.
        WalkLost: when another process may have taken over.
    """
    for _ in range(int(patience / POLL) + 1):
        with named(f"catalog:{site.id}") as lease:
            if lease is not None:
                with heartbeat.keeping(lease):
                    return _Walk(site, source, lease, _begin(site, priority)).run()
        if patience:
            sleep(POLL)
    raise WalkUnderWay(
        f"another process is finding the repositories of {site.name}; it can be asked for again after it"
    )


def _begin(site: Site, priority: int) -> CatalogWalk:
    """The walk that somebody was killed on, or a new one.

    One that was begun for another reason is not taken up: who asks by hand means everything, as it is now.
    """
    with transaction():
        instant = now()
        found: CatalogWalk | None = CatalogWalk.get_or_none(CatalogWalk.site == site)
        if found is not None and found.priority == priority and found.updated_at > instant - STALE:
            log.info("the catalog is taken up where it was left", extra={"site": site.name, "marked": found.marked})
            return found
        CatalogWalk.delete().where(CatalogWalk.site == site).execute()
        CatalogWalk.insert(site=site, priority=priority, started_at=instant, updated_at=instant).execute()
        Site.update(reconcile_started_at=instant).where(Site.id == site.id).execute()
        return CatalogWalk.get_by_id(site.id)


@dataclass
class _Walk:
    site: Site
    source: Catalog
    lease: HeldLease
    row: CatalogWalk

    def __post_init__(self) -> None:
        self.scope = Scope.of(self.site)

    def run(self) -> int:
        membership.settle(self.site, self._require_lease)
        with connection():
            rows = ContainerRepository.select(ContainerRepository.path).order_by(ContainerRepository.id)
            known = [row.path for row in rows]
        self._mark([*known, *self.scope.listed])
        if not self.scope.is_list:
            self._catalog(anything_known=bool(known or self.scope.listed))
        return self._end()

    def _catalog(self, *, anything_known: bool) -> None:
        resumed = self.row.marker is not None
        listed = 0
        try:
            for paths in self._pages():
                listed += len(paths)
                self._mark(paths)
        except REFUSALS as error:
            do_without(error, begun=bool(listed) or resumed, scope=self.scope, known=anything_known)

    def _pages(self) -> Iterator[Sequence[str]]:
        """The catalog from where the walk is. Where the registry refuses that, from its beginning, once."""
        pages = self.source.catalog(PAGE, self.row.marker)
        try:
            first = next(pages)
        except RegistryError as error:
            refused = error.status is not None and 400 <= error.status < 500 and error.status not in {401, 403, 429}
            if self.row.marker is None or not refused:
                raise
            log.warning("the primary does not go on with its catalog where it was left: %s", error)
            self._reach(None)
            pages = self.source.catalog(PAGE)
            first = next(pages)
        for page in itertools.chain([first], pages):
            yield page.repositories
            if page.following is not None:
                self._reach(page.following)

    def _mark(self, paths: Sequence[str]) -> None:
        for batch in in_batches([path for path in paths if self.scope.covers(path)], BATCH):
            self._require_lease()
            with transaction():
                ids = repository_ids(batch, now())
                fresh = marking.not_full_since(self.site, sorted(ids.values()), self.row.started_at)
                if fresh:
                    self.row.marked += len(marking.mark_full(self.site, fresh, priority=self.row.priority))
                    self._write(marked=self.row.marked)

    def _reach(self, marker: str | None) -> None:
        self._require_lease()
        self.row.marker = marker
        with transaction():
            self._write(marker=marker)

    def _write(self, **values: object) -> None:
        mine = (CatalogWalk.site == self.site) & (CatalogWalk.started_at == self.row.started_at)
        CatalogWalk.update(**values, updated_at=now()).where(mine).execute()

    def _require_lease(self) -> None:
        if self.lease.remaining() <= 0:
            raise WalkLost(f"the walk of the catalog for {self.site.name} is another process's by now")

    def _end(self) -> int:
        self._require_lease()
        with transaction():
            Site.update(reconciled_at=now()).where(Site.id == self.site.id).execute()
            # What was asked for meanwhile stays asked for.
            Site.update(reconcile_requested_at=None, reconcile_reason=None).where(
                (Site.id == self.site.id) & (Site.reconcile_requested_at <= self.row.started_at)
            ).execute()
            CatalogWalk.delete().where(CatalogWalk.site == self.site).execute()
        return self.row.marked
