"""Bulk: asking for a sync, or a verification, of every repository that a filter matches."""

from __future__ import annotations

from typing import Any

from peewee import ModelSelect

from app.database import connection, in_batches
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Reference, Site, SyncState, VerificationState
from app.replication import queries, replicator
from app.replication.context import Context
from app.replication.narrowing import Filter
from app.replication.verification import asking
from app.settings import VerificationLevel


def count(narrow: Filter) -> int:
    """How many repositories `resync` and `reverify` would ask for: those that the filter matches, as far as anybody
    could take them up. What is out of scope, or of a site that is no longer this deployment's, is not counted."""
    with connection():
        return int(_matched(narrow).count())


def resync(narrow: Filter, context: Context) -> int:
    """Ask for a full sync of each, now, with one try of everything in them that has failed; return of how many.

    What is already marked when this is interrupted stays marked, and asking once more does no harm.
    """
    return len(_resync(_matched(narrow), context))


def resync_failed(site: Site, context: Context) -> list[int]:
    """The same of every repository of the site that failed, or in which a tag did, whatever their retry times; the ids
    of their tracking rows."""
    failed = Reference.select(Reference.registry).where(Reference.state == SyncState.FAILED)
    wanted = (Registry.state == SyncState.FAILED) | Registry.id.in_(failed)
    return _resync(_matched(Filter()).where((Registry.site == site) & wanted), context)


def reverify(narrow: Filter, context: Context, level: VerificationLevel | None = None) -> int:
    """Ask for a verification of everything in each, as far as `level` goes (None: GEO_VERIFICATION_INTERVAL_LEVEL);
    return of how many."""
    return _reverify(_matched(narrow), context, level)


def reverify_failed(site: Site, context: Context, level: VerificationLevel | None = None) -> int:
    """The same of every repository of the site whose last verification failed, or could not tell."""
    wanted = (Registry.verification_state == VerificationState.FAILED) | (Registry.verification_retry_count > 0)
    return _reverify(_matched(Filter()).where((Registry.site == site) & wanted), context, level)


def _resync(rows: ModelSelect[Registry], context: Context) -> list[int]:
    ids = _ids(rows)
    for batch in in_batches(ids):
        replicator.ask(batch)
        # At once: the first are worked on while the others are still being marked.
        context.wake.bulk(len(batch))
    return ids


def _reverify(rows: ModelSelect[Registry], context: Context, level: VerificationLevel | None) -> int:
    ids = _ids(rows)
    for batch in in_batches(ids):
        asking.ask(batch, level or context.settings.verification_interval_level)
        context.wake.verifications(len(batch))
    return len(ids)


def _matched(narrow: Filter) -> ModelSelect[Registry]:
    ours = Registry.site.in_(Site.select(Site.id).where(~Site.retired & ~Site.primary & ~Site.remote))
    return queries.narrowed(narrow).where(Registry.in_scope & ours)


def _ids(rows: ModelSelect[Registry]) -> list[int]:
    """All at once, as they stand now: rows that come to match while others are marked would never end."""
    with connection():
        found: Any = rows.order_by(Registry.id).tuples()
        return [row_id for (row_id,) in found]
