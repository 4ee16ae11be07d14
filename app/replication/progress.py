"""Progress of a backfill: how many repositories it has found, how many of them are done, and when it will be over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from peewee import fn

from app.database import now
from app.models import CatalogWalk, Follower, Site, SyncState
from app.models import ContainerRepositoryRegistry as Registry

#: Repositories that have to be done before their pace says anything.
ENOUGH = 3


@dataclass(frozen=True, slots=True)
class Backfill:
    """A look at everything: the last one of a site, under way or over."""

    started_at: datetime
    #: More repositories are still being found.
    finding: bool
    found: int
    left: int
    #: Of those that are not left: what could not be synced, and is tried again by itself.
    failed: int
    #: When it should be over at the pace so far; None before there is one, and when nothing is left.
    ends_at: datetime | None

    @property
    def synced(self) -> int:
        return self.found - self.left - self.failed

    @property
    def done(self) -> bool:
        return not self.finding and not self.left


def backfill(site: Site, instant: datetime | None = None) -> Backfill | None:
    """The site's last backfill; None if there never was one. Call it inside `app.database.connection()`.

    A repository is left until it was listed and copied since the backfill began; a push to it meanwhile makes it wait
    once more.
    """
    started: datetime | None = site.reconcile_started_at
    if started is None:
        return None
    # Group by group in the order of an index, in which SQLite finds no bare boolean.
    kind = (Registry.state, Registry.full_sync)
    scoped = (Registry.site == site) & Registry.in_scope.in_([True])
    rows = Registry.select(*kind, fn.COUNT(Registry.id)).where(scoped & (Registry.full_sync_requested_at >= started))
    grouped: Any = rows.group_by(*kind).tuples()
    counted: list[tuple[int, bool, int]] = list(grouped)
    left = sum(count for state, full, count in counted if full or state in {SyncState.PENDING, SyncState.STARTED})
    found = sum(count for *_, count in counted)
    return Backfill(
        started_at=started,
        finding=CatalogWalk.select().where(CatalogWalk.site == site).exists(),
        found=found,
        left=left,
        failed=sum(count for state, full, count in counted if state == SyncState.FAILED and not full),
        ends_at=_end(started, instant or now(), found - left, left),
    )


def halted(site: Site, *, replication_enabled: bool) -> str | None:
    """Why what waits on the site is done by nobody until a person says otherwise; None while it is. Whoever waits for
    it must not wait for that. Call it inside `app.database.connection()`."""
    if not replication_enabled:
        return "replication is switched off (GEO_REGISTRY_REPLICATION_ENABLED is false)"
    current: Site | None = Site.get_or_none(Site.id == site.id)
    if current is None or current.retired:
        return f"{site.name} is no longer a site of this deployment"
    if current.enabled:
        return None
    follower: Follower | None = Follower.get_or_none(Follower.site == site)
    where = " at the primary's deployment" if follower is not None and follower.paused else ""
    return f"{site.name} is paused{where}; `geo sites resume {site.name}`{' there' if where else ''} lets it go on"


def _end(started: datetime, instant: datetime, done: int, left: int) -> datetime | None:
    elapsed = (instant - started).total_seconds()
    if done < ENOUGH or not left or elapsed <= 0:
        return None
    return instant + timedelta(seconds=elapsed / done * left)
