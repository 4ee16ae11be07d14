"""Missing: what a site lacks, or may lack, of what its primary has; what a promotion would lose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.models import ContainerRepository, Cursor, Follower, Reference, Site, SyncState, VerificationState
from app.models import ContainerRepositoryRegistry as Registry
from app.replication import cursor as cursors
from app.replication import event_log, progress, reference_counts
from app.replication.drift import is_extra
from app.replication.plan import Action, SitePlan

#: Things of a kind that are named; the others are counted.
NAMED = 1000


class Kind(StrEnum):
    """What a finding is about, for scripts."""

    #: Tags, or digests pushed without one, that the site does not have as the primary last had them.
    UNSYNCED = "unsynced"
    #: Deleted on the primary, and still on the site.
    UNDELETED = "undeleted"
    #: Events that came and were not read yet.
    UNREAD = "unread_events"
    #: Events of the log of the primary's deployment that never came.
    NOT_RECEIVED = "events_not_received"
    #: Repositories of which it cannot be told.
    UNCLEAR = "unclear"
    #: Repositories that were found and never looked at, or repositories that may not have been found.
    NEVER_SYNCED = "never_synced"
    #: Found wanting by a verification.
    DAMAGED = "damaged"
    #: Left out by the settings: it was never brought.
    OUT_OF_SCOPE = "out_of_scope"
    #: On the site alone, and not from us: it would be the primary's then.
    DRIFT = "drift"
    #: Reasons for which what is known may not be all.
    DOUBT = "doubt"


@dataclass(frozen=True, slots=True)
class Named:
    """One thing that a finding is about: a repository, or a tag or digest in it."""

    repository: str
    name: str | None
    detail: str

    def __str__(self) -> str:
        if self.name is None:
            return f"{self.repository}: {self.detail}"
        return f"{self.repository}{'@' if ':' in self.name else ':'}{self.name}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that the site lacks or may lack. `loses`: promoting it now would lose what this names."""

    kind: Kind
    text: str
    loses: bool
    count: int = 0
    named: tuple[Named, ...] = ()


def known(site: Site, instant: datetime) -> list[Finding]:
    """What the rows say, the primary being gone perhaps. Call it inside `app.database.connection()`."""
    return [*_events(site), *_references(site), *_repositories(site, instant), *lasting(site, instant)]


def lasting(site: Site, instant: datetime) -> list[Finding]:
    """Of the same, what a comparison of the two registries does not tell."""
    return [*_scope(site), *_damaged(site), *_silence(site, instant)]


def compared(plan: SitePlan) -> list[Finding]:
    """What a comparison of both registries found."""
    found: dict[Kind, list[Named]] = {kind: [] for kind in (Kind.UNSYNCED, Kind.UNDELETED, Kind.UNCLEAR, Kind.DRIFT)}
    for each in plan.repositories:
        if each.problem is not None:
            found[Kind.UNCLEAR].append(Named(each.path, None, each.problem.message))
        for tag in each.tags:
            kind = _KINDS.get(tag.action)
            if kind is not None:
                found[kind].append(Named(each.path, tag.name, tag.reason or _DETAILS[tag.action]))
    return [_finding(kind, len(named), named[:NAMED]) for kind, named in found.items() if named]


_KINDS = {
    Action.COPY: Kind.UNSYNCED,
    Action.MOVE: Kind.UNSYNCED,
    Action.DELETE: Kind.UNDELETED,
    Action.UNCLEAR: Kind.UNCLEAR,
    Action.DRIFT: Kind.DRIFT,
}
_DETAILS = {
    Action.COPY: "the site lacks it",
    Action.MOVE: "the site has another digest",
    Action.DELETE: "deleted on the primary",
    Action.UNCLEAR: "it could not be told",
    Action.DRIFT: "on the site alone",
}
_TEXTS = {
    Kind.UNSYNCED: ("1 tag or digest is not there as the primary has it", "{} tags or digests are not there as the"
                    " primary has them"),
    Kind.UNDELETED: ("1 tag was deleted on the primary and is still there", "{} tags were deleted on the primary and"
                     " are still there"),
    Kind.UNREAD: ("1 event was not read yet", "{} events were not read yet"),
    Kind.NOT_RECEIVED: ("1 event of the primary's deployment did not come", "{} events of the primary's deployment did"
                        " not come"),
    Kind.UNCLEAR: ("of 1 tag or repository it cannot be told", "of {} tags or repositories it cannot be told"),
    Kind.NEVER_SYNCED: ("1 repository was never synced as a whole", "{} repositories were never synced as a whole"),
    Kind.DAMAGED: ("1 repository was found not to be whole there", "{} repositories were found not to be whole there"),
    Kind.DRIFT: ("1 tag is there that is not from us: it would be the primary's", "{} tags are there that are not from"
                 " us: they would be the primary's"),
}  # fmt: skip


