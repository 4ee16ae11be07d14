"""Retention: how long events and attempts are kept; what is older is forgotten, some at a time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from app.database import MAX_ROWS
from app.replication import event_log, replicator

#: How long events and attempts are kept.
KEEP_EVENTS = timedelta(days=14)
KEEP_ATTEMPTS = timedelta(days=30)

#: How long events are kept that a site has not read, because it is paused or away.
KEEP_UNREAD = timedelta(days=60)

#: Seconds that a scheduler's look forgets for. Once a second, that keeps up with thousands of events a second.
BUDGET = 0.25


def forget(clock: Callable[[], float], budget: float) -> bool:
    """Forget what has been kept long enough, portion by portion for about `budget` seconds; return whether all is gone.

    A portion is a transaction of its own, so that nobody waits for more than one of them; there is one of each kind at
    least.
    """
    ends = clock() + budget
    left = [_events, _attempts]
    while left:
        left = [forget_some for forget_some in left if forget_some() >= MAX_ROWS]
        if clock() >= ends:
            break
    return not left


def _events() -> int:
    return event_log.prune(KEEP_EVENTS, KEEP_UNREAD, limit=MAX_ROWS)


def _attempts() -> int:
    return replicator.prune_attempts(KEEP_ATTEMPTS, limit=MAX_ROWS)
