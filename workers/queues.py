"""Queues: which there are, and which of them this process serves."""

from __future__ import annotations

from collections.abc import Collection

from app.deployment import QUEUES
from app.replication.work import Reach

#: Events to be read; rows of what was just pushed; all other rows; rows to be verified. What is asked for in one is
#: done by those who serve it.
EVENTS, SYNC, BACKFILL, VERIFICATION = QUEUES

_served: frozenset[str] = frozenset(QUEUES)


def serve(names: Collection[str] | None) -> None:
    """Say which queues this process serves; None: all."""
    global _served
    _served = frozenset(QUEUES if names is None else names)


def reach() -> Reach | None:
    """Which rows this process takes up, whatever wakes it; None: none. A worker of its own must not be drawn into what
    it is kept from: it leaves that where it is, for those who are woken for it."""
    fresh, bulk = SYNC in _served, BACKFILL in _served
    if fresh and bulk:
        return Reach.ALL
    return Reach.FRESH if fresh else Reach.BULK if bulk else None


def threads(prefetch: int) -> int:
    """How many threads a worker has to which Dramatiq gives so many messages ahead: two each."""
    return max(1, prefetch // 2)


def prefetch(queue: str, threads: int) -> int:
    """How many messages of a queue a worker of so many threads takes: none for which it has no thread, since each keeps
    one at work for minutes, and another worker may have nothing to do. Of a backfill one less where a thread is kept
    for what is pushed."""
    kept = 1 if queue == BACKFILL and reach() is Reach.ALL else 0
    return max(1, threads - kept)
