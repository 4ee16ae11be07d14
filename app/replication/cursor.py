"""The cursor: turns events into references to be looked at, and moves on, in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from peewee import fn

from app.database import connection, now, one_at_a_time, transaction
from app.models import ContainerRepository, Cursor, Event, Site
from app.replication import event_log
from app.replication.event_log import Position
from app.replication.log import reading
from app.replication.log import state as log_state
from app.replication.marking import Marks
from app.replication.scope import Scope
from app.replication.tag_scope import TagScope

log = logging.getLogger(__name__)

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
        cursor = Cursor.get_or_none(Cursor.site == site)
        if cursor is None:
            # Just added: it begins in a moment.
            return Advance(0, 0)
        position = position_of(cursor)
        if position.last < log_state.pruned_to():
            return _begin_anew(site, cursor)
        batch = event_log.read(position, limit)
        if not batch.moved and batch.position == position:
            return Advance(0, 0)
        registries = _mark(site, batch.events)
        move(cursor, batch.position)
        if batch.events:
            times = [event.occurred_at for event in batch.events]
            cursor.event_at = max([*times, cursor.event_at] if cursor.event_at else times)
        cursor.updated_at = now()
        cursor.save()
    return Advance(len(batch.events), registries)


def position_of(cursor: Cursor) -> Position:
    """The position that the row holds."""
    return Position(cursor.position, {int(gap): fence for gap, fence in cursor.gaps.items()})


def positions() -> dict[int, Position]:
    """How far each site has read, by its id."""
    return {cursor.site_id: position_of(cursor) for cursor in Cursor.select()}


def move(cursor: Cursor, position: Position) -> None:
    """Put the position into the row; it is not saved."""
    cursor.position = position.last
    cursor.gaps = {str(gap): fence for gap, fence in position.gaps.items()}


def begin(site: Site) -> bool:
    """Make the site's cursor if it has none, at the end of the log; whether it was made.

    Outside of any transaction: what was there before is the backfill's work, and what comes late must not be missed.
    """
    with connection():
        if Cursor.select().where(Cursor.site == site).exists():
            return False
        position = reading.head(pruned_to=log_state.pruned_to())
        cursor = Cursor(site=site, updated_at=now())
        move(cursor, position)
        insert = Cursor.insert(**cursor.__data__).on_conflict(action="NOTHING", conflict_target=[Cursor.site])
        return bool(list(insert.returning(Cursor.site).execute()))


def acknowledge(site: Site, text: str) -> None:
    """Note how far the deployment of a remote site has read, so that what it has not is kept.

    Written when it moved, and once a minute: it also tells when the site was last here.

    Raises:
        InvalidPosition: for what is none.
    """
    position, instant = Position.decode(text), now()
    happened = Event.select(Event.occurred_at).where(Event.id == position.last)
    values: dict[str, Any] = {
        "position": position.last,
        "gaps": {str(gap): fence for gap, fence in position.gaps.items()},
        # What was pruned since tells no time any more.
        "event_at": fn.COALESCE(happened, Cursor.event_at),
    }
    stale = (Cursor.position != position.last) | (Cursor.updated_at < instant - timedelta(minutes=1))
    Cursor.update(**values, updated_at=instant).where((Cursor.site == site.id) & stale).execute()


def _begin_anew(site: Site, cursor: Cursor) -> Advance:
    """The log was pruned past the cursor: a backfill finds what it missed."""
    log.warning("the event log was pruned past site %s, which was paused for long; it is backfilled", site.name)
    move(cursor, reading.head(pruned_to=log_state.pruned_to()))
    cursor.updated_at = now()
    cursor.save()
    reason = "the event log was pruned past this site"
    Site.update(reconcile_requested_at=now(), reconcile_reason=reason).where(Site.id == site.id).execute()
    return Advance(0, 0)


def drain(site: Site) -> Advance:
    """Advance until nothing is left to read."""
    events = registries = 0
    while (step := advance(site)).events:
        events, registries = events + step.events, registries + step.registries
        with connection():
            # A look: `advance` would take the lock for it.
            if step.events < BATCH and not has_unread(site):
                break
    return Advance(events, registries)


def has_unread(site: Site) -> bool:
    """Whether `advance` would find something. A gap alone counts: it has to be closed one day."""
    cursor = Cursor.get_or_none(Cursor.site == site)
    return cursor is not None and (
        bool(cursor.gaps) or Event.select(Event.id).where(Event.id > cursor.position).exists()
    )


def _mark(site: Site, events: Sequence[Event]) -> int:
    scope, tags = Scope.of(site), TagScope.of(site)
    ids = {event.container_repository_id for event in events}
    paths = {row.id: row.path for row in ContainerRepository.select().where(ContainerRepository.id.in_(list(ids)))}
    marks = Marks(site)
    for event in events:
        if scope.covers(paths[event.container_repository_id]) and (event.tag is None or tags.covers(event.tag)):
            marks.event(event)
    return marks.apply()
