"""The event log: registry events made durable, each once, and read in order without losing a late one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import reduce
from operator import or_

from app.database import MAX_ROWS, in_batches, now, oldest_running, transaction, transaction_id
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
    transaction_id()
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
    # RETURNING tells what went in: the row count and last id of a conflict differ between the databases. The target is
    # named because SQLite's bare OR IGNORE passes over rows that break any other rule as well.
    insert = Event.insert_many(rows).on_conflict(action="NOTHING", conflict_target=[Event.event_key])
    return len(list(insert.returning(Event.id).execute()))


def repository_ids(paths: Iterable[str], instant: datetime) -> dict[str, int]:
    """Ids of the repositories with these paths, made where they are new. Call it inside a transaction."""
    wanted = sorted(set(paths))
    found = _repository_ids(wanted)
    missing = [{"path": path, "created_at": instant} for path in wanted if path not in found]
    if missing:
        insert = ContainerRepository.insert_many(missing)
        insert.on_conflict(action="NOTHING", conflict_target=[ContainerRepository.path]).execute()
        found = _repository_ids(wanted)
    return found


def _repository_ids(paths: Sequence[str]) -> dict[str, int]:
    rows = ContainerRepository.select().where(ContainerRepository.path.in_(paths))
    return {row.path: row.id for row in rows}


def _quarantine(items: Sequence[Quarantined], origin: Origin) -> None:
    """Keep what could not be read; the same thing again is counted, not stored again."""
    instant = now()
    marked = {hashlib.sha256(f"{origin.dialect}\n{i.reason}\n{i.excerpt}".encode()).hexdigest(): i for i in items}
    # In one order everywhere: two senders of the same things must not wait for each other crosswise.
    for fingerprint, item in sorted(marked.items()):
        QuarantinedEvent.insert(
            dialect=origin.dialect[:255],
            reason=item.reason,
            content_type=(origin.content_type or "")[:255] or None,
            remote_address=(origin.remote_address or "")[:255] or None,
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
    gap, kept with a fence: a transaction id that is higher than that of any transaction which may have drawn it. It
    closes when the id appears, or when every transaction below the fence has ended without it. Nobody waits for a gap.
    (A snapshot's xmax is no such fence: it only says what has *completed*, and a running transaction can be above it.)
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


#: Ids watched in one stretch. More are missing only when a sequence was set forward, or when envelope after envelope
#: was rolled back; of those the last are the ones that somebody may still be about to commit.
MAX_GAP = 10_000


def read(position: Position, limit: int = 200) -> Batch:
    """The next events after `position`, late ones first. Call it inside a transaction.

    The order of the statements matters: what tells that old gaps can be closed is asked before they are looked up, and
    the fence of new gaps is set after they were seen; the other way round an event could slip between.
    """
    before = oldest_running()
    late = _appeared(position.gaps)
    appeared = {event.id for event in late}
    gaps = {
        missing: fence
        for missing, fence in position.gaps.items()
        if missing not in appeared and before is not None and before < fence
    }
    fresh = list(Event.select().where(Event.id > position.last).order_by(Event.id).limit(limit))
    missing_now = _missing(position.last, fresh)
    if missing_now and (fence_now := transaction_id()) is not None:
        gaps |= dict.fromkeys(missing_now, fence_now)
    return Batch([*late, *fresh], Position(fresh[-1].id if fresh else position.last, gaps))


def _appeared(gaps: Iterable[int]) -> list[Event]:
    found: list[Event] = []
    # By stretches: ids one by one would soon be more than a statement can have parameters.
    for stretches in in_batches(_stretches(gaps)):
        within = reduce(or_, (Event.id.between(first, last) for first, last in stretches))
        found.extend(Event.select().where(within).order_by(Event.id))
    return found


def _stretches(ids: Iterable[int]) -> list[tuple[int, int]]:
    stretches: list[tuple[int, int]] = []
    for id_ in sorted(ids):
        first = stretches.pop()[0] if stretches and stretches[-1][1] == id_ - 1 else id_
        stretches.append((first, id_))
    return stretches


def _missing(last: int, events: Sequence[Event]) -> list[int]:
    missing: list[int] = []
    for event in events:
        missing.extend(range(max(last + 1, event.id - MAX_GAP), event.id))
        last = event.id
    return missing


def unread(position: Position) -> int:
    """How many events a reader at `position` has not seen."""
    return len(_appeared(position.gaps)) + Event.select().where(Event.id > position.last).count()


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
