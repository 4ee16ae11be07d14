"""Marking: writing down that a repository, or a reference in it, has to be looked at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any

from peewee import Case

from app.database import connection, in_batches, lock, now, transaction, value_or
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Event, Reference, Site, SyncState
from app.registry import is_digest
from app.statements import Statement, named, several, slot

#: Who asked; also the order in which a sync takes references up.
TRIGGERS = ("event", "manual", "repair", "retry", "full")

#: Priorities of tracking rows: what somebody waits for goes before what is merely owed.
FRESH, MANUAL, BACKFILL = 0, 5, 10


@dataclass(slots=True)
class _Mark:
    """What a batch of events says of one reference; later events overrule earlier ones."""

    desired_digest: str | None = None
    delete_witness: str | None = None
    event_id: int | None = None
    correlation_id: str | None = None
    event_at: datetime | None = None
    since: datetime | None = None
    #: A push that is younger than the deletion we know of takes the witness back.
    clears_witness: bool = False


@dataclass(slots=True)
class _RepositoryMarks:
    references: dict[str, _Mark] = field(default_factory=dict)
    #: Digests deleted on the primary: every tag that we know to stand on one has to be looked at.
    deleted_digests: dict[str, Event] = field(default_factory=dict)
    #: The whole repository was deleted, says an event.
    deleted: Event | None = None
    since: datetime | None = None


class Marks:
    """Gathers what events mean for one site and writes it in a few statements, in an order that cannot deadlock."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._repositories: dict[int, _RepositoryMarks] = {}

    def event(self, event: Event) -> None:
        """Add what `event` says. Events come in the order of the log, which need not be that of their happening."""
        marks = self._repositories.setdefault(event.container_repository_id, _RepositoryMarks())
        marks.since = _earlier(marks.since, event.occurred_at)
        if event.action == "push":
            self._push(marks, event)
        elif event.tag:
            self._delete(marks.references, event.tag, event)
        elif event.digest:
            marks.deleted_digests[event.digest] = event
        else:
            marks.deleted = event

    def _push(self, marks: _RepositoryMarks, event: Event) -> None:
        name = event.tag or event.digest
        assert name is not None
        mark = marks.references.setdefault(name, _Mark())
        if mark.delete_witness and mark.event_at and event.occurred_at < mark.event_at:
            return
        _update(mark, event, desired_digest=event.digest, delete_witness=None)
        mark.clears_witness = True

    def _delete(self, marks: dict[str, _Mark], name: str, event: Event) -> None:
        mark = marks.setdefault(name, _Mark())
        if mark.clears_witness and mark.event_at and event.occurred_at < mark.event_at:
            return
        _update(mark, event, desired_digest=None, delete_witness="event")
        mark.clears_witness = False

    def apply(self) -> int:
        """Write the marks; return how many tracking rows have work now. Call it inside a transaction."""
        instant = now()
        registries = tracking_rows(self._site, self._repositories, instant)
        # Everywhere the rows come before their references: who takes both must not wait crosswise.
        lock(Registry, [registry.id for registry in registries.values()])
        touched: list[tuple[Registry, _RepositoryMarks]] = []
        for repository_id, marks in sorted(self._repositories.items(), key=lambda item: registries[item[0]].id):
            registry = registries[repository_id]
            if self._apply(registry, marks, instant) or marks.deleted:
                touched.append((registry, marks))
        for registry, marks in touched:
            awaken([registry.id], since=marks.since or instant, priority=FRESH)
        return len(touched)

    def _apply(self, registry: Registry, marks: _RepositoryMarks, instant: datetime) -> bool:
        wanted = dict(marks.references)
        # What these very events pushed can be what they delete; no row knows it yet.
        for name, mark in marks.references.items():
            deleted = marks.deleted_digests.get(mark.desired_digest or "")
            for event in filter(None, (deleted, marks.deleted)):
                self._delete(wanted, name, event)
        if marks.deleted is not None:
            for known in Reference.select().where((Reference.registry == registry) & Reference.in_scope):
                self._delete(wanted, known.name, marks.deleted)
        if marks.deleted_digests:
            digests = list(marks.deleted_digests)
            for known in Reference.select().where(
                (Reference.registry == registry)
                & Reference.in_scope
                & (
                    Reference.observed_digest.in_(digests)
                    | Reference.desired_digest.in_(digests)
                    | Reference.name.in_(digests)
                )
            ):
                digest = next(
                    d for d in (known.observed_digest, known.desired_digest, known.name) if d in marks.deleted_digests
                )
                self._delete(wanted, known.name, marks.deleted_digests[digest])
        existing = {r.name: r for r in _references(registry, wanted)}
        for name, mark in sorted(wanted.items()):
            if name in existing:
                _remark(existing[name], mark)
            elif mark.delete_witness is None:
                _create(registry, name, mark, instant)
        # A deletion of something we never put there leaves nothing to do.
        return any(name in existing or mark.delete_witness is None for name, mark in wanted.items())


