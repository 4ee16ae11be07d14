"""Work: what a worker does for verification, a bounded part of its threads and its time."""

from __future__ import annotations

import logging
from collections.abc import Callable

from app import correlation, migrate
from app.replication import claim as syncs
from app.replication import sites
from app.replication.context import Context
from app.replication.lease import monotonic
from app.replication.verification import claim as claims
from app.replication.verification.claim import Verifying
from app.replication.verification.run import Verified, verify
from app.replication.work import TURN

log = logging.getLogger(__name__)

#: Seconds for which verification lets syncs go first, so that a busy deployment is verified too.
REST = 60.0

#: Seconds after which a thread looks whether it is wanted for syncs, and otherwise goes on.
SLICE = 20.0


def run_due(context: Context, clock: Callable[[], float] = monotonic) -> int:
    """Verify what is due, row after row, until nothing is, others are at it, or syncs wait; return how many.

    After `TURN` seconds a row is left where it is, and somebody is woken to go on.
    """
    if context.verification.rested() < REST and (syncs.count_due(1) > 0 or syncs.count_held() > 0):
        # Somebody waits for what syncs bring. The scheduler wakes us again.
        return 0
    if not context.verification.take():
        # As many threads are at it as may be; they look once more before they end.
        return 0
    began = clock()
    try:
        done = _run_due(context, lambda: clock() - began)
    finally:
        context.verification.give_back()
    if clock() - began >= TURN:
        context.wake.verifications(1)
    return done


def _run_due(context: Context, elapsed: Callable[[], float]) -> int:
    done = 0

    def enough() -> bool:
        if migrate.watch.wrong() or elapsed() >= TURN:
            return True
        return elapsed() > SLICE and syncs.count_due(1) > 0

    while not context.stopping.is_set() and context.settings.replication_enabled and not enough():
        claim = _take(context)
        if claim is None:
            break
        try:
            # It may be anybody's, not of the occasion that woke us.
            with correlation.bound(correlation.new()):
                verify(claim, context, enough=enough)
        finally:
            context.verification_shares.give_back(claim.site.name)
        done += 1
    return done


def _take(context: Context) -> Verifying | None:
    """The next row of the site whose turn it is; the caller gives the site's share back."""
    shares = context.verification_shares
    for site_name in shares.order():
        if not shares.take(site_name):
            continue
        claim: Verifying | None = None
        try:
            claim = claims.claim_next(context.at(site_name).settings)
        except sites.NotApplied as error:
            log.error("nothing on %s is verified here: %s", site_name, error)
        finally:
            if claim is None:
                shares.give_back(site_name)
        if claim is not None:
            return claim
    return None


def run_row(registry_id: int, context: Context) -> Verified | None:
    """Verify this row if nobody else is at it; None if somebody is, or it is gone."""
    try:
        claim = claims.claim_row(registry_id, context.of_row(registry_id).settings)
    except sites.NotApplied as error:
        log.error("nothing is verified here: %s", error)
        return None
    return None if claim is None else verify(claim, context)
