"""The actor that events wake."""

from __future__ import annotations

import dramatiq

from app import tracing
from app.database import connection
from app.replication import claim, cursor
from app.replication.context import current
from app.replication.replicator import run_due
from app.replication.sites import enabled_secondaries
from workers.wake import limit


@dramatiq.actor(queue_name="events")
def process_events() -> None:
    """Advance every site's cursor, then sync what is due: the first push after a quiet time takes one queue hop."""
    context = current()
    with tracing.message("process_events") as span, connection():
        events = sum(cursor.drain(site).events for site in enabled_secondaries())
        span.note({"geo.events": events})
        waiting = claim.count_due(limit(context.settings))
    if waiting > 1:
        context.wake.rows(waiting - 1)
    run_due(context)