def tracking_rows(site: Site, repository_ids: Iterable[int], instant: datetime) -> dict[int, Registry]:
    """The site's tracking row for each repository, made where there is none. Call it inside a transaction."""
    wanted = sorted(repository_ids)
    found = _tracking_rows(site, wanted)
    missing = [
        # Of no urgency until somebody asks for it: being asked for only ever makes a row more urgent.
        {"site": site, "container_repository": repository_id, "priority": BACKFILL, "created_at": instant}
        for repository_id in wanted
        if repository_id not in found
    ]
    if missing:
        insert = Registry.insert_many(missing)
        insert.on_conflict(action="NOTHING", conflict_target=[Registry.site, Registry.container_repository]).execute()
        found = _tracking_rows(site, wanted)
    return found


def _tracking_rows(site: Site, repository_ids: Sequence[int]) -> dict[int, Registry]:
    rows = _tracked(len(repository_ids)).rows(site=site.id, **named("repository", repository_ids))
    return {row.container_repository_id: row for row in rows}


@lru_cache(maxsize=64)
def _tracked(count: int) -> Statement:
    return Statement(
        lambda: Registry.select().where(
            (Registry.site == slot("site")) & Registry.container_repository.in_(several("repository", count))
        )
    )


def awaken(registry_ids: Sequence[int], *, since: datetime, priority: int, full: bool = False) -> None:
    """Make tracking rows due now. A row that is being synced stays so; its holder sees the new generation.

    Call it inside a transaction, before the rows' references are written.
    """
    values: dict[str, Any] = {
        "generation": Registry.generation + 1,
        "state": Case(None, [(Registry.state == SyncState.STARTED, SyncState.STARTED)], SyncState.PENDING),
        "retry_at": None,
        "priority": Case(
            None,
            [((Registry.state == SyncState.PENDING) & (Registry.priority < priority), Registry.priority)],
            priority,
        ),
        "pending_since": value_or(Registry.pending_since, since),
    }
    if full:
        values |= {"full_sync": True, "full_sync_generation": Registry.generation + 1, "full_sync_requested_at": now()}
    for batch in in_batches(sorted(registry_ids)):
        if len(batch) > 1:
            lock(Registry, batch)
        Registry.update(**values).where(Registry.id.in_(list(batch))).execute()


def awaken_digests() -> int:
    """Make rows due whose untagged digests failed and may be tried again: a synced row is not taken up for them."""
    with connection():
        # Before anything is locked: this is asked every second, and hardly ever is there any.
        if not _sleeping(1):
            return 0
    with transaction():
        ids = _sleeping(100)
        if ids:
            awaken(ids, since=now(), priority=BACKFILL)
        return len(ids)


def _sleeping(limit: int) -> list[int]:
    due = (
        Reference.select(Reference.registry)
        .join(Registry)
        .where(
            ~Reference.is_tag
            & (Reference.state == SyncState.FAILED)
            & (Reference.retry_at <= now())
            & (Registry.state == SyncState.SYNCED)
        )
    )
    return [row.registry_id for row in due.distinct().limit(limit)]