def _finding(kind: Kind, count: int, named: list[Named]) -> Finding:
    one, many = _TEXTS[kind]
    return Finding(kind, one if count == 1 else many.format(f"{count:,}"), kind is not Kind.DRIFT, count, tuple(named))


# --- what the rows say ----------------------------------------------------------------------------------------------


def _events(site: Site) -> Iterator[Finding]:
    cursor = Cursor.get_or_none(Cursor.site == site)
    unread = event_log.unread(cursors.position_of(cursor)) if cursor is not None else 0
    if unread:
        yield _finding(Kind.UNREAD, unread, [])
    follower: Follower | None = Follower.get_or_none(Follower.site == site)
    if follower is not None and (behind := follower.source_last_event_id - follower.last_event_id) > 0:
        yield _finding(Kind.NOT_RECEIVED, behind, [])


def _references(site: Site) -> Iterator[Finding]:
    differs = Reference.observed_digest.is_null() | Reference.desired_digest.is_null()
    differs |= Reference.observed_digest != Reference.desired_digest
    deleted = Reference.delete_witness.is_null(False)
    waiting = Reference.in_scope & (Reference.state != SyncState.SYNCED) & ~is_extra()
    # What a look at everything has not come to again was in order before.
    for kind, condition in ((Kind.UNSYNCED, differs & ~deleted), (Kind.UNDELETED, deleted)):
        query = (
            Reference.select(ContainerRepository.path, Reference.name, Reference.failure, Reference.throwaway_digest)
            .join(Registry)
            .join(ContainerRepository)
            .where((Registry.site == site) & Registry.in_scope & waiting & condition)
        )
        count = query.count()
        if count:
            rows: Any = query.order_by(ContainerRepository.path, Reference.name).limit(NAMED).tuples()
            yield _finding(kind, count, [Named(path, name, _why(*more)) for path, name, *more in rows])
    drift = sum(group.count for group in reference_counts.of(site) if group.drift)
    if drift:
        yield _finding(Kind.DRIFT, drift, [])


def _why(failure: str | None, throwaway: str | None) -> str:
    if throwaway is not None:
        return "its deletion was begun: it stands on an empty image there"
    return failure or "not brought yet"


def _repositories(site: Site, instant: datetime) -> Iterator[Finding]:
    rows = Registry.select(ContainerRepository.path, Registry.last_sync_failure).join(ContainerRepository)
    never = Registry.last_synced_at.is_null() & (Registry.state != SyncState.SYNCED)
    query = rows.where((Registry.site == site) & Registry.in_scope & never)
    count = query.count()
    if count:
        found: Any = query.order_by(ContainerRepository.path).limit(NAMED).tuples()
        yield _finding(Kind.NEVER_SYNCED, count, [Named(path, None, why or "not begun") for path, why in found])
    last = progress.backfill(site, instant)
    if last is None or last.finding:
        text = "not every repository was found yet: the first look at everything is not over"
        yield Finding(Kind.NEVER_SYNCED, text, loses=site.reconciled_at is None)
    if site.reconcile_requested_at is not None:
        text = f"a look at everything is asked for and not begun: {site.reconcile_reason}"
        yield Finding(Kind.DOUBT, text, loses=False)


def _scope(site: Site) -> Iterator[Finding]:
    limits = [
        (name, lines.splitlines())
        for name, lines in (
            ("repositories", site.repositories),
            ("tags", site.tags),
            ("repositories, by the primary's deployment,", site.granted_repositories),
            ("tags, by the primary's deployment,", site.granted_tags),
        )
        if lines
    ]
    if limits:
        told = "; ".join(f"{name} {' '.join(patterns)}" for name, patterns in limits)
        yield Finding(Kind.OUT_OF_SCOPE, f"it replicates a part alone, and has no more: {told}", loses=True)


def _damaged(site: Site) -> Iterator[Finding]:
    reason = Registry.verification_failure_reason
    broken = (Registry.verification_state == VerificationState.FAILED) & ~reason.startswith("primary_")
    rows = Registry.select(ContainerRepository.path, Registry.verification_failure).join(ContainerRepository)
    query = rows.where((Registry.site == site) & Registry.in_scope & broken)
    count = query.count()
    if count:
        found: Any = query.order_by(ContainerRepository.path).limit(NAMED).tuples()
        yield _finding(Kind.DAMAGED, count, [Named(path, None, why or "not whole") for path, why in found])


def _silence(site: Site, instant: datetime) -> Iterator[Finding]:
    if not site.enabled:
        yield Finding(Kind.DOUBT, "it is paused: nothing was copied to it meanwhile", loses=False)
    follower: Follower | None = Follower.get_or_none(Follower.site == site)
    if follower is not None and follower.failing_since is not None:
        minutes = (instant - follower.failing_since).total_seconds() / 60
        text = (
            f"the primary's deployment has not answered for {minutes:.0f} minutes: what was pushed since is not known"
        )
        yield Finding(Kind.DOUBT, text, loses=False)
