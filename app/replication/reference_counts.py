"""How many references a site has of each kind, without counting them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from peewee import fn

from app.models import ContainerRepositoryRegistry as Registry
from app.models import Reference, ReferenceCount, Site, SyncState

#: What a reference is in while it waits.
WAITING = (SyncState.PENDING, SyncState.FAILED)


@dataclass(frozen=True, slots=True)
class Group:
    """References of a site that are alike, counted."""

    is_tag: bool
    in_scope: bool
    state: int
    #: Not ours.
    drift: bool
    count: int


def of(site: Site) -> list[Group]:
    """The site's references. It costs the same however many there are. Inside a connection."""
    kind = (ReferenceCount.is_tag, ReferenceCount.in_scope, ReferenceCount.state, ReferenceCount.drift)
    summed: Any = (
        ReferenceCount.select(*kind, fn.SUM(ReferenceCount.number).alias("number"))
        .where(ReferenceCount.site_id == site.id)
        .group_by(*kind)
        .tuples()
    )
    # PostgreSQL sums to a decimal.
    groups = [Group(bool(tag), bool(in_scope), state, bool(drift), int(n)) for tag, in_scope, state, drift, n in summed]
    return [group for group in groups if group.count]


def oldest_waiting(site: Site) -> datetime | None:
    """Since when the tag in scope has been waiting that waits longest; None where none does. Inside a connection."""
    # Asked of each by itself: a join may begin with the site's rows, and then go through all references.
    ours = Registry.select(1).where((Registry.id == Reference.registry) & (Registry.site == site))
    waiting = Reference.is_tag & Reference.in_scope & Reference.state.in_(WAITING)
    # The first half alone can use the index, which holds only what waits.
    query = Reference.select(Reference.pending_since).where(Reference.pending_since.is_null(False) & waiting)
    first = query.where(fn.EXISTS(ours)).order_by(Reference.pending_since).first()
    return first.pending_since if first else None
