"""The actor that syncs repositories."""

from __future__ import annotations

import dramatiq

from app.replication.context import current
from app.replication.replicator import Replicator, run_due, run_row


@dramatiq.actor(queue_name="sync")
def sync_repository(registry_id: int | None = None) -> None:
    """Sync the tracking row with this id in full, as a person who asks for it means it; without one, whatever is due
    until nothing is.

    Somebody else may hold the row: he sees that it was asked for, and does it.
    """
    context = current()
    if registry_id is None:
        run_due(context)
    else:
        Replicator(registry_id).mark()
        run_row(registry_id, context)
