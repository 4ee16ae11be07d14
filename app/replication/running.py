"""Running: the syncs that are under way on a site, and what each has still to do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from app.database import now
from app.models import ContainerRepository, Reference, Site, SyncState
from app.models import ContainerRepositoryRegistry as Registry
from app.replication.movements import Held, Movement, Movements

#: Tags that are named of each.
NAMED = 3

#: Syncs that are shown to who does not page.
SHOWN = 20


@dataclass(frozen=True, slots=True)
class Running:
    """A repository that a worker is at."""

    row: Registry
    since: datetime | None
    #: Tags and digests that are not done, and the names of some of them.
    left: int
    names: tuple[str, ...]
    #: The bytes that it moves; None where nothing was told of them: it has just begun, or there is no Redis.
    moved: Movement | None = None


def running(site: Site, limit: int, movements: Movements | None = None) -> list[Running]:
    """What is being synced on the site, the longest first; at most `limit`. Call it inside a connection.

    What a killed worker has left behind is not: another takes it over within a minute.
    """
    held = (Registry.state == SyncState.STARTED) & (Registry.lease_expires_at > now())
    rows = Registry.select(Registry, ContainerRepository).join(ContainerRepository)
    rows = rows.where((Registry.site == site) & Registry.in_scope & held).order_by(Registry.started_at, Registry.id)
    syncs = {Held(site.name, row.container_repository.path, row.lease_token): row for row in rows.limit(limit)}
    moved = movements.look(list(syncs)) if movements is not None else {}
    return [_running(row, moved.get(each)) for each, row in syncs.items()]


def _running(row: Registry, moved: Movement | None) -> Running:
    left = Reference.select().where((Reference.registry == row) & (Reference.state == SyncState.PENDING))
    # In the index's own order: to sort a hundred thousand would cost more than the names are worth.
    names = tuple(reference.name for reference in left.order_by(Reference.retry_at).limit(NAMED))
    return Running(row, row.started_at, left.count(), names, moved)
