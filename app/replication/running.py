"""Running: the syncs that are under way on a site, and what each has still to do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.database import now
from app.models import ContainerRepository, Reference, Site, SyncState
from app.models import ContainerRepositoryRegistry as Registry

#: Tags that are named of each.
NAMED = 3


@dataclass(frozen=True, slots=True)
class Running:
    """A repository that a worker is at."""

    row: Registry
    since: datetime | None
    #: Tags and digests that are not done, and the names of some of them.
    left: int
    names: tuple[str, ...]


def running(site: Site, limit: int) -> list[Running]:
    """What is being synced on the site, the longest first; at most `limit`. Call it inside a connection.

    What a killed worker has left behind is not: another takes it over within a minute.
    """
    held = (Registry.state == SyncState.STARTED) & (Registry.lease_expires_at > now())
    rows = Registry.select(Registry, ContainerRepository).join(ContainerRepository)
    rows = rows.where((Registry.site == site) & Registry.in_scope & held).order_by(Registry.started_at, Registry.id)
    return [_running(row) for row in rows.limit(limit)]


def _running(row: Registry) -> Running:
    left = Reference.select().where((Reference.registry == row) & (Reference.state == SyncState.PENDING))
    # In the index's own order: to sort a hundred thousand would cost more than the names are worth.
    names = tuple(reference.name for reference in left.order_by(Reference.retry_at).limit(NAMED))
    return Running(row, row.started_at, left.count(), names)
