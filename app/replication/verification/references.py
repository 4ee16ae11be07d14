"""References to be verified: what is said to be in sync and has not been looked at yet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce

from peewee import Case, Expression

from app.database import connection, transaction
from app.models import Reference, SyncState
from app.replication.verification.claim import Verifying
from app.replication.verification.owing import in_sync, unseen
from app.settings import VerificationLevel as Level

#: References that are looked at before anything is written down.
BATCH = 64


@dataclass(frozen=True, slots=True)
class Due:
    """A reference to be looked at. `digest` is what both sides stand on, `generation` the one at which they did."""

    id: int
    name: str
    is_tag: bool
    digest: str
    generation: int
    level: Level


def unsynced(registry_id: int) -> int:
    """How many tags wait for a sync, or failed."""
    with connection():
        waiting = (Reference.registry == registry_id) & Reference.is_tag & (Reference.state != SyncState.SYNCED)
        count: int = Reference.select().where(waiting).count()
        return count


def count(claim: Verifying) -> int:
    """How many references `batches` has."""
    with connection():
        found: int = Reference.select().where(_wanted(claim)).count()
        return found


def batches(claim: Verifying) -> Iterator[Sequence[Due]]:
    """What is to be looked at, a batch at a time, in the order of the names; each is read when it is asked for."""
    after = ""
    while True:
        with connection():
            rows = list(
                Reference.select()
                .where(_wanted(claim) & (Reference.name > after))
                .order_by(Reference.name)
                .limit(BATCH)
            )
        if not rows:
            return
        yield [_due(row, claim) for row in rows]
        after = rows[-1].name


def _wanted(claim: Verifying) -> Expression:
    wanted = unseen()
    if claim.full:
        wanted |= Reference.verified_at.is_null() | (Reference.verified_at < claim.requested_at)
    return in_sync(claim.registry_id) & wanted


def _due(row: Reference, claim: Verifying) -> Due:
    levels = [claim.level, Level(row.verification_level or claim.level)]
    if row.verified_digest != row.observed_digest:
        levels.append(claim.unseen_level)
    return Due(
        id=row.id,
        name=row.name,
        is_tag=row.is_tag,
        digest=str(row.observed_digest),
        generation=row.generation,
        level=reduce(lambda one, other: one if one.reaches(other) else other, levels),
    )


def verified(claim: Verifying, looked_at: Sequence[Due], instant: datetime) -> None:
    """Write down that these are there, but for those that something has asked for meanwhile.

    Raises:
        VerificationLost: when the row was taken over.
    """
    if not looked_at:
        return
    with transaction():
        claim.require()
        Reference.update(verified_digest=Reference.observed_digest, verified_at=instant, verification_level=None).where(
            unchanged(looked_at)
        ).execute()


def unchanged(looked_at: Sequence[Due]) -> Expression:
    """Those of these references that are still what was looked at."""
    ids = [each.id for each in looked_at]
    generation = Case(Reference.id, [(each.id, each.generation) for each in looked_at])
    expression: Expression = (
        Reference.id.in_(ids)
        & (Reference.generation == generation)
        & (Reference.state == SyncState.SYNCED)
        & (Reference.observed_digest == Case(Reference.id, [(each.id, each.digest) for each in looked_at]))
    )
    return expression
