"""Closing a claim: a tracking row is left in the state that its references are in, by compare-and-set."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from peewee import Case, Expression, ModelSelect, fn

from app.database import MAX_ROWS, connection, lock, now, storable, transaction
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Reference, SyncState, VerificationState
from app.replication.backoff import BACKOFF
from app.replication.claim import MAX_ATTEMPTS, RELEASED, Claim, waiting_again
from app.statements import Statement, slot

#: Characters of a row's failure that are kept.
MAX_FAILURE = 2000


@dataclass(frozen=True, slots=True)
class Closed:
    """How a row was left. `again`: something is due on it already."""

    state: SyncState | None
    failure: str | None = None

    @property
    def again(self) -> bool:
        return self.state is SyncState.PENDING


def close(
    claim: Claim,
    *,
    failure: str | None = None,
    retry_after: float | None = None,
    outage: bool = False,
    tried: bool = True,
) -> Closed:
    """Let go of the row, in the state that its references are in.

    `failure` is one of the whole row (the registry does not answer, the listing is broken) and overrules them; an
    `outage` is one of the whole registry.
    `tried` is False when nothing failed in this sync although something is still in failure: it does not count.
    Synced only if every tag is and no event came meanwhile (compare-and-set on the generation); pending if work is
    left. State None: the lease was lost and nothing was written.
    """
    with transaction():
        instant = now()
        summary = _summary(claim.registry_id)
        ours = (Registry.id == claim.registry_id) & (Registry.lease_token == claim.token)
        ours &= Registry.state == SyncState.STARTED
        released: dict[str, Any] = {**RELEASED, "attempts": 0}
        if failure is None and (summary.pending or summary.full_sync):
            return _pending(ours, released | _unverified(claim), instant)
        if failure is None and not summary.failed:
            values = {"state": SyncState.SYNCED, "last_synced_at": instant, "retry_count": 0, "retry_at": None}
            values |= {"last_sync_failure": None, "pending_since": None}
            state = SyncState.SYNCED
        else:
            count = claim.retry_count + 1 if tried else max(1, claim.retry_count)
            retry_at = instant + BACKOFF.delay(count, outage=outage, at_least=retry_after)
            if failure is None:
                failure, retry_at = summary.failure, summary.retry_at or retry_at
            values = {"state": SyncState.FAILED, "retry_count": count, "retry_at": retry_at}
            values |= {"last_sync_failure": storable(failure, MAX_FAILURE)}
            state = SyncState.FAILED
        released |= _unverified(claim)
        unchanged = Registry.update(**values, **released).where(ours & (Registry.generation == claim.generation))
        if unchanged.execute():
            return Closed(state, failure)
        return _pending(ours, released, instant)


def _unverified(claim: Claim) -> dict[str, Any]:
    """A verification is due after a sync that changed anything. One under way learns of it by the generation, one
    switched off stays so, and one that failed has failed until the next has seen what the sync repaired."""
    return {"verification_state": _to_be_verified()} if claim.changed else {}


def _to_be_verified() -> Case:
    state = Registry.verification_state
    kept = state.in_([VerificationState.STARTED, VerificationState.DISABLED, VerificationState.FAILED])
    return Case(None, [(kept, state)], VerificationState.PENDING)


def release(claim: Claim, *, priority: int | None = None, after: float = 0.0) -> Closed:
    """Give the row back unfinished, to be taken by somebody else: at once, or `after` seconds.

    `priority` makes it less urgent than it was when it was claimed, unless an event came meanwhile.
    """
    with transaction():
        instant = now()
        ours = (Registry.id == claim.registry_id) & (Registry.lease_token == claim.token)
        ours &= Registry.state == SyncState.STARTED
        released: dict[str, Any] = {**RELEASED, "attempts": 0, **_unverified(claim)}
        unchanged = Registry.generation == claim.generation
        if priority is not None:
            released["priority"] = Case(None, [(unchanged, priority)], Registry.priority)
        if after:
            later = Registry.retry_at.to_value(instant + timedelta(seconds=after))
            released["retry_at"] = Case(None, [(unchanged, later)], None)
        return _pending(ours, released, instant)


def fail_poisonous() -> int:
    """Fail the rows whose every sync ended with its worker's death; return how many."""
    with connection():
        instant = now()
        poisonous = (
            (Registry.state == SyncState.STARTED)
            & (Registry.lease_expires_at <= instant)
            & (Registry.attempts >= MAX_ATTEMPTS)
        )
        ids = [row.id for row in Registry.select(Registry.id).where(poisonous).limit(MAX_ROWS)]
        if not ids:
            # As nearly always: that is no reason to wait for SQLite's write lock.
            return 0
        with transaction():
            lock(Registry, ids)
            return sum(_fail_poisonous(id_, poisonous, instant) for id_ in ids)


