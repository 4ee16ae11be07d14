"""What people ask of the rows: lists page by page and single rows, the same for the pages, the API and commands.

Read-only. Lists are paged by key: a cursor names the last row seen, so that a page costs the same however far down it
is and nothing is shown twice while rows come and go. Call these inside `app.database.connection()`.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from peewee import JOIN, Model, ModelSelect, fn

from app.database import in_batches
from app.models import ContainerRepository, Event, QuarantinedEvent, Reference, Site, SyncAttempt, SyncState
from app.models import ContainerRepositoryRegistry as Registry

M = TypeVar("M", bound=Model)

#: Rows in a page, at most.
MAX_PAGE = 100

#: The largest id of a cursor. A larger one is an error of the database's driver, not "not found".
MAX_ID = 2**63 - 1

#: The largest id of a site or tracking row, which PostgreSQL keeps in four bytes.
MAX_ROW_ID = 2**31 - 1

#: Longer than any repository path or tag.
MAX_SEARCH = 255


class InvalidQuery(ValueError):
    """A filter or cursor that cannot be used; the message says which and what would do."""

    reason: ClassVar[str] = "invalid_query"
    temporary: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class Page(Generic[M]):
    """Some rows, and the cursor of those that follow; None when none do."""

    rows: list[M]
    after: str | None


@dataclass(frozen=True, slots=True)
class Filter:
    """What a list is narrowed to: a state, a site's name, a part of the path or tag."""

    state: SyncState | None = None
    site: str | None = None
    search: str | None = None

    @classmethod
    def parse(cls, *, state: str | None = None, site: str | None = None, search: str | None = None) -> Filter:
        """From text as people and scripts give it; empty counts as not given.

        Raises:
            InvalidQuery: for a state that is neither a name nor GitLab's number of one, and text no name can hold.
        """
        for name, value in (("site", site), ("search", search)):
            if value and (len(value) > MAX_SEARCH or "\0" in value):
                raise InvalidQuery(f"{name} must be at most {MAX_SEARCH} characters, without NUL")
        return cls(_state(state) if state else None, site or None, (search or "").strip() or None)


def _state(text: str) -> SyncState:
    for state in SyncState:
        if text.lower() in {state.name.lower(), str(state.value)}:
            return state
    names = ", ".join(f"{state.name.lower()} ({state.value})" for state in SyncState)
    raise InvalidQuery(f"state must be one of {names}")


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


def repositories(narrow: Filter, *, after: str | None = None, limit: int = MAX_PAGE) -> Page[Registry]:
    """Tracking rows in the order of their paths, with site and repository.

    Raises:
        InvalidQuery: for a cursor that no page gave out.
    """
    query = _tracking_rows().order_by(ContainerRepository.path, Registry.id)
    if narrow.state is not None:
        query = query.where((Registry.state == narrow.state) & Registry.in_scope)
    if narrow.site is not None:
        query = query.where(Registry.site == Site.select(Site.id).where(Site.name == narrow.site))
    if narrow.search is not None:
        query = query.where(ContainerRepository.path.contains(narrow.search))
    if after is not None:
        path, row_id = _decode(after, str, int)
        # The first half alone can use the index on the path.
        beyond = (ContainerRepository.path > path) | (Registry.id > row_id)
        query = query.where((ContainerRepository.path >= path) & beyond)
    return _page(query, limit, lambda row: (row.container_repository.path, row.id))


def failing(site: Site, limit: int) -> list[Registry]:
    """Tracking rows of a site that failed, those first that are tried again next."""
    failed = _tracking_rows().where((Registry.site == site) & (Registry.state == SyncState.FAILED) & Registry.in_scope)
    return list(failed.order_by(Registry.retry_at, Registry.id).limit(limit))


def repository(registry_id: int) -> Registry | None:
    """One tracking row, with site and repository."""
    if registry_id > MAX_ROW_ID:
        return None
    found: Registry | None = _tracking_rows().where(Registry.id == registry_id).first()
    return found


def repository_counts(site: str | None = None, ids: Sequence[int] | None = None) -> Mapping[SyncState, int]:
    """How many tracking rows in scope are in each state, of one site or all, or of those with these ids alone."""
    query = Registry.select(Registry.state, fn.COUNT(Registry.id)).where(Registry.in_scope).group_by(Registry.state)
    if site is not None:
        query = query.where(Registry.site == Site.select(Site.id).where(Site.name == site))
    if ids is None:
        return _counts(query)
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
        (name,) = _decode(after, str)
        query = query.where(Reference.name > name)
    return _page(query, limit, lambda row: (row.name,))


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
    return _newest_first(query, SyncAttempt, after, limit)


def events(*, repository_id: int | None = None, after: str | None = None, limit: int = MAX_PAGE) -> Page[Event]:
    """The event log newest first, whole or of one container repository, with the repositories.

    Raises:
        InvalidQuery: for a cursor that no page gave out.
    """
    query = Event.select(Event, ContainerRepository).join(ContainerRepository)
    if repository_id is not None:
        query = query.where(Event.container_repository == repository_id)
    return _newest_first(query, Event, after, limit)


def quarantined(*, after: str | None = None, limit: int = MAX_PAGE) -> Page[QuarantinedEvent]:
    """What could not be read, newest first.

    Raises:
        InvalidQuery: for a cursor that no page gave out.
    """
    return _newest_first(QuarantinedEvent.select(), QuarantinedEvent, after, limit)


def _tracking_rows() -> ModelSelect[Registry]:
    rows = Registry.select(Registry, ContainerRepository, Site)
    # Every row has its site; an outer join keeps a planner from going through the sites first and sorting everything.
    return rows.join(ContainerRepository).switch(Registry).join(Site, JOIN.LEFT_OUTER)


def _counts(query: ModelSelect[Any]) -> Mapping[SyncState, int]:
    found: dict[int, int] = dict(list(query.tuples()))
    return {state: found.get(state, 0) for state in SyncState}


def _newest_first(query: ModelSelect[M], model: Any, after: str | None, limit: int) -> Page[M]:
    if after is not None:
        (row_id,) = _decode(after, int)
        query = query.where(model.id < row_id)
    return _page(query.order_by(model.id.desc()), limit, lambda row: (row.id,))


def _page(query: ModelSelect[M], limit: int, key: Callable[[Any], tuple[str | int, ...]]) -> Page[M]:
    limit = max(1, min(limit, MAX_PAGE))
    # One row more tells whether another page follows.
    rows = list(query.limit(limit + 1))
    return Page(rows[:limit], _encode(*key(rows[limit - 1])) if len(rows) > limit else None)


def _encode(*values: str | int) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def _decode(cursor: str, *kinds: type) -> list[Any]:
    try:
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,4096}", cursor):
            raise ValueError(cursor)
        values = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise InvalidQuery("after must be a cursor that an earlier page gave") from error
    if not isinstance(values, list) or [type(value) for value in values] != list(kinds) or not all(map(_sane, values)):
        raise InvalidQuery("after must be a cursor that an earlier page gave")
    return values


def _sane(value: Any) -> bool:
    if isinstance(value, int):
        return abs(value) <= MAX_ID
    # PostgreSQL takes no NUL, and UTF-8 no lone surrogate.
    return not re.search("[\0\ud800-\udfff]", str(value))
