"""The sync log: one line for each reference that was brought in order, or was not (docs/logs.md)."""

from __future__ import annotations

import logging

from app import correlation
from app.models import Reference
from app.replication.claim import Claim
from app.replication.outcome import Done, Failed

log = logging.getLogger(__name__)


def tell(claim: Claim, reference: Reference, result: Done | Failed) -> None:
    """Log the outcome, for the occasion that asked for the reference."""
    failed = isinstance(result, Failed)
    level = logging.WARNING if failed else logging.INFO
    if not log.isEnabledFor(level):
        return
    told = {
        "site": claim.site.name,
        "container_repository_name": claim.path,
        "reference": reference.name,
        "event_id": reference.event_id,
        "trigger": reference.trigger,
        "action": result.action,
        "digest": result.digest,
        "duration_s": round((result.finished_at - result.started_at).total_seconds(), 3),
    }
    if isinstance(result, Failed):
        told |= {"reason": result.reason, "error": result.message}
    elif result.tally is not None:
        told["bytes"] = result.tally.bytes_copied
    with correlation.bound(reference.correlation_id):
        log.log(level, "sync failed" if failed else "synced", extra=told)
