"""The event log: registry events made durable, each once, and read in order without losing a late one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.database import MAX_ROWS, assign_transaction_id, in_batches, now, snapshot_horizon, transaction
from app.models import ContainerRepository, Cursor, Event, QuarantinedEvent
from app.notifications import Quarantined, RegistryEvent


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of an envelope."""

    accepted: int = 0
    duplicate: int = 0
    quarantined: int = 0


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an envelope came from, for whoever looks at what could not be read."""

    dialect: str
    size: int
    content_type: str | None = None
    remote_address: str | None = None


def store(events: Sequence[RegistryEvent], unreadable: Sequence[Quarantined], origin: Origin) -> Stored:
    """Write an envelope in one transaction, each event once. Beyond 500 events it takes several, each safe to repeat.

    Raises:
        DatabaseUnavailable, peewee.PeeweeException: when it could not be written; the registry has to send it again.
    """
    accepted = 0
    for number, batch in enumerate(in_batches(events, MAX_ROWS) if events else [()]):
        with transaction():
            accepted += _store(batch) if batch else 0
            if number == 0:
                _quarantine(unreadable, origin)
    return Stored(accepted, len(events) - accepted, len(unreadable))


def _store(events: Sequence[RegistryEvent]) -> int:
    assign_transaction_id()
    instant = now()
    fresh = {event.id: event for event in events}
    known = Event.select(Event.event_key).where(Event.event_key.in_(list(fresh)))
    # Looked up first: ON CONFLICT draws a sequence value for every duplicate, and a registry may repeat thousands.
    for row in known:
        del fresh[row.event_key]
    if not fresh:
        return 0
    repositories = repository_ids({event.repository for event in fresh.values()}, instant)
    rows = [
        {
            "event_key": event.id,
            "container_repository": repositories[event.repository],
            "action": event.action,
            "tag": event.tag,
            "digest": event.digest,
            "media_type": event.media_type,
            "occurred_at": event.occurred_at or instant,
            "actor": event.actor,
            "user_agent": event.user_agent,
            "source_instance_id": event.source_instance_id,
            "created_at": instant,
        }
        for event in fresh.values()
    ]
    # RETURNING tells what went in: the row count and last id of a conflict differ between the databases.
    return len(list(Event.insert_many(rows).on_conflict_ignore().returning(Event.id).execute()))


def repository_ids(paths: Iterable[str], instant: datetime) -> dict[str, int]:
    """Ids of the repositories with these paths, made where they are new. Call it inside a transaction."""
    wanted = sorted(set(paths))
    found = _repository_ids(wanted)
    missing = [{"path": path, "created_at": instant} for path in wanted if path not in found]
    if missing:
        ContainerRepository.insert_many(missing).on_conflict_ignore().execute()
        found = _repository_ids(wanted)
    return found


def _repository_ids(paths: Sequence[str]) -> dict[str, int]:
    rows = ContainerRepository.select().where(ContainerRepository.path.in_(paths))
    return {row.path: row.id for row in rows}


def _quarantine(items: Sequence[Quarantined], origin: Origin) -> None:
    """Keep what could not be read; the same thing again is counted, not stored again."""
    instant = now()
    for item in items:
        fingerprint = hashlib.sha256(f"{origin.dialect}\n{item.reason}\n{item.excerpt}".encode()).hexdigest()
        QuarantinedEvent.insert(
            dialect=origin.dialect[:255],
            reason=item.reason,
            content_type=(origin.content_type or "")[:255] or None,
            remote_address=origin.remote_address,
            size=origin.size,
            excerpt=item.excerpt,
            fingerprint=fingerprint,
            created_at=instant,
            last_seen_at=instant,
        ).on_conflict(
            conflict_target=[QuarantinedEvent.fingerprint],
            update={
                QuarantinedEvent.occurrences: QuarantinedEvent.occurrences + 1,
                QuarantinedEvent.last_seen_at: instant,
            },
        ).execute()


@dataclass(frozen=True, slots=True)
class Position:
    """How far a reader is: the last id seen, and the ids below it that had not appeared.

    Under PostgreSQL ids are drawn before they commit, so a lower id can appear after a higher one. A missing id is a
    gap, kept with the snapshot's xmax when it was first missed. It closes when the id appears, or when every
    transaction that was running then has ended without it. Nobody waits for a gap.
    """

    last: int = 0
    gaps: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Batch:
    events: Sequence[Event]
    position: Position

    @property
    def moved(self) -> bool:
        return bool(self.events)


#: Ids missing in one stretch beyond this are not a late commit but a sequence that was set forward.
MAX_GAP = 100_000


def read(position: Position, limit: int = 200) -> Batch:
    """The next events after `position`, late ones first. Call it inside a transaction.

    Three statements, in this order: the horizon that closes old gaps is taken before they are looked up, and the one
    that opens new gaps after they were seen; the other way round an event could slip between.
    """
    before = snapshot_horizon()
    late = list(Event.select().where(Event.id.in_(list(position.gaps))).order_by(Event.id)) if position.gaps else []
    appeared = {event.id for event in late}
    gaps = {
        missing: xmax
        for missing, xmax in position.gaps.items()
        if missing not in appeared and before is not None and before[0] < xmax
    }
    fresh = list(Event.select().where(Event.id > position.last).order_by(Event.id).limit(limit))
    after = snapshot_horizon()
    last = position.last
    for event in fresh:
        if after is not None and 0 < event.id - last - 1 <= MAX_GAP:
            gaps.update(dict.fromkeys(range(last + 1, event.id), after[1]))
        last = event.id
    return Batch([*late, *fresh], Position(last, gaps))


def unread(position: Position) -> int:
    """How many events a reader at `position` has not seen."""
    late = Event.select().where(Event.id.in_(list(position.gaps))).count() if position.gaps else 0
    return late + Event.select().where(Event.id > position.last).count()


def prune(older_than: timedelta, limit: int = MAX_ROWS) -> int:
    """Delete at most `limit` events that are older and that every site has read; return how many.

    A site that is paused keeps what it has not read.
    """
    with transaction():
        positions = [(cursor.position, cursor.gaps) for cursor in Cursor.select()]
        read_up_to = min((min([last, *(int(gap) - 1 for gap in gaps)]) for last, gaps in positions), default=None)
        old = Event.select(Event.id).where(Event.created_at < now() - older_than)
        if read_up_to is not None:
            old = old.where(Event.id <= read_up_to)
        ids = [row.id for row in old.order_by(Event.id).limit(limit)]
        return Event.delete().where(Event.id.in_(ids)).execute() if ids else 0