def _fail_poisonous(registry_id: int, poisonous: Expression, instant: datetime) -> int:
    values: dict[str, Any] = {
        **RELEASED,
        "state": SyncState.FAILED,
        # The last of them may have brought something.
        "verification_state": _to_be_verified(),
        "attempts": 0,
        "retry_count": Registry.retry_count + 1,
        # For each by itself: those whose holder was killed for the sake of another must not come back together.
        "retry_at": instant + BACKOFF.delay(MAX_ATTEMPTS + 3),
        "last_sync_failure": f"{MAX_ATTEMPTS} workers in a row died while syncing this repository;"
        " look for kills by memory limits in the system's log",
        "lease_token": Registry.lease_token + 1,
    }
    return int(Registry.update(**values).where((Registry.id == registry_id) & poisonous).execute())


def _pending(ours: Expression, released: dict[str, Any], instant: datetime) -> Closed:
    changed = Registry.update(**(waiting_again(instant) | released)).where(ours).execute()
    return Closed(SyncState.PENDING if changed else None)


@dataclass(frozen=True, slots=True)
class _Summary:
    #: A full sync was asked for since the last one began.
    full_sync: bool
    pending: int
    failed: int
    retry_at: datetime | None
    failure: str | None


def _summary(registry_id: int) -> _Summary:
    """What a row owes, and its tags, counted. A digest pushed without a tag never holds the row back."""
    full_sync = _FULL.first(id=registry_id) is not None
    pending, failed = (int(number or 0) for number in _OWED.first(id=registry_id))
    if not failed:
        return _Summary(full_sync, pending, 0, None, None)
    broken = Reference.select().where(
        (Reference.registry == registry_id) & Reference.is_tag & (Reference.state == SyncState.FAILED)
    )
    first = broken.order_by(Reference.retry_at.asc(nulls="LAST"), Reference.id).get()
    more = f" (and {failed - 1} more tags)" if failed > 1 else ""
    return _Summary(full_sync, pending, failed, first.retry_at, f"{first.failure}{more}")


def _owed() -> ModelSelect[Reference]:
    tag = Reference.is_tag & Reference.state.in_([SyncState.PENDING, SyncState.STARTED])
    # An untagged digest that waits for its first copy is work, though its failure is no reason to call the row failed.
    digest = ~Reference.is_tag & (Reference.state == SyncState.PENDING) & Reference.retry_at.is_null()
    broken = Reference.is_tag & (Reference.state == SyncState.FAILED)
    counts = [fn.SUM(Case(None, [(which, 1)], 0)) for which in (tag | digest, broken)]
    owing = Reference.state.in_([SyncState.PENDING, SyncState.STARTED, SyncState.FAILED])
    return Reference.select(*counts).where((Reference.registry == slot("id")) & owing).tuples()


_OWED = Statement(_owed)
_FULL = Statement(lambda: Registry.select(Registry.id).where((Registry.id == slot("id")) & Registry.full_sync).tuples())
