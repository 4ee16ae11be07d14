"""Outcomes: what became of one reference, written down with its attempt and its metrics in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from peewee import Insert, Update, fn

from app import metrics
from app.database import MAX_ROWS, connection, now, storable, transaction, value_or
from app.models import Reference, SyncAttempt, SyncState
from app.replication import marking
from app.replication.backoff import BACKOFF, Backoff
from app.replication.claim import Claim
from app.replication.copying.tally import Tally
from app.replication.lease import owner
from app.statements import Statement, slot

Action = Literal["copy", "keep", "delete", "forget"]

#: What an attempt says for its trigger that deleted what the brake held until a person released it.
RELEASED = "released"

#: A failure message is for people; a registry's page of HTML is not.
MAX_MESSAGE = 1000

#: Looks in vain for what an event said was pushed, after which the repository is listed.
MISSED = 3

#: Characters of a media type that are kept: the column's length.
MAX_MEDIA_TYPE = 255


@dataclass(frozen=True, slots=True)
class Done:
    """A reference is as it should be. `finished_at` is when the secondary had it, by our clock."""

    action: Action
    started_at: datetime
    finished_at: datetime
    #: Digest on both sides; None when it is on neither.
    digest: str | None = None
    old_digest: str | None = None
    media_type: str | None = None
    drift_digest: str | None = None
    #: The secondary keeps what the primary no longer has: by policy, or because it is not ours.
    kept: bool = False
    tally: Tally | None = None


@dataclass(frozen=True, slots=True)
class Equal:
    """A reference that a look at both sides found in order."""

    reference: Reference
    digest: str
    media_type: str | None


@dataclass(frozen=True, slots=True)
class Failed:
    """A reference is not as it should be, and why."""

    reason: str
    message: str
    temporary: bool
    started_at: datetime
    finished_at: datetime
    retry_after: float | None = None
    #: The digest that the primary had, if it was asked.
    digest: str | None = None
    #: It says something of the registry rather than of this reference.
    registry_wide: bool = False
    #: The primary does not have it, and nobody said that it was deleted.
    unwitnessed: bool = False
    #: What was being done.
    action: Action = "copy"


def record(claim: Claim, reference: Reference, outcome: Done | Failed, backoff: Backoff = BACKOFF) -> None:
    """Write the outcome down. An event that came meanwhile keeps the reference pending.

    Raises:
        LeaseLost: when somebody else holds the row by now; nothing is written.
    """
    claim.changed = True
    with transaction():
        claim.hold()
        if isinstance(outcome, Done):
            lag = _lag(reference, outcome)
            _done(reference, outcome)
        else:
            lag = None
            if outcome.unwitnessed and (reference.retry_count + 1) % MISSED == 0:
                # It may have been deleted before we heard of its push; only a complete listing can say so.
                marking.awaken([claim.registry_id], since=now(), priority=marking.BACKFILL, full=True)
            _failed(reference, outcome, backoff)
        _attempt(claim, reference, outcome, lag)
        _measure(claim, outcome, lag)


def record_equal(claim: Claim, looks: Sequence[Equal]) -> None:
    """Write down that these are in order. They leave no attempt: nothing moved, and every reconcile looks at all.

    Raises:
        LeaseLost: when somebody else holds the row by now; nothing is written.
    """
    if not looks:
        return
    instant = now()
    settled: dict[str, Any] = {"state": SyncState.SYNCED, "pending_since": None, "delete_witness": None}
    settled |= {"drift_digest": None, "drift_since": None, "deletion_reserved_at": None}
    settled |= {"deletion_released_at": None}
    settled |= {"throwaway_digest": None, "synced_at": instant, "retry_count": 0, "retry_at": None}
    settled |= {"failure": None, "failure_reason": None}
    with transaction():
        claim.hold()
        ids = [look.reference.id for look in looks]
        rows = Reference.select(Reference.id, Reference.generation).where(Reference.id.in_(ids))
        generations = {row.id: row.generation for row in rows}
        same = [look for look in looks if generations.get(look.reference.id) == look.reference.generation]
        for look in same:
            seen = (look.reference.desired_digest, look.reference.observed_digest)
            if seen != (look.digest, look.digest):
                claim.changed = True
                digests = {"desired_digest": look.digest, "observed_digest": look.digest}
                changed = {**digests, "media_type": storable(look.media_type, MAX_MEDIA_TYPE)}
                Reference.update(**changed).where(Reference.id == look.reference.id).execute()
        Reference.update(**settled).where(Reference.id.in_([look.reference.id for look in same])).execute()
        samples = metrics.Samples()
        samples.count("geo_sync_success_total", {"site": claim.site.name, "action": "keep"}, len(same))
        samples.write()


def prune(older_than: timedelta, limit: int = MAX_ROWS) -> int:
    """Forget attempts that are older, at most `limit` of them; return how many."""
    with connection():
        old = SyncAttempt.select(SyncAttempt.id).where(SyncAttempt.finished_at < now() - older_than).limit(limit)
        count: int = SyncAttempt.delete().where(SyncAttempt.id.in_([row.id for row in old])).execute()
        return count


def _done(reference: Reference, outcome: Done) -> None:
    if outcome.digest is not None and outcome.drift_digest is None and not outcome.kept:
        statement = _COPIED if outcome.action == "copy" else _KEPT
        values = {"digest": outcome.digest, "at": outcome.finished_at}
        values["media_type"] = storable(outcome.media_type, MAX_MEDIA_TYPE)
        if statement.execute(id=reference.id, generation=reference.generation, **values):
            return
    same = (Reference.id == reference.id) & (Reference.generation == reference.generation)
    if outcome.digest is None:
        if not Reference.delete().where(same).execute():
            gone = {"observed_digest": None, "throwaway_digest": None, "deletion_reserved_at": None}
            gone |= {"drift_digest": None, "drift_since": None, "deletion_released_at": None}
            Reference.update(**gone).where(Reference.id == reference.id).execute()
        return
    seen = _seen(outcome.digest, storable(outcome.media_type, MAX_MEDIA_TYPE), outcome.finished_at, outcome.action)
    seen["drift_digest"] = outcome.drift_digest
    settled = _settled(None if outcome.kept else outcome.digest)
    if outcome.drift_digest is not None:
        # What is not ours must not become ours by being seen.
        del seen["observed_digest"]
        seen["drift_since"] = value_or(Reference.drift_since, outcome.finished_at)
    if not Reference.update(**seen, **settled).where(same).execute():
        Reference.update(**seen).where(Reference.id == reference.id).execute()


def _seen(digest: Any, media_type: Any, at: Any, action: str) -> dict[str, Any]:
    seen = {
        "observed_digest": digest,
        "media_type": media_type,
        "throwaway_digest": None,
        "drift_digest": None,
        "drift_since": None,
        "deletion_reserved_at": None,
        "deletion_released_at": None,
        "synced_at": at,
    }
    # What a verification saw before says nothing of what was written now.
    return seen | ({"verified_digest": None} if action == "copy" else {})


def _settled(digest: Any) -> dict[str, Any]:
    return {
        "state": SyncState.SYNCED,
        "desired_digest": digest,
        "delete_witness": None,
        "pending_since": None,
        "retry_count": 0,
        "retry_at": None,
        "failure": None,
        "failure_reason": None,
    }


def _in_order(action: str) -> Update:
    seen = _seen(slot("digest"), slot("media_type"), slot("at", Reference.synced_at), action)
    return Reference.update(**seen, **_settled(slot("digest"))).where(
        (Reference.id == slot("id")) & (Reference.generation == slot("generation"))
    )


_COPIED, _KEPT = Statement(lambda: _in_order("copy")), Statement(lambda: _in_order("keep"))


def _failed(reference: Reference, outcome: Failed, backoff: Backoff) -> None:
    count = reference.retry_count + 1
    Reference.update(
        state=SyncState.FAILED,
        retry_count=count,
        retry_at=now()
        + backoff.delay(count, temporary=outcome.temporary, outage=outcome.registry_wide, at_least=outcome.retry_after),
        failure=storable(outcome.message, MAX_MESSAGE),
        failure_reason=outcome.reason,
        desired_digest=fn.COALESCE(outcome.digest, Reference.desired_digest),
        # What is to be repaired must not be believed at the next try either.
        trigger="repair" if reference.trigger == "repair" else "retry",
    ).where((Reference.id == reference.id) & (Reference.generation == reference.generation)).execute()


def _lag(reference: Reference, outcome: Done) -> float | None:
    """Seconds from the event, by the registry's clock, to when the secondary had it, by ours; never negative."""
    if reference.event_at is None or outcome.action not in {"copy", "delete"} or reference.pending_since is None:
        return None
    event_at: datetime = reference.event_at
    return max(0.0, (outcome.finished_at - event_at).total_seconds())


