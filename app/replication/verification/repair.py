"""Repair: what a verification found wrong is made due for a sync that believes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from peewee import Case, Expression

from app.database import now, transaction, value_or
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Reference, SyncState
from app.replication import marking
from app.replication.outcome import MAX_MESSAGE
from app.replication.verification.claim import Verifying
from app.replication.verification.finding import Broken, Kind, brief
from app.replication.verification.references import Due, unchanged

#: Findings of one reference that are told; the sync that repairs looks for itself.
TOLD = 5


def mark(claim: Verifying, broken: Mapping[Due, Broken]) -> int:
    """Have these copied again, with what is wrong as their failure; return how many still are what was looked at.

    The sync that takes one up copies what is missing and nothing else: it asks the secondary for a byte of every blob.

    Raises:
        VerificationLost: when the row was taken over.
    """
    looked_at = list(broken)
    texts = [(due.id, _text(found)) for due, found in broken.items()]
    # What was pushed by digest alone and is gone there may be gone from the primary as well, and then is forgotten:
    # nothing of it is left to prove.
    gone = [due.id for due, found in broken.items() if not due.is_tag and _top_missing(due, found)]
    observed = Case(None, [(Reference.id.in_(gone), None)], Reference.observed_digest) if gone else None
    return _make_due(
        claim,
        unchanged(looked_at),
        trigger="repair",
        verified_digest=None,
        verification_level=Case(Reference.id, [(due.id, due.level.value) for due in looked_at]),
        failure=Case(Reference.id, texts),
        failure_reason="verification",
        **({} if observed is None else {"observed_digest": observed}),
    )


def catch_up(claim: Verifying, behind: Sequence[Due]) -> int:
    """Have a sync look at these: the primary has moved on and no event has said so yet.

    Raises:
        VerificationLost: when the row was taken over.
    """
    return _make_due(claim, unchanged(behind), trigger="full") if behind else 0


def list_anew(claim: Verifying) -> None:
    """Ask for a full sync: the primary lists tags that we do not know, or no longer lists some that we do.

    Raises:
        VerificationLost: when the row was taken over.
    """
    with transaction():
        claim.require()
        _awaken(claim, full=True)


def _make_due(claim: Verifying, wanted: Expression, **values: Any) -> int:
    with transaction():
        claim.require()
        # The row first, as everybody does who marks: two who take them in different orders wait crosswise.
        if not Reference.select(Reference.id).where(wanted).exists():
            return 0
        instant = _awaken(claim)
        count: int = (
            Reference.update(
                **values,
                generation=Reference.generation + 1,
                state=SyncState.PENDING,
                # An old event says nothing of how long this took.
                event_id=None,
                correlation_id=None,
                event_at=None,
                pending_since=value_or(Reference.pending_since, instant),
                retry_count=0,
                retry_at=None,
            )
            .where(wanted)
            .execute()
        )
        return count


def _awaken(claim: Verifying, *, full: bool = False) -> datetime:
    """Make the row due; that we did it is no sign that anybody pushed."""
    instant = now()
    marking.awaken([claim.registry_id], since=instant, priority=marking.MANUAL, full=full)
    generation = Registry.select(Registry.generation).where(Registry.id == claim.registry_id).scalar()
    if generation == claim.generation + 1:
        claim.generation = generation
    return instant


def _top_missing(due: Due, found: Broken) -> bool:
    return any(each.kind is Kind.MANIFEST_MISSING and each.digest == due.digest for each in found.findings)


def _text(found: Broken) -> str:
    return f"verification: {brief(found.findings, len(found.findings), TOLD)}"[:MAX_MESSAGE]