def not_full_since(site: Site, repository_ids: Sequence[int], since: datetime) -> list[int]:
    """Those of these repositories of which nobody has asked for a full sync since then."""
    rows = Registry.select(Registry.container_repository).where(
        (Registry.site == site)
        & Registry.container_repository.in_(list(repository_ids))
        & (Registry.full_sync_requested_at >= since)
    )
    asked = {row.container_repository_id for row in rows}
    return [id_ for id_ in repository_ids if id_ not in asked]


def mark_full(site: Site, repository_ids: Sequence[int], *, priority: int) -> list[int]:
    """Ask for a full sync of these repositories; return the ids of their tracking rows."""
    ids: list[int] = []
    for batch in in_batches(repository_ids):
        with transaction():
            instant = now()
            rows = tracking_rows(site, batch, instant)
            made = [row.id for row in rows.values()]
            awaken(made, since=instant, priority=priority, full=True)
            ids += made
    return ids


def _references(registry: Registry, names: Iterable[str]) -> list[Reference]:
    found: list[Reference] = []
    for batch in in_batches(sorted(names)):
        found.extend(_named(len(batch)).rows(registry=registry.id, **named("name", batch)))
    return found


@lru_cache(maxsize=64)
def _named(count: int) -> Statement:
    return Statement(
        lambda: Reference.select().where(
            (Reference.registry == slot("registry")) & Reference.name.in_(several("name", count))
        )
    )


def _remark(reference: Reference, mark: _Mark) -> None:
    """Update one known reference. Its witness is judged against what the row holds already."""
    witness: Any = mark.delete_witness
    stale_push = (
        mark.clears_witness
        and reference.delete_witness == "event"
        and reference.event_at is not None
        and mark.event_at is not None
        and mark.event_at < reference.event_at
    )
    stale_delete = (
        mark.delete_witness is not None
        and reference.delete_witness is None
        and reference.event_at is not None
        and mark.event_at is not None
        and mark.event_at < reference.event_at
    )
    if stale_push or stale_delete:
        # Events come out of order; what happened last counts.
        witness = reference.delete_witness
    Reference.update(
        generation=Reference.generation + 1,
        state=SyncState.PENDING,
        in_scope=True,
        desired_digest=mark.desired_digest if mark.desired_digest else Reference.desired_digest,
        delete_witness=witness,
        event_id=mark.event_id,
        correlation_id=mark.correlation_id,
        event_at=reference.event_at if stale_push or stale_delete else mark.event_at,
        pending_since=value_or(Reference.pending_since, mark.since),
        trigger="event",
        # What failed before says nothing of what was pushed now.
        retry_count=0,
        retry_at=None,
    ).where(Reference.id == reference.id).execute()


def _create(registry: Registry, name: str, mark: _Mark, instant: datetime) -> None:
    insert = Reference.insert(
        registry=registry,
        name=name,
        is_tag=not is_digest(name),
        desired_digest=mark.desired_digest,
        event_id=mark.event_id,
        correlation_id=mark.correlation_id,
        event_at=mark.event_at,
        pending_since=mark.since,
        created_at=instant,
    )
    insert = insert.on_conflict(action="NOTHING", conflict_target=[Reference.registry, Reference.name])
    if not list(insert.returning(Reference.id).execute()):
        # A listing found the tag between our look and this.
        _remark(Reference.get((Reference.registry == registry) & (Reference.name == name)), mark)


def _update(mark: _Mark, event: Event, *, desired_digest: str | None, delete_witness: str | None) -> None:
    mark.desired_digest, mark.delete_witness = desired_digest, delete_witness
    mark.event_id, mark.correlation_id, mark.event_at = event.id, event.correlation_id, event.occurred_at
    mark.since = _earlier(mark.since, event.occurred_at)


def _earlier(first: datetime | None, second: datetime) -> datetime:
    return second if first is None else min(first, second)