def _attempt(claim: Claim, reference: Reference, outcome: Done | Failed, lag: float | None) -> None:
    failed = isinstance(outcome, Failed)
    released = reference.deletion_released_at is not None and outcome.action == "delete"
    _ATTEMPT.execute(
        registry=claim.registry_id,
        reference=reference.name,
        action=outcome.action,
        trigger=RELEASED if released else reference.trigger,
        event_id=reference.event_id,
        outcome="failed" if failed else "synced",
        reason=outcome.reason if isinstance(outcome, Failed) else None,
        message=storable(outcome.message, MAX_MESSAGE) if isinstance(outcome, Failed) else None,
        old_digest=reference.observed_digest if isinstance(outcome, Failed) else outcome.old_digest,
        new_digest=outcome.digest,
        bytes_copied=outcome.tally.bytes_copied if isinstance(outcome, Done) and outcome.tally else 0,
        lag_seconds=lag,
        worker=owner(),
        started_at=outcome.started_at,
        finished_at=outcome.finished_at,
    )


def _insert() -> Insert:
    stored = [field for field in SyncAttempt._meta.sorted_fields if field.name != "id"]
    return SyncAttempt.insert({field: slot(field.name, field) for field in stored})


_ATTEMPT = Statement(_insert)


def _measure(claim: Claim, outcome: Done | Failed, lag: float | None) -> None:
    site = {"site": claim.site.name}
    took = (outcome.finished_at - outcome.started_at).total_seconds()
    samples = metrics.Samples()
    if isinstance(outcome, Failed):
        samples.count("geo_sync_failures_total", {**site, "reason": outcome.reason})
        samples.observe("geo_sync_duration_seconds", {**site, "outcome": "failed"}, took)
    else:
        samples.count("geo_sync_success_total", {**site, "action": outcome.action})
        samples.observe("geo_sync_duration_seconds", {**site, "outcome": "synced"}, took)
        if outcome.tally is not None:
            samples.count("geo_copied_bytes_total", site, outcome.tally.bytes_copied)
            for kind, number in (
                ("copied", outcome.tally.blobs_copied),
                ("mounted", outcome.tally.blobs_mounted),
                ("skipped", outcome.tally.blobs_skipped),
            ):
                samples.count("geo_blobs_total", {**site, "how": kind}, number)
    if lag is not None:
        samples.observe("geo_replication_lag_seconds", site, lag)
    samples.write()
