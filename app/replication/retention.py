"""Retention: what has been kept long enough is forgotten, some at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from app.database import MAX_ROWS
from app.replication import event_log, outcome, quarantine, site_reports
from app.retention import Retention

#: Seconds that a scheduler's look forgets for. Once a second, that keeps up with thousands of events a second.
BUDGET = 0.25


def forget(kept: Retention, clock: Callable[[], float], budget: float) -> bool:
    """Forget what has been kept long enough, portion by portion for about `budget` seconds; return whether all is gone.

    A portion is a transaction of its own, so that nobody waits for more than one of them; there is one of each kind at
    least.
    """
    ends = clock() + budget
    left = _kinds(kept)
    while left:
        left = [forget_some for forget_some in left if forget_some(limit=MAX_ROWS) >= MAX_ROWS]
        if clock() >= ends:
            break
    return not left


def _kinds(kept: Retention) -> list[Callable[..., int]]:
    """What forgets some of each kind, at most `limit`, and says how many; nothing of what is kept for good."""
    kinds: list[Callable[..., int]] = [partial(quarantine.prune, kept.quarantine)]
    if kept.events is not None:
        kinds.append(partial(event_log.prune, kept.events, kept.unread_events))
    if kept.history is not None:
        kinds += [partial(outcome.prune, kept.history), partial(site_reports.prune, kept.history)]
    return kinds
