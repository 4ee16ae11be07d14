"""Backfill: find the primary's repositories and ask for a full sync of each."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from app.database import connection, now, transaction
from app.models import ContainerRepository, Site
from app.registry import Denied, NotFound, RegistryClient, RegistryError, Unauthorized, Unsupported
from app.replication import marking
from app.replication.event_log import repository_ids
from app.replication.scope import Scope

log = logging.getLogger(__name__)


class NoCatalog(Exception):
    """The primary does not list its repositories, and none are named."""


def request(reason: str) -> None:
    """Make a reconcile of every secondary due; the scheduler sees to it."""
    with transaction():
        Site.update(reconcile_requested_at=now(), reconcile_reason=reason).where(~Site.primary).execute()


def mark_all(site: Site, source: RegistryClient, *, priority: int = marking.BACKFILL) -> int:
    """Ask for a full sync of every repository in the site's scope; return how many.

    Found by the catalog, or named in GEO_REPOSITORIES where a registry has none; those already known are included,
    whether the catalog still lists them or not.

    Raises:
        RegistryError: when the catalog breaks off. What was found until then is marked.
        NoCatalog: when there is nothing to go by.
    """
    scope = Scope(tuple(site.repositories.splitlines()))
    marked: set[int] = set()
    with connection():
        began = now()
    for paths in _batched(_paths(scope, source)):
        with transaction():
            ids = repository_ids([path for path in paths if scope.covers(path)], now())
        fresh = sorted(set(ids.values()) - marked)
        marking.mark_full(site, fresh, priority=priority)
        marked |= set(fresh)
    with transaction():
        Site.update(reconciled_at=now()).where(Site.id == site.id).execute()
        # What was asked for meanwhile stays asked for.
        Site.update(reconcile_requested_at=None, reconcile_reason=None).where(
            (Site.id == site.id) & (Site.reconcile_requested_at <= began)
        ).execute()
    return len(marked)


def _paths(scope: Scope, source: RegistryClient) -> Iterator[str]:
    with connection():
        rows = ContainerRepository.select(ContainerRepository.path).order_by(ContainerRepository.id)
        known = [row.path for row in rows]
    yield from known
    yield from scope.listed
    if scope.is_list:
        return
    listed = 0
    try:
        for path in source.list_repositories():
            listed += 1
            yield path
    except (NotFound, Unsupported, Unauthorized, Denied) as error:
        # A catalog that breaks off is not a catalog that is not there.
        if listed or (isinstance(error, Unauthorized) and not scope.listed):
            raise
        if not (known or scope.listed):
            raise NoCatalog(f"{error}; name the repositories in GEO_REPOSITORIES") from error
        log.warning("the primary has no catalog, only known and named repositories are looked at: %s", error)


def _batched(paths: Iterator[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    try:
        for path in paths:
            batch.append(path)
            if len(batch) == 200:
                yield batch
                batch = []
    except (NoCatalog, RegistryError):
        yield batch
        raise
    yield batch
