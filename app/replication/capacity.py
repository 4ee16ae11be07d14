"""Capacity: how many repositories of one site are synced at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import datetime

from peewee import Expression, ModelSelect, fn

from app.database import CAPACITY_LOCK, one_at_a_time, transaction
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Site, SyncState
from app.replication import marking
from app.statements import Statement

#: Capacities by site; sites without one are left out.
Limits = Mapping[int, int]


def limits() -> Limits:
    """The sites with a capacity. Inside a connection."""
    return {site.id: capacity for site in _LIMITED.rows() if (capacity := capacity_of(site)) is not None}


def _limited() -> ModelSelect[Site]:
    limited = Site.capacity.is_null(False) | Site.granted_capacity.is_null(False)
    return Site.select(Site.id, Site.capacity, Site.granted_capacity).where(limited & Site.here())


_LIMITED = Statement(_limited)


def capacity_of(site: Site) -> int | None:
    """Repositories of the site that are synced at once at most, here and by what the primary's deployment grants."""
    return min((each for each in (site.capacity, site.granted_capacity) if each is not None), default=None)


def room(limits: Limits, instant: datetime) -> Expression:
    """Tracking rows whose site has room for one more. Inside a connection.

    What nobody has just pushed leaves one place free, where there are several: a backfill has rows that take hours.
    """
    full, nearly = [], []
    for site_id, capacity in limits.items():
        held = _held(site_id, instant)
        if held >= capacity:
            full.append(site_id)
        elif capacity > 1 and held == capacity - 1:
            nearly.append(site_id)
    has_room: Expression = Registry.site.not_in(full)
    if nearly:
        has_room &= Registry.site.not_in(nearly) | (Registry.priority <= marking.FRESH)
    return has_room


@contextlib.contextmanager
def counted() -> Iterator[Limits]:
    """While inside, nobody else takes a row of a site with a capacity: two who count at once would both find room."""
    found = limits()
    if not found:
        yield found
        return
    with transaction():
        one_at_a_time(0, CAPACITY_LOCK)
        yield found


def _held(site_id: int, instant: datetime) -> int:
    """Rows in somebody's hands. An abandoned one takes no place: it may be taken over."""
    held = (Registry.state == SyncState.STARTED) & (Registry.lease_expires_at > instant)
    return int(Registry.select(fn.COUNT(Registry.id)).where((Registry.site == site_id) & held).scalar() or 0)
