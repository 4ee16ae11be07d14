"""The cursor: turns events into references to be looked at, and moves on, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.database import now, one_at_a_time, transaction
from app.models import ContainerRepository, Cursor, Event, Site
from app.replication import event_log
from app.replication.event_log import Position
from app.replication.marking import Marks
from app.replication.scope import Scope

#: Events in one transaction: each marks a few rows, and a webhook waits while they are written.
BATCH = 200


@dataclass(frozen=True, slots=True)
class Advance:
    """What one step did: events read and tracking rows that have work now."""

    events: int
    registries: int


def advance(site: Site, limit: int = BATCH) -> Advance:
    """Read the next events for `site` and mark what they name; the position moves with the marks or not at all.

    One at a time for a site: the second process waits and reads on from where the first ended. A lease beside the
    transaction would only add a way to lose it.
    """
    with transaction():
        one_at_a_time(site.id)
        cursor = Cursor.get(Cursor.site == site)
        position = Position(cursor.position, {int(gap): xmax for gap, xmax in cursor.gaps.items()})
        batch = event_log.read(position, limit)
        if not batch.moved and batch.position == position:
            return Advance(0, 0)
        registries = _mark(site, batch.events)
        cursor.position = batch.position.last
        cursor.gaps = {str(gap): xmax for gap, xmax in batch.position.gaps.items()}
        if batch.events:
            times = [event.occurred_at for event in batch.events]
            cursor.event_at = max([*times, cursor.event_at] if cursor.event_at else times)
        cursor.updated_at = now()
        cursor.save()
    return Advance(len(batch.events), registries)


def drain(site: Site) -> Advance:
    """Advance until nothing is left to read."""
    events = registries = 0
    while (step := advance(site)).events:
        events, registries = events + step.events, registries + step.registries
    return Advance(events, registries)


def has_unread(site: Site) -> bool:
    """Whether `advance` would find something. A gap alone counts: it has to be closed one day."""
    cursor = Cursor.get_or_none(Cursor.site == site)
    return cursor is not None and (
        bool(cursor.gaps) or Event.select(Event.id).where(Event.id > cursor.position).exists()
    )


def _mark(site: Site, events: Sequence[Event]) -> int:
    scope = Scope(tuple(site.repositories.splitlines()))
    ids = {event.container_repository_id for event in events}
    paths = {row.id: row.path for row in ContainerRepository.select().where(ContainerRepository.id.in_(list(ids)))}
    marks = Marks(site)
    for event in events:
        if scope.covers(paths[event.container_repository_id]):
            marks.event(event)
    return marks.apply()
