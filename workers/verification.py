"""The actor that verifies repositories."""

from __future__ import annotations

import dramatiq

from app.replication.context import current
from app.replication.verification import work
from app.replication.verification.asking import reverify
from workers import queues

#: Behind the messages of the other queues that the same worker has fetched: nobody waits for a verification.
PRIORITY = 100


@dramatiq.actor(queue_name=queues.VERIFICATION, priority=PRIORITY)
def verify_repository(registry_id: int | None = None) -> None:
    """Verify everything in the tracking row with this id, as a person who asks for it means it; without one, whatever
    is due, until nothing is or another message has to go on.

    Somebody else may be at it: he sees that it was asked for, and does it.
    """
    context = current()
    if registry_id is None:
        work.run_due(context)
    else:
        reverify(registry_id, context.settings.verification_interval_level)
        work.run_row(registry_id, context)
