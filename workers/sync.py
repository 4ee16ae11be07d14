"""The actors that sync repositories."""

from __future__ import annotations

import dramatiq

from app.replication.context import current
from app.replication.replicator import Replicator
from app.replication.work import run_due, run_row
from workers import queues

#: Of what nobody has just pushed: behind the messages of fresh pushes that the same worker has fetched.
PRIORITY = 50


@dramatiq.actor(queue_name=queues.SYNC)
def sync_repository(registry_id: int | None = None) -> None:
    """Sync the tracking row with this id in full, as a person who asks for it means it; without one, whatever is due,
    until nothing is or another message has to go on.

    Somebody else may hold the row: he sees that it was asked for, and does it.
    """
    context = current()
    if registry_id is None:
        _run_due()
    else:
        Replicator(registry_id).mark()
        run_row(registry_id, context)


@dramatiq.actor(queue_name=queues.BACKFILL, priority=PRIORITY)
def backfill_repositories() -> None:
    """Sync whatever is due, as the other does; woken for what nobody has just pushed."""
    _run_due()


def _run_due() -> None:
    reach = queues.reach()
    if reach is not None:
        run_due(current(), reach=reach)
