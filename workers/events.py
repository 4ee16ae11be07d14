"""The actor that events wake."""

from __future__ import annotations

import dramatiq

from app import tracing
from app.database import connection
from app.replication import claim, cursor, marking
from app.replication.context import current
from app.replication.sites import enabled_secondaries
from app.replication.work import Reach, run_due
from workers import queues
from workers.wake import limit


@dramatiq.actor(queue_name=queues.EVENTS)
def process_events() -> None:
    """Advance every site's cursor, then sync what is due: the first push after a quiet time takes one queue hop.

    A worker that is not for syncs leaves them to those that are.
    """
    context = current()
    reach = queues.reach()
    ours = reach in {Reach.ALL, Reach.FRESH}
    with tracing.message("process_events") as span, connection():
        events = sum(cursor.drain(site).events for site in enabled_secondaries())
        span.note({"geo.events": events})
        waiting = claim.count_due(limit(context.settings), at_most=marking.FRESH)
    if waiting > ours:
        context.wake.rows(waiting - ours)
    if ours and reach is not None:
        run_due(context, reach=reach)
