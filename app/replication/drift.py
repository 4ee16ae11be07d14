"""Drift: tags that the secondary has, the primary has not, and that are not ours."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from peewee import Expression

from app.database import connection, in_batches, now, transaction
from app.models import Reference, Site, SyncState
from app.registry import RegistryClient, RegistryError
from app.replication.claim import Claim
from app.replication.policy import Policy, Verdict
from app.replication.tag_scope import TagScope
from app.statements import Statement, slot

log = logging.getLogger(__name__)

#: A registry without the referrers API is told of them by such a tag (OCI distribution specification, "Referrers Tag
#: Schema"), and one that has it, by none: on one side alone it is no difference.
REFERRERS_TAG = re.compile(r"sha(256|512)-[0-9a-f]{64}")


def is_extra() -> Expression:
    """References that stand for nothing but a tag which is there on the secondary without us."""
    extra: Expression = Reference.drift_since.is_null(False) & Reference.observed_digest.is_null() & Reference.is_tag
    return extra


@dataclass(frozen=True, slots=True)
class Listed:
    """The primary's tags. `complete` is False where it does not know the repository: no witness against anything."""

    tags: frozenset[str]
    complete: bool


@dataclass(frozen=True, slots=True)
class There:
    """The secondary's tags. `vacant` where it says that it knows no such repository."""

    tags: frozenset[str]
    vacant: bool = False


def listed(claim: Claim, destination: RegistryClient) -> There | None:
    """A complete listing of the secondary: one request a page, none a tag. None, and a line in the log, where it
    fails: what was known of drift stands then, and copying goes on."""
    try:
        tags = destination.tags_or_none(claim.path)
    except RegistryError as error:
        log.warning("drift of %s on %s was not looked for: %s", claim.path, claim.site.name, error)
        return None
    return There(frozenset(tags or ()), vacant=tags is None)


def look(claim: Claim, primary: Listed, secondary: There, before: Mapping[int, int] | None = None) -> None:
    """Compare the two listings.

    Extras are written down; under `mirror` they become due for deletion, with the primary's complete listing as their
    second witness.

    `before` has the generations that references had before the primary was listed: an extra that some event named
    earlier, and that never came, is drift again.
    """
    there = secondary.tags
    extras = {tag for tag in there - primary.tags if not REFERRERS_TAG.fullmatch(tag)}
    with connection():
        site = claim.site_now()
        scope, known = TagScope.of(site), _known(claim)
        extras = {tag for tag in extras if scope.covers(tag)}
        doomed = set(_doomed(site, extras - known.ours)) if primary.complete else set()
        if primary.complete:
            _calm(claim, known.extra - primary.tags, before or {})
        _forget(claim, known.extra - there - primary.tags)
        _create(claim, extras - known.ours - known.extra, doomed)
        _condemn(claim, known.extra & doomed)


def _doomed(site: Site, tags: Iterable[str]) -> Iterable[str]:
    policy = Policy.of(site)
    for tag in tags:
        if policy.judge(name=tag, is_tag=True, ours=False)[0] is Verdict.DELETE:
            yield tag


@dataclass(frozen=True, slots=True)
class _Known:
    extra: set[str]
    #: Tags that we are about: copied, or about to be.
    ours: set[str]


def _known(claim: Claim) -> _Known:
    found = _Known(set(), set())
    for name, extra in _NAMES.rows(id=claim.registry_id):
        (found.extra if extra else found.ours).add(name)
    return found


_NAMES = Statement(
    lambda: (
        Reference.select(Reference.name, is_extra())
        .where((Reference.registry == slot("id")) & Reference.is_tag)
        .tuples()
    )
)


def _untouched(claim: Claim, names: list[str]) -> Expression:
    """Extras that no event has named since they were read."""
    untouched: Expression = (
        (Reference.registry == claim.registry_id)
        & Reference.name.in_(names)
        & is_extra()
        & (Reference.state == SyncState.SYNCED)
    )
    return untouched


def _calm(claim: Claim, names: set[str], before: Mapping[int, int]) -> None:
    """Extras that wait for what an event named, and that the primary turned out not to have."""
    settled: dict[str, Any] = {"state": SyncState.SYNCED, "pending_since": None, "retry_count": 0, "retry_at": None}
    settled |= {"failure": None, "failure_reason": None, "desired_digest": None, "delete_witness": None}
    for batch in in_batches(sorted(names)):
        with transaction():
            claim.hold()
            waiting = Reference.select(Reference.id, Reference.generation).where(
                (Reference.registry == claim.registry_id)
                & Reference.name.in_(list(batch))
                & is_extra()
                & Reference.state.in_([SyncState.PENDING, SyncState.FAILED])
                & Reference.delete_witness.is_null()
            )
            ids = [row.id for row in waiting if before.get(row.id) == row.generation]
            Reference.update(generation=Reference.generation + 1, **settled).where(Reference.id.in_(ids)).execute()


def _forget(claim: Claim, names: set[str]) -> None:
    for batch in in_batches(sorted(names)):
        with transaction():
            claim.hold()
            Reference.delete().where(_untouched(claim, list(batch))).execute()


def _create(claim: Claim, names: set[str], doomed: set[str]) -> None:
    instant = now()
    for batch in in_batches(sorted(names)):
        rows = [
            {
                "registry": claim.registry_id,
                "name": name,
                "is_tag": True,
                "state": SyncState.PENDING if name in doomed else SyncState.SYNCED,
                "delete_witness": "listing" if name in doomed else None,
                "pending_since": instant if name in doomed else None,
                "trigger": "full",
                "drift_since": instant,
                "created_at": instant,
            }
            for name in batch
        ]
        with transaction():
            claim.hold()
            insert = Reference.insert_many(rows)
            insert.on_conflict(action="NOTHING", conflict_target=[Reference.registry, Reference.name]).execute()


def _condemn(claim: Claim, names: set[str]) -> None:
    for batch in in_batches(sorted(names)):
        with transaction():
            claim.hold()
            Reference.update(
                generation=Reference.generation + 1,
                state=SyncState.PENDING,
                delete_witness="listing",
                pending_since=now(),
                trigger="full",
                retry_at=None,
            ).where(_untouched(claim, list(batch))).execute()
