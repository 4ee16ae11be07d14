"""Planning a full sync: a complete listing of the primary becomes references to be looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from peewee import Case, fn

from app.database import connection, in_batches, lock, now, transaction
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Reference, SyncState
from app.registry import NotFound, RegistryClient
from app.replication.claim import Claim


class RepositoryMissing(Exception):
    """The primary does not know a repository that the secondary holds tags of. Nothing is deleted because of it."""

    reason = "repository_missing"
    temporary = True


def plan(claim: Claim, source: RegistryClient, generation: int, *, trigger: str = "full") -> int:
    """List the repository on the primary and mark every tag, there or gone; return how many.

    `generation` is the row's at the time of the claim: a full sync asked for after it stays asked for; what events
    ask for meanwhile makes no further one.

    A tag of ours that a complete listing lacks gets its second witness. An incomplete listing is an error and marks
    nothing.

    Raises:
        RegistryError: when the listing is not complete and well formed.
        RepositoryMissing: when the primary has no such repository although we copied tags of it.
    """
    with connection():
        before = {tag.id: tag.generation for tag in _tags(claim)}
    try:
        listed = set(source.list_tags(claim.path))
    except NotFound as error:
        if not error.witnessed:
            raise
        listed = _without_listing(claim, error)
    with connection():
        return _mark_all(claim, listed, before, trigger, generation)


def _tags(claim: Claim) -> list[Reference]:
    return list(Reference.select().where((Reference.registry == claim.registry_id) & Reference.is_tag))


def _mark_all(claim: Claim, listed: set[str], before: Mapping[int, int], trigger: str, generation: int) -> int:
    instant = now()
    known = {tag.name: tag for tag in _tags(claim)}
    # A listing is no witness against a tag that an event named while it was being made.
    missing = {name for name in known.keys() - listed if known[name].id in before}
    for batch in in_batches(sorted(listed - known.keys())):
        _create(claim, batch, trigger, instant)
    for ids in in_batches([known[name].id for name in sorted(listed & known.keys())]):
        _mark(claim, ids, None, trigger, instant)
    for ids in in_batches([known[name].id for name in sorted(missing)]):
        _mark(claim, ids, before, trigger, instant)
    with transaction():
        Registry.update(full_sync=False).where(
            (Registry.id == claim.registry_id)
            & (Registry.lease_token == claim.token)
            & (Registry.full_sync_generation <= generation)
        ).execute()
    return len(listed | known.keys())


def _without_listing(claim: Claim, error: NotFound) -> set[str]:
    """A registry that never had a tag there says "name unknown"; one that lost its storage says the same."""
    ours = Reference.select().where(
        (Reference.registry == claim.registry_id)
        & Reference.is_tag
        & Reference.observed_digest.is_null(False)
        & Reference.delete_witness.is_null()
    )
    with connection():
        held = ours.exists()
    if held:
        raise RepositoryMissing(
            f"the primary does not know {claim.path}, of which the secondary holds tags; nothing was deleted."
            f" If the repository was deleted on purpose, delete its tags one by one or set the event right. ({error})"
        )
    return set()


def _create(claim: Claim, names: Sequence[str], trigger: str, instant: datetime) -> None:
    rows = [
        {
            "registry": claim.registry_id,
            "name": name,
            "is_tag": True,
            "trigger": trigger,
            "pending_since": instant,
            "created_at": instant,
        }
        for name in names
    ]
    with transaction():
        lock(Registry, [claim.registry_id])
        insert = Reference.insert_many(rows)
        insert.on_conflict(action="NOTHING", conflict_target=[Reference.registry, Reference.name]).execute()


def _mark(claim: Claim, ids: Sequence[int], missing: Mapping[int, int] | None, trigger: str, instant: datetime) -> None:
    """A reference that an event already asked for keeps its place in the queue, and its witness.

    `missing`: they are not listed; the generations that they had before the listing.
    """
    waiting = Reference.state == SyncState.PENDING
    kept = Reference.delete_witness if missing is None else fn.COALESCE(Reference.delete_witness, "listing")
    with transaction():
        lock(Registry, [claim.registry_id])
        if missing is not None:
            now_at = Reference.select(Reference.id, Reference.generation).where(Reference.id.in_(list(ids)))
            ids = [tag.id for tag in now_at if tag.generation == missing[tag.id]]
        Reference.update(
            generation=Reference.generation + 1,
            state=SyncState.PENDING,
            delete_witness=kept,
            trigger=Case(None, [(waiting, Reference.trigger)], trigger),
            event_id=Case(None, [(waiting, Reference.event_id)], None),
            event_at=Case(None, [(waiting, Reference.event_at)], None),
            pending_since=fn.COALESCE(Reference.pending_since, instant),
            retry_at=None,
        ).where(Reference.id.in_(list(ids))).execute()
