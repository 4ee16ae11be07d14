"""What people ask of the rows: lists page by page and single rows, the same for the pages, the API and commands.

Read-only. Lists are paged by key: a cursor names the last row seen, so that a page costs the same however far down it
is and nothing is shown twice while rows come and go. Call these inside `app.database.connection()`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from peewee import JOIN, Model, ModelSelect, fn

from app.database import in_batches
from app.models import (
    ContainerRepository,
    Event,
    QuarantinedEvent,
    Reference,
    Site,
    SyncAttempt,
    SyncState,
    VerificationState,
)
from app.models import ContainerRepositoryRegistry as Registry
from app.replication import paging
from app.replication import repository_counts as kept
from app.replication.narrowing import Filter, Order
from app.replication.paging import MAX_ID as MAX_ID
from app.replication.paging import MAX_PAGE as MAX_PAGE
from app.replication.paging import InvalidQuery as InvalidQuery
from app.replication.paging import Page as Page
from app.replication.unsettled import unsettled

M = TypeVar("M", bound=Model)

#: The largest id of a site or tracking row, which PostgreSQL keeps in four bytes.
MAX_ROW_ID = 2**31 - 1

#: States in the order in which they want attention.
_GRAVEST_FIRST = (SyncState.FAILED, SyncState.STARTED, SyncState.PENDING, SyncState.SYNCED)


def every(page: Callable[[str | None], Page[M]]) -> Iterator[M]:
    """All rows of a list, fetched page by page, for whoever shows it whole; `page` takes the cursor."""
    after = None
    while True:
        fetched = page(after)
        yield from fetched.rows
        after = fetched.after
        if after is None:
            return


def sites() -> list[Site]:
    """All sites, the primary first."""
    return list(Site.select().order_by(Site.primary.desc(), Site.id))


def repositories(
    narrow: Filter, *, order: Order = Order.PATH, after: str | None = None, limit: int = MAX_PAGE
) -> Page[Registry]:
    """Tracking rows with site and repository, in the order of their paths unless another is asked for.

    Raises:
        InvalidQuery: for a cursor that no page gave out, and for an order that needs a site where none is named.
    """
    if narrow.site is not None and not order.of_one_site and _has_all(narrow.site):
        # Where it narrows nothing, a planner would go through the site's rows and sort a million.
        narrow = replace(narrow, site=None)
    query = _narrow(_tracking_rows(), narrow)
    if order.of_one_site and narrow.site is None:
        raise InvalidQuery(f"sort={order} needs a site")
    if order is Order.STATE:
        states = [(Registry.state == state) & Registry.in_scope for state in _GRAVEST_FIRST]
        parts = [partial(_by_path, query.where(part)) for part in (*states, ~Registry.in_scope)]
        return paging.chained(parts, after, limit)
    if order.of_one_site:
        # What was never synced goes to the end where the oldest come last, and to the front otherwise: databases
        # disagree on where nothing belongs, and an index is read in its own order alone.
        never = partial(_by_id, query.where(Registry.last_synced_at.is_null()))
        once = partial(_by_time, query.where(Registry.last_synced_at.is_null(False)), order)
        return paging.chained([never, once] if order is Order.OLDEST else [once, never], after, limit)
    return _by_path(query, after, limit)


def _has_all(name: str) -> bool:
    """Whether no other site than the one of this name has tracking rows."""
    any_row = fn.EXISTS(Registry.select(1).where(Registry.site == Site.id))
    return not Site.select().where((Site.name != name) & any_row).exists()


def _by_path(query: ModelSelect[Registry], after: str | None, limit: int) -> Page[Registry]:
    if after is not None:
        path, row_id = paging.decode(after, str, int)
        # The first half alone can use the index on the path.
        beyond = (ContainerRepository.path > path) | (Registry.id > row_id)
        query = query.where((ContainerRepository.path >= path) & beyond)
    query = query.order_by(ContainerRepository.path, Registry.id)
    return paging.page(query, limit, lambda row: (row.container_repository.path, row.id))


def _by_id(query: ModelSelect[Registry], after: str | None, limit: int) -> Page[Registry]:
    if after is not None:
        (row_id,) = paging.decode(after, int)
        query = query.where(Registry.id > row_id)
    return paging.page(query.order_by(Registry.id), limit, lambda row: (row.id,))


def _by_time(query: ModelSelect[Registry], order: Order, after: str | None, limit: int) -> Page[Registry]:
    at, row_id = Registry.last_synced_at, Registry.id
    newest = order is Order.NEWEST
    if after is not None:
        said, last = paging.decode(after, str, int)
        try:
            instant = datetime.fromisoformat(said).astimezone(UTC)
        except (ValueError, OverflowError):
            raise InvalidQuery("after must be a cursor that an earlier page gave") from None
        if newest:
            query = query.where((at <= instant) & ((at < instant) | (row_id < last)))
        else:
            query = query.where((at >= instant) & ((at > instant) | (row_id > last)))
    query = query.order_by(at.desc(), row_id.desc()) if newest else query.order_by(at, row_id)
    return paging.page(query, limit, lambda row: (row.last_synced_at.isoformat(), row.id))


def narrowed(narrow: Filter) -> ModelSelect[Registry]:
    """The ids of all tracking rows that a filter matches, in no order, for whoever selects further among them."""
    return _narrow(Registry.select(Registry.id).join(ContainerRepository), narrow)


def failing(site: Site, limit: int) -> list[Registry]:
    """Tracking rows of a site that failed, those first that are tried again next."""
    failed = _tracking_rows().where((Registry.site == site) & (Registry.state == SyncState.FAILED) & Registry.in_scope)
    return list(failed.order_by(Registry.retry_at, Registry.id).limit(limit))


def not_whole(site: Site) -> list[Registry]:
    """Tracking rows of a site that a verification found wanting, of which it could not tell, or that are not in sync,
    in the order of their paths."""
    untold = Registry.verification_full & Registry.verification_retry_at.is_null(False)
    wrong = (Registry.verification_state == VerificationState.FAILED) | untold | (Registry.state != SyncState.SYNCED)
    rows = Registry.select(Registry, ContainerRepository).join(ContainerRepository)
    return list(rows.where((Registry.site == site) & wrong).order_by(ContainerRepository.path))


def verifications_asked_for(site: Site) -> int:
    """How many tracking rows of a site wait for a verification of everything; what is tried again later does not."""
    waiting = Registry.verification_full & Registry.verification_retry_at.is_null()
    count: int = Registry.select().where((Registry.site == site) & waiting).count()
    return count


def repository(registry_id: int) -> Registry | None:
    """One tracking row, with site and repository."""
    if registry_id > MAX_ROW_ID:
        return None
    found: Registry | None = _tracking_rows().where(Registry.id == registry_id).first()
    return found


def repository_counts(site: str | None = None, ids: Sequence[int] | None = None) -> Mapping[SyncState, int]:
    """How many tracking rows in scope are in each state, of one site or all, or of those with these ids alone."""
    if ids is None:
        return _kept_counts(site)
    query = Registry.select(Registry.state, fn.COUNT(Registry.id)).where(Registry.in_scope).group_by(Registry.state)
    if site is not None:
        query = query.where(Registry.site == Site.select(Site.id).where(Site.name == site))
    # A statement takes only so many values.
    found = Counter[SyncState]()
    for batch in in_batches(ids):
        found.update(_counts(query.where(Registry.id.in_(list(batch)))))
    return {state: found[state] for state in SyncState}


def references(registry_id: int, narrow: Filter, *, after: str | None = None, limit: int = MAX_PAGE) -> Page[Reference]:
    """References of a tracking row in the order of their names.

    Raises:
        InvalidQuery: for a cursor that no page gave out.
    """
    query = Reference.select().where(Reference.registry == registry_id).order_by(Reference.name)
    if narrow.state is not None:
        query = query.where((Reference.state == narrow.state) & Reference.in_scope)
    if narrow.search is not None:
        query = query.where(Reference.name.contains(narrow.search))
    if after is not None:
        (name,) = paging.decode(after, str)
        query = query.where(Reference.name > name)
    return paging.page(query, limit, lambda row: (row.name,))


def reference(registry_id: int, name: str) -> Reference | None:
    """One reference of a tracking row."""
    if "\0" in name:
        return None
    found: Reference | None = Reference.get_or_none((Reference.registry == registry_id) & (Reference.name == name))
    return found


def reference_counts(registry_id: int) -> Mapping[SyncState, int]:
    """How many references of a tracking row that are in scope are in each state."""
    query = Reference.select(Reference.state, fn.COUNT(Reference.id))
    query = query.where((Reference.registry == registry_id) & Reference.in_scope)
    return _counts(query.group_by(Reference.state))


def references_pending(registry_id: int) -> int:
    """How many references of a tracking row wait to be looked at."""
    pending = Reference.in_scope & (Reference.state == SyncState.PENDING)
    count: int = Reference.select().where((Reference.registry == registry_id) & pending).count()
    return count


def tags_in_order(registry_id: int) -> int:
    """How many tags of a tracking row stand on the same digest on both sides, as far as anybody has looked."""
    same = (Reference.state == SyncState.SYNCED) & (Reference.desired_digest == Reference.observed_digest)
    count: int = Reference.select().where((Reference.registry == registry_id) & Reference.is_tag & same).count()
    return count


def attempts(
    registry_id: int, *, reference: str | None = None, after: str | None = None, limit: int = MAX_PAGE
) -> Page[SyncAttempt]:
    """What was tried for a tracking row, or for one reference in it, newest first.

    Raises:
        InvalidQuery: for a cursor that no page gave out, and text that no reference can be.
    """
    query = SyncAttempt.select().where(SyncAttempt.registry == registry_id)
    if reference is not None:
        if "\0" in reference:
            raise InvalidQuery("reference must be a tag or a digest")
        query = query.where(SyncAttempt.reference == reference)
    return paging.newest_first(query, SyncAttempt, after, limit)


def last_attempts(registry_id: int, names: Sequence[str]) -> Mapping[str, SyncAttempt]:
    """What was done last about each of these references of a tracking row, by its name."""
    ours = (SyncAttempt.registry == registry_id) & SyncAttempt.reference.in_(list(names))
    last = SyncAttempt.select(fn.MAX(SyncAttempt.id)).where(ours).group_by(SyncAttempt.reference)
    return {row.reference: row for row in SyncAttempt.select().where(SyncAttempt.id.in_(last))} if names else {}


def drifting(registry_id: int) -> int:
    """How many references of a tracking row stand on the secondary without us."""
    drift = Reference.drift_since.is_null(False)
    count: int = Reference.select().where((Reference.registry == registry_id) & drift).count()
    return count


def container_repository(path: str) -> ContainerRepository | None:
    """The repository with this path, whole."""
    if "\0" in path:
        return None
    found: ContainerRepository | None = ContainerRepository.get_or_none(ContainerRepository.path == path)
    return found


def events(*, repository_id: int | None = None, after: str | None = None, limit: int = MAX_PAGE) -> Page[Event]:
    """The event log newest first, whole or of one container repository, with the repositories.

    Raises:
        InvalidQuery: for a cursor that no page gave out.
    """
    query = Event.select(Event, ContainerRepository).join(ContainerRepository)
    if repository_id is not None:
        query = query.where(Event.container_repository == repository_id)
    return paging.newest_first(query, Event, after, limit)


def event(event_id: int) -> Event | None:
    """One event of the log, with its repository."""
    if event_id > MAX_ID:
        return None
    rows = Event.select(Event, ContainerRepository).join(ContainerRepository)
    found: Event | None = rows.where(Event.id == event_id).first()
    return found


def quarantined(*, after: str | None = None, limit: int = MAX_PAGE) -> Page[QuarantinedEvent]:
    """What could not be read, newest first.

    Raises:
        InvalidQuery: for a cursor that no page gave out.
    """
    return paging.newest_first(QuarantinedEvent.select(), QuarantinedEvent, after, limit)


def _tracking_rows() -> ModelSelect[Registry]:
    rows = Registry.select(Registry, ContainerRepository, Site)
    # Every row has its site; an outer join keeps a planner from going through the sites first and sorting everything.
    return rows.join(ContainerRepository).switch(Registry).join(Site, JOIN.LEFT_OUTER)


def _narrow(query: ModelSelect[Registry], narrow: Filter) -> ModelSelect[Registry]:
    if narrow.state is not None:
        query = query.where((Registry.state == narrow.state) & Registry.in_scope)
        if narrow.state is not SyncState.SYNCED:
            query = query.where(unsettled())
    if narrow.verification is not None:
        query = query.where((Registry.verification_state == narrow.verification) & Registry.in_scope)
    if narrow.site is not None:
        query = query.where(Registry.site == Site.select(Site.id).where(Site.name == narrow.site))
    if narrow.search is not None:
        query = query.where(ContainerRepository.path.contains(narrow.search))
    return query


def _kept_counts(name: str | None) -> Mapping[SyncState, int]:
    site = None if name is None else Site.get_or_none(Site.name == name)
    counts = Counter[SyncState]()
    if name is None or site is not None:
        for group in kept.of(site):
            counts[SyncState(group.state)] += group.count if group.in_scope else 0
    return {state: counts[state] for state in SyncState}


def _counts(query: ModelSelect[Any]) -> Mapping[SyncState, int]:
    found: dict[int, int] = dict(list(query.tuples()))
    return {state: found.get(state, 0) for state in SyncState}
