"""Planning a full sync: complete listings of both sides become references to be looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from peewee import Case, fn

from app.database import connection, in_batches, now, transaction, value_or
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Reference, SyncState
from app.registry import NotFound, RegistryClient
from app.replication import drift
from app.replication.claim import Claim
from app.replication.drift import Listed
from app.replication.tag_scope import TagScope
from app.statements import Statement, slot


class RepositoryMissing(Exception):
    """The primary does not know a repository that the secondary holds tags of. Nothing is deleted because of it."""

    reason = "repository_missing"
    temporary = True


def plan(
    claim: Claim,
    source: RegistryClient,
    generation: int,
    *,
    destination: RegistryClient | None = None,
    trigger: str = "full",
    vacant: Callable[[], None] = lambda: None,
) -> int:
    """List the repository on the primary and mark every tag, there or gone; return how many.

    Meanwhile it is listed on the secondary, `destination`, too: what is there alone is drift (`drift.look`). `vacant`
    is called before anything is marked where the secondary knows no such repository.

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
    with ThreadPoolExecutor(1, thread_name_prefix="listing") as beside:
        looking = beside.submit(drift.listed, claim, destination) if destination is not None else None
        listed = _listed(claim, source, destination)
        there = looking.result() if looking is not None else None
    if there is not None and there.vacant:
        vacant()
    with connection():
        marked = _mark_all(claim, listed.tags, before, trigger, TagScope.of(claim.site_now()))
    if there is not None:
        drift.look(claim, listed, there, before)
    _settle(claim, generation)
    return marked


def _listed(claim: Claim, source: RegistryClient, destination: RegistryClient | None) -> Listed:
    try:
        return Listed(frozenset(source.list_tags(claim.path)), complete=True)
    except NotFound as error:
        error.require_witness()
        _require_nothing_of_ours(claim, error, destination)
        return Listed(frozenset(), complete=False)


def _settle(claim: Claim, generation: int) -> None:
    """Both sides were looked at; a process killed before this looks again."""
    with transaction():
        Registry.update(full_sync=False).where(
            (Registry.id == claim.registry_id)
            & (Registry.lease_token == claim.token)
            & (Registry.full_sync_generation <= generation)
        ).execute()


def _tags(claim: Claim) -> list[Reference]:
    return _TAGS.rows(id=claim.registry_id)


_TAGS = Statement(lambda: Reference.select().where((Reference.registry == slot("id")) & Reference.is_tag))


def _mark_all(claim: Claim, listed: Set[str], before: Mapping[int, int], trigger: str, scope: TagScope) -> int:
    instant = now()
    # What left the scope is neither brought nor missed.
    known = {tag.name: tag for tag in _tags(claim) if scope.covers(tag.name)}
    listed = {name for name in listed if scope.covers(name)}
    # What never was on the primary is the secondary's listing's to judge.
    extras = {name for name, tag in known.items() if tag.drift_since is not None and tag.observed_digest is None}
    # A listing is no witness against a tag that an event named while it was being made.
    missing = {name for name in known.keys() - listed - extras if known[name].id in before}
    for batch in in_batches(sorted(listed - known.keys())):
        _create(claim, batch, trigger, instant)
    for ids in in_batches([known[name].id for name in sorted(listed & known.keys())]):
        _mark(claim, ids, None, trigger, instant)
    for ids in in_batches([known[name].id for name in sorted(missing)]):
        _mark(claim, ids, before, trigger, instant)
    return len(listed | (known.keys() - extras))


def _require_nothing_of_ours(claim: Claim, error: NotFound, destination: RegistryClient | None) -> None:
    """A registry that never had a tag there says "name unknown"; one that lost its storage says the same."""
    ours = Reference.select(Reference.name).where(
        (Reference.registry == claim.registry_id)
        & Reference.is_tag
        & Reference.in_scope
        & Reference.observed_digest.is_null(False)
        # What the policy keeps was gone by both witnesses before.
        & Reference.desired_digest.is_null(False)
        & Reference.delete_witness.is_null()
    )
    with connection():
        held = {tag.name for tag in ours}
    if held and destination is not None:
        held &= set(destination.tags_or_none(claim.path) or ())
    if held:
        raise RepositoryMissing(
            f"the primary does not know {claim.path}, of which the secondary holds {len(held)} tags; nothing was"
            " deleted. If the repository was deleted on purpose, delete these tags on the secondary too, or the"
            f" repository there; the next sync forgets them. ({error})"
        )


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
        claim.hold()
        insert = Reference.insert_many(rows)
        insert.on_conflict(action="NOTHING", conflict_target=[Reference.registry, Reference.name]).execute()


def _mark(claim: Claim, ids: Sequence[int], missing: Mapping[int, int] | None, trigger: str, instant: datetime) -> None:
    """A reference that an event already asked for keeps its place in the queue, and its witness.

    `missing`: they are not listed; the generations that they had before the listing.
    """
    waiting = Reference.state == SyncState.PENDING
    unrepaired = (Reference.state == SyncState.FAILED) & (Reference.trigger == "repair")
    kept = Reference.delete_witness if missing is None else fn.COALESCE(Reference.delete_witness, "listing")
    with transaction():
        claim.hold()
        if missing is not None:
            now_at = Reference.select(Reference.id, Reference.generation).where(Reference.id.in_(list(ids)))
            ids = [tag.id for tag in now_at if tag.generation == missing[tag.id]]
        Reference.update(
            generation=Reference.generation + 1,
            state=SyncState.PENDING,
            in_scope=True,
            delete_witness=kept,
            trigger=Case(None, [(waiting | unrepaired, Reference.trigger)], trigger),
            event_id=Case(None, [(waiting, Reference.event_id)], None),
            correlation_id=Case(None, [(waiting, Reference.correlation_id)], None),
            event_at=Case(None, [(waiting, Reference.event_at)], None),
            pending_since=value_or(Reference.pending_since, instant),
            retry_at=None,
        ).where(Reference.id.in_(list(ids))).execute()
