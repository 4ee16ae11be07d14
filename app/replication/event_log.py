"""The event log: registry events made durable, each once, and read in order without losing a late one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache, partial
from typing import Any

from peewee import SQL, Insert, ModelSelect

from app import correlation
from app.database import MAX_ROWS, connection, in_batches, now, storing, transaction, uncrossed
from app.models import ContainerRepository, Cursor, Event, QuarantinedEvent, Site
from app.notifications import Quarantined, RegistryEvent
from app.replication.log import state as log_state
from app.replication.log.position import MAX_GAP, Position
from app.replication.log.reading import Batch, appeared, read
from app.statements import Statement, named, several, slot

__all__ = [
    "MAX_GAP",
    "Batch",
    "Origin",
    "Position",
    "Stored",
    "append",
    "prune",
    "read",
    "repository_ids",
    "size",
    "store",
    "unread",
]


#: Events that are counted one by one.
COUNTED = 1_000


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
        accepted += uncrossed(partial(_store, batch, () if number else unreadable, origin))
    return Stored(accepted, len(events) - accepted, len(unreadable))


def _store(events: Sequence[RegistryEvent], unreadable: Sequence[Quarantined], origin: Origin) -> int:
    with transaction():
        accepted = append(events) if events else 0
        if unreadable:
            _quarantine(unreadable, origin)
        return accepted


def store_together(events: Sequence[RegistryEvent], occasions: Mapping[str, str | None]) -> set[str]:
    """Write events of several envelopes, at most 500, in one transaction; return the ids of those that were new.
    `occasions` are the correlation ids of those who brought them, by event.

    Raises:
        DatabaseUnavailable, peewee.PeeweeException: when they could not be written, none of them.
    """

    def write() -> set[str]:
        with transaction():
            return _append(events, occasions)

    return uncrossed(write)


def append(events: Sequence[RegistryEvent]) -> int:
    """Write these events, at most 500, each once; return how many were new. Call it inside a transaction."""
    return len(_append(events, {}))


def _append(events: Sequence[RegistryEvent], occasions: Mapping[str, str | None]) -> set[str]:
    instant = storing()
    fresh = {event.id: event for event in events}
    # Looked up first: ON CONFLICT draws a sequence value for every duplicate, and a registry may repeat thousands.
    known, repositories = _look_up(list(fresh), sorted({event.repository for event in events}))
    for key in known:
        del fresh[key]
    if not fresh:
        return set()
    if missing := {event.repository for event in fresh.values()} - repositories.keys():
        repositories |= repository_ids(missing, instant)
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
            "correlation_id": event.correlation_id or occasions.get(event.id) or correlation.current(),
            "created_at": instant,
        }
        for event in fresh.values()
    ]
    # In the order in which they came, by which readers go, although two who bring the same ones in different orders may
    # then wait for each other crosswise. RETURNING tells what went in: the row count and last id of a conflict differ
    # between the databases. The target is named because SQLite's bare OR IGNORE passes over rows that break any other
    # rule as well.
    values = {f"{column}{number}": row[column] for number, row in enumerate(rows) for column in row}
    return {key for (key,) in _inserting(len(rows)).rows(**values)}


#: Of an event, what is not the same for all.
_COLUMNS = (
    *("event_key", "container_repository", "action", "tag", "digest", "media_type", "occurred_at", "actor"),
    *("user_agent", "source_instance_id", "correlation_id", "created_at"),
)


def _look_up(keys: Sequence[str], paths: Sequence[str]) -> tuple[set[str], dict[str, int]]:
    """Which of these events are in the log, and the ids of those of these repositories that are known."""
    keys, paths = _padded(keys), _padded(paths)
    rows = _looking_up(len(keys), len(paths)).rows(**named("key", keys), **named("path", paths))
    return {text for id_, text in rows if id_ == _OF_AN_EVENT}, {text: id_ for id_, text in rows if id_ != _OF_AN_EVENT}


#: Stands where a repository has its id, which is never that.
_OF_AN_EVENT = 0


def _padded(values: Sequence[str]) -> list[str]:
    """The same values, the last of them so often that few lengths are left: each is a statement of its own."""
    length = 1 << max(0, len(values) - 1).bit_length()
    return [*values, *([values[-1]] * (length - len(values)))]


@lru_cache(maxsize=128)
def _looking_up(keys: int, paths: int) -> Statement:
    """One question for both: on PostgreSQL a question costs more than its answer."""

    def build() -> Any:
        events = Event.select(SQL(str(_OF_AN_EVENT)), Event.event_key).where(Event.event_key.in_(several("key", keys)))
        path = ContainerRepository.path
        repositories = ContainerRepository.select(ContainerRepository.id, path).where(path.in_(several("path", paths)))
        return events.union_all(repositories).tuples()

    return Statement(build)


@lru_cache(maxsize=64)
def _inserting(count: int) -> Statement:
    def build() -> Insert:
        fields = Event._meta.fields
        rows = [{name: slot(f"{name}{number}", fields[name]) for name in _COLUMNS} for number in range(count)]
        insert = Event.insert_many(rows).on_conflict(action="NOTHING", conflict_target=[Event.event_key])
        return insert.returning(Event.event_key).tuples()

    return Statement(build)


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
    return {row.path: row.id for row in _by_path(len(paths)).rows(**named("path", paths))}


@lru_cache(maxsize=64)
def _by_path(count: int) -> Statement:
    return Statement(lambda: ContainerRepository.select().where(ContainerRepository.path.in_(several("path", count))))


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


def size() -> int:
    """How many events the log holds: exactly up to `COUNTED`; of more, what their ids span, which is never less."""
    return _count(Event.select(Event.id))


def unread(position: Position) -> int:
    """How many events a reader at `position` has not seen: exactly up to `COUNTED`, and of more what their ids span."""
    return len(appeared(position.gaps)) + _count(Event.select(Event.id).where(Event.id > position.last))


def _count(events: ModelSelect[Event]) -> int:
    """Counting costs as much as there is to count, and a log may hold millions; ids are left out by rollbacks alone."""
    counted = int(events.limit(COUNTED + 1).count())
    if counted <= COUNTED:
        return counted
    first, last = events.order_by(Event.id).first(), events.order_by(Event.id.desc()).first()
    return int(last.id - first.id + 1) if first is not None and last is not None else counted


def prune(older_than: timedelta, unread_older_than: timedelta | None = None, limit: int = MAX_ROWS) -> int:
    """Delete at most `limit` events that are older than `older_than` and that every site has read; return how many.

    What a site has not read is kept for it, whether it is paused or away, but not beyond `unread_older_than` (None:
    for good): it is told then that it missed something, and backfills. A retired site keeps nothing.
    """
    with connection():
        instant = now()
        # Only so many of the oldest are looked at: behind what is kept for a site there may be millions more of it.
        old = Event.select(Event.id, Event.created_at).where(Event.created_at < instant - older_than)
        oldest = list(old.order_by(Event.created_at, Event.id).limit(limit))
        if not oldest:
            return 0
        with transaction():
            read_up_to = _read_up_to()
            before = None if unread_older_than is None else instant - unread_older_than
            ids = [
                event.id
                for event in oldest
                if read_up_to is None or event.id <= read_up_to or (before is not None and event.created_at < before)
            ]
            if not ids:
                return 0
            log_state.pruned(max(ids))
            deleted: int = Event.delete().where(Event.id.in_(ids)).execute()
            return deleted


def _read_up_to() -> int | None:
    """The id up to which every site that is not retired has read; None where there is none."""
    cursors = Cursor.select(Cursor).join(Site).where(~Site.retired)
    positions = [(cursor.position, cursor.gaps) for cursor in cursors]
    return min((min([last, *(int(gap) - 1 for gap in gaps)]) for last, gaps in positions), default=None)
