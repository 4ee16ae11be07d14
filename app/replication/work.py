"""Work: what a worker does for replication: row after row, whichever site's turn it is, within its reach."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from enum import Enum

from app import correlation, migrate
from app.database import connection
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Site
from app.replication import claim as claims
from app.replication import marking, sites
from app.replication.claim import Claim
from app.replication.closing import Closed
from app.replication.context import Context
from app.replication.lease import monotonic
from app.replication.sync import sync

log = logging.getLogger(__name__)

#: Seconds after which a message has done its part, and another is sent for the rest. RabbitMQ takes one back that is
#: not acknowledged within half an hour (consumer_timeout), and closes the channel; and the next one that was fetched
#: waits for this one's thread before its own time begins.
TURN = 600.0


class Reach(Enum):
    """Which tracking rows a process takes up."""

    ALL = "all"
    #: What was just pushed.
    FRESH = "fresh"
    #: What was not.
    BULK = "bulk"


def run_due(
    context: Context,
    limit: int | None = None,
    reach: Reach = Reach.ALL,
    clock: Callable[[], float] = monotonic,
) -> int:
    """Claim and sync what is due, row after row, until nothing is or the process has to end; return how many.

    After `TURN` seconds no further row is begun, and somebody is woken to go on.

    A process that takes up everything always leaves one thread for what was just pushed: a backfill has rows that take
    hours.
    """
    began, done = clock(), 0
    while not context.stopping.is_set() and context.settings.replication_enabled and (limit is None or done < limit):
        unhurried = reach is Reach.ALL and context.unhurried.acquire(blocking=False)
        taken: Claim | None = None
        try:
            # A backfill goes on for days, and a row that is not taken stays due.
            taken = None if migrate.watch.wrong() else _take(context, _urgencies(context, reach, unhurried))
            if taken is None:
                break
            if unhurried and taken.priority <= marking.FRESH:
                context.unhurried.release()
                unhurried = False
            # What is due may be anybody's, not of the occasion that woke us; a reference that has one knows it.
            with correlation.bound(correlation.new()):
                sync(taken, context, gives_way=True)
        finally:
            if taken is not None:
                context.shares.give_back(taken.site.name)
            if unhurried:
                context.unhurried.release()
        done += 1
        if clock() - began >= TURN:
            if taken.priority <= marking.FRESH:
                context.wake.rows(1)
            else:
                context.wake.bulk(1)
            break
    return done


def _urgencies(context: Context, reach: Reach, unhurried: bool) -> list[tuple[int | None, int]]:
    """What to look for, one after the other: priorities, at most and at least."""
    if reach is Reach.BULK:
        return [(None, marking.FRESH + 1)]
    fresh, everything = (marking.FRESH, claims.MOST_URGENT), (None, claims.MOST_URGENT)
    if not unhurried:
        return [fresh]
    # Of several sites, what was just pushed for any of them comes before the rest of all.
    return [fresh, everything] if context.further else [everything]


def _take(context: Context, urgencies: Sequence[tuple[int | None, int]]) -> Claim | None:
    """The next row of the site whose turn it is. The caller gives the site's share back."""
    for at_most, at_least in urgencies:
        for site_name in context.shares.order():
            if not context.shares.take(site_name):
                continue
            claim: Claim | None = None
            try:
                claim = claims.claim_next(context.at(site_name).settings, at_most, at_least)
            except sites.NotApplied as error:
                log.error("nothing is synced to %s here: %s", site_name, error)
            finally:
                if claim is None:
                    context.shares.give_back(site_name)
            if claim is not None:
                return claim
    return None


def run_row(registry_id: int, context: Context) -> Closed | None:
    """Sync this row if nobody else holds it and its site is not paused; None if it was not done, or is gone."""
    with connection():
        paused = Registry.select().join(Site).where((Registry.id == registry_id) & ~Site.enabled).exists()
    if paused:
        log.warning("tracking row %s waits: its site is paused, see `geo sites resume`", registry_id)
        return None
    try:
        claim = claims.claim_row(registry_id, context.of_row(registry_id).settings)
    except sites.NotApplied as error:
        log.error("nothing is synced here: %s", error)
        return None
    return None if claim is None else sync(claim, context)
