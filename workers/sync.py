"""The actor that syncs repositories."""

from __future__ import annotations

import dramatiq

from app.replication.context import current
from app.replication.replicator import run_due, run_row


@dramatiq.actor(queue_name="sync")
def sync_repository(registry_id: int | None = None) -> None:
    """Sync the tracking row with this id, or, without one, whatever is due until nothing is."""
    context = current()
    if registry_id is None:
        run_due(context)
    else:
        run_row(registry_id, context)
