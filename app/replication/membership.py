"""Membership: which tracking rows and references are in their site's scope, kept in step when the scope changes.

What leaves the scope stays where it is: nothing is deleted on the secondary. Its record stays too, settled and marked
as out of scope, so that it is ours again should the scope be widened.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from peewee import Case

from app.database import MAX_ROWS, connection, lock, transaction
from app.models import ContainerRepository, Reference, Site, SyncState
from app.models import ContainerRepositoryRegistry as Registry
from app.replication.scope import Scope
from app.replication.tag_scope import TagScope

log = logging.getLogger(__name__)

#: What a row says to which nothing is owed.
_SETTLED_ROW: Mapping[str, Any] = {
    "full_sync": False,
    "retry_count": 0,
    "retry_at": None,
    "last_sync_failure": None,
    "pending_since": None,
    "verification_full": False,
    "verification_requested_level": None,
}

#: The same of a reference. Without a desired digest it is no part of any checksum, and of no verification.
_SETTLED_REFERENCE: Mapping[str, Any] = {
    "in_scope": False,
    "state": SyncState.SYNCED,
    "desired_digest": None,
    "delete_witness": None,
    "deletion_reserved_at": None,
    "deletion_released_at": None,
    "drift_digest": None,
    "drift_since": None,
    "pending_since": None,
    "retry_count": 0,
    "retry_at": None,
    "failure": None,
    "failure_reason": None,
    "verification_level": None,
}


@dataclass(frozen=True, slots=True)
class Moved:
    """What crossed the border of the scope. Repositories that return have their references looked at by a full sync."""

    repositories_left: int = 0
    repositories_returned: int = 0
    references_left: int = 0


def settle(site: Site, require: Callable[[], None] = lambda: None) -> Moved:
    """Make the site's rows agree with its scope as it is in the database now.

    `require` is called before every write, and raises where this must not go on.
    """
    with connection():
        site = Site.get_by_id(site.id)
    left, returned = _repositories(site, require)
    moved = Moved(left, returned, _references(site, require))
    if moved != Moved():
        log.info(
            "the scope changed",
            extra={
                "site": site.name,
                "repositories_left": moved.repositories_left,
                "repositories_returned": moved.repositories_returned,
                "references_left": moved.references_left,
            },
        )
    return moved


def settle_strays() -> int:
    """Settle rows out of scope that somebody has let go of since, or asked for, at most `MAX_ROWS`; return how many."""
    with transaction():
        stray = ~Registry.in_scope & Registry.state.in_([SyncState.PENDING, SyncState.FAILED])
        ids = [row.id for row in Registry.select(Registry.id).where(stray).limit(MAX_ROWS)]
        if not ids:
            return 0
        lock(Registry, ids)
        settled: int = (
            Registry.update(state=SyncState.SYNCED, **_SETTLED_ROW).where(Registry.id.in_(ids) & stray).execute()
        )
        return settled


def _repositories(site: Site, require: Callable[[], None]) -> tuple[int, int]:
    scope = Scope.of(site)
    left = returned = 0
    rows = Registry.select(Registry.id, Registry.in_scope, ContainerRepository.path).join(ContainerRepository)
    for batch in _pages(rows.where(Registry.site == site), Registry.id):
        leaving = [row_id for row_id, in_scope, path in batch if in_scope and not scope.covers(path)]
        returning = [row_id for row_id, in_scope, path in batch if not in_scope and scope.covers(path)]
        if not leaving and not returning:
            continue
        require()
        with transaction():
            lock(Registry, [*leaving, *returning])
            # Whoever holds one lets go of it by himself.
            state = Case(None, [(Registry.state == SyncState.STARTED, SyncState.STARTED)], SyncState.SYNCED)
            values = {"in_scope": False, "state": state, **_SETTLED_ROW}
            Registry.update(**values).where(Registry.id.in_(leaving)).execute()
            Registry.update(in_scope=True).where(Registry.id.in_(returning)).execute()
        left, returned = left + len(leaving), returned + len(returning)
    return left, returned


def _references(site: Site, require: Callable[[], None]) -> int:
    tags = TagScope.of(site)
    rows = Reference.select(
        Reference.id, Reference.registry, Reference.name, Registry.in_scope, Reference.observed_digest
    ).join(Registry)
    # What is about to be deleted stands on a throw-away manifest: that is seen to its end.
    wanted = (Registry.site == site) & Reference.in_scope & Reference.throwaway_digest.is_null()
    if tags.everything:
        wanted &= ~Registry.in_scope
    left = 0
    for batch in _pages(rows.where(wanted), Reference.id):
        leaving = [row for row in batch if not (row[3] and tags.covers(row[2]))]
        if not leaving:
            continue
        require()
        held = [row[0] for row in leaving if row[4] is not None]
        nothing = [row[0] for row in leaving if row[4] is None]
        with transaction():
            lock(Registry, sorted({row[1] for row in leaving}))
            # A copy under way learns by the generation that nobody waits for it any more.
            values = {**_SETTLED_REFERENCE, "generation": Reference.generation + 1}
            Reference.update(**values).where(Reference.id.in_(held)).execute()
            Reference.delete().where(Reference.id.in_(nothing) & Reference.observed_digest.is_null()).execute()
        left += len(leaving)
    return left


def _pages(query: Any, key: Any) -> Iterator[Sequence[tuple[Any, ...]]]:
    """The rows in the order of their ids, as tuples that begin with it, some at a time and no connection between."""
    after = 0
    while True:
        with connection():
            rows: list[tuple[Any, ...]] = list(query.where(key > after).order_by(key).limit(MAX_ROWS).tuples())
        if not rows:
            return
        yield rows
        after = rows[-1][0]
