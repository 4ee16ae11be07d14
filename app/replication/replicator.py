"""The replicator: one sync, asked for by a person, an actor or a command; all of them come through here."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any

from peewee import Case

from app import correlation, migrate
from app.database import MAX_ROWS, connection, lock, now, transaction
from app.models import ContainerRepository, Reference, Site, SyncAttempt, SyncState
from app.models import ContainerRepositoryRegistry as Registry
from app.registry import NotFound, RegistryClient, is_repository
from app.replication import claim as claims
from app.replication import marking, sites
from app.replication.claim import Claim
from app.replication.closing import Closed
from app.replication.context import Context, current
from app.replication.event_log import repository_ids
from app.replication.planner import RepositoryMissing
from app.replication.scope import Scope
from app.replication.sync import sync
from app.replication.verification import claim as verifications
from app.replication.verification.asking import reverify
from app.replication.verification.run import Verified, verify
from app.settings import VerificationLevel

log = logging.getLogger(__name__)

#: Seconds between looks at a row that somebody else holds.
POLL = 0.1


class UnknownRepository(Exception):
    """The name is no repository path, or is outside what this site replicates."""


@dataclass(frozen=True)
class Replicator:
    """Makes one tracking row's repository equal to the primary's."""

    registry_id: int
    sleep: Callable[[float], None] = time.sleep

    def sync(self) -> Closed:
        """A full sync here and now, one try, whatever `retry_at` says; waits for a running one first.

        Returns how the row was left: synced, or failed with the reason.

        Raises:
            UnknownRepository: when the row is gone, or its site is no longer this deployment's.
            NotApplied: when this process reaches other registries than the deployment.
        """
        context = current().of_row(self.registry_id)
        sites.require_applied(context.settings)
        self.mark()
        closed = Closed(None)
        while not context.stopping.is_set():
            claim = claims.claim_row(self.registry_id, context.settings)
            if claim is None:
                self._require_current()
                self.sleep(POLL)
                continue
            if not claim.site.enabled:
                log.warning(
                    "site %s is paused; %s is synced all the same, since it was asked for by name",
                    claim.site.name,
                    claim.path,
                )
            closed = sync(claim, context)
            if closed.state in {SyncState.SYNCED, SyncState.FAILED}:
                break
        return closed

    def queue(self, context: Context) -> None:
        """Ask for the same of a worker, and wake one."""
        self.mark()
        context.wake.bulk(1)

    def verify(
        self,
        level: str | None = None,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> Verified:
        """Look at everything in the repository here and now, as far as `level` goes (`tags`, `manifests`, `blobs`,
        `content`; None: as in GEO_VERIFICATION_INTERVAL_LEVEL); waits for a verification under way first.

        What is missing is named in the result and made due for a sync, which repairs it. `progress` is told how many
        references of how many were looked at.

        Raises:
            ValueError: for no level.
            UnknownRepository: when the row is gone, or its site is no longer this deployment's.
            NotApplied: when this process reaches other registries than the deployment.
        """
        context = current().of_row(self.registry_id)
        sites.require_applied(context.settings)
        wanted = VerificationLevel(level) if level else context.settings.verification_interval_level
        reverify(self.registry_id, wanted)
        while not context.stopping.is_set():
            claim = verifications.claim_row(self.registry_id, context.settings)
            if claim is not None:
                return verify(claim, context, progress=progress)
            self._require_current()
            self.sleep(POLL)
        return Verified(wanted)

    def queue_verification(self, context: Context, level: VerificationLevel | None = None) -> None:
        """Ask for the same of a worker, and wake one."""
        reverify(self.registry_id, level or context.settings.verification_interval_level)
        context.wake.verifications(1)

    def mark(self) -> None:
        """Ask for a full sync of the repository, with one try of everything in it that has failed."""
        ask([self.registry_id])

    def _require_current(self) -> None:
        """What nobody can ever claim must not be waited for."""
        with connection():
            row = Registry.select().join(Site).where((Registry.id == self.registry_id) & ~Site.retired)
            found: Registry | None = row.first()
            if found is None:
                raise UnknownRepository(
                    f"tracking row {self.registry_id} is gone, or of a site that the environment no longer names"
                )
            if not found.in_scope:
                raise UnknownRepository(
                    f"tracking row {self.registry_id} is of a repository outside what its site replicates"
                    " (GEO_REPOSITORIES)"
                )


def ask(registry_ids: Sequence[int]) -> None:
    """Ask for a full sync of these repositories, with one try of everything in them that has failed.

    In transactions of so many references at most: in a single repository a hundred thousand may have failed.
    """
    rows, after = set(registry_ids), 0
    while True:
        with transaction():
            lock(Registry, registry_ids)
            failed = _failed(registry_ids, after)
            marking.awaken(
                sorted(rows | {row_id for _, row_id in failed}), since=now(), priority=marking.MANUAL, full=True
            )
            _try_again([reference_id for reference_id, _ in failed])
        if len(failed) < MAX_ROWS:
            return
        rows, after = set(), failed[-1][0]


def _failed(registry_ids: Sequence[int], after: int) -> list[tuple[int, int]]:
    """References of these rows that failed, some of them, in the order of their ids: each with its row's id."""
    failed: Any = Reference.select(Reference.id, Reference.registry).where(
        Reference.registry.in_(list(registry_ids)) & (Reference.state == SyncState.FAILED) & (Reference.id > after)
    )
    return list(failed.order_by(Reference.id).limit(MAX_ROWS).tuples())


def _try_again(reference_ids: Sequence[int]) -> None:
    # What is to be repaired must not be believed because a person asks for it.
    trigger = Case(None, [(Reference.trigger == "repair", "repair")], "manual")
    Reference.update(retry_at=None, state=SyncState.PENDING, trigger=trigger).where(
        Reference.id.in_(list(reference_ids)) & (Reference.state == SyncState.FAILED)
    ).execute()


def find(site: Site, path: str, source: RegistryClient) -> Registry:
    """The tracking row of the repository `path` on `site`, made if the primary has such a repository.

    Raises:
        UnknownRepository: for what is not a repository path or not in the site's scope.
        RepositoryMissing: for a new name that the primary does not know either.
        RegistryError: when the primary cannot say.
    """
    path = path.strip("/")
    if not is_repository(path):
        raise UnknownRepository(f"{path!r} is not a repository path, such as team/app (without host and tag)")
    if not Scope.of(site).covers(path):
        raise UnknownRepository(f"{path} is outside what site {site.name} replicates (GEO_REPOSITORIES)")
    with connection():
        known = (
            Registry.select()
            .join(ContainerRepository)
            .where((Registry.site == site) & (ContainerRepository.path == path))
        )
        row: Registry | None = known.first()
    if row is not None:
        return row
    try:
        source.list_tags(path)
    except NotFound as error:
        raise RepositoryMissing(f"the primary does not know {path} ({error})") from error
    with transaction():
        instant = now()
        repository_id = repository_ids([path], instant)[path]
        return marking.tracking_rows(site, [repository_id], instant)[repository_id]


def run_row(registry_id: int, context: Context) -> Closed | None:
    """Sync this row if nobody else holds it and its site is not paused; None if it was not done, or is gone."""
    with connection():
        paused = Registry.select().join(Site).where((Registry.id == registry_id) & ~Site.enabled).exists()
    if paused:
        log.warning("tracking row %s waits: its site is paused, see `geo sites resume`", registry_id)
        return None
    try:
        claim = claims.claim_row(registry_id, context.of_row(registry_id).settings)
    except sites.NotApplied as error:
        log.error("nothing is synced here: %s", error)
        return None
    return None if claim is None else sync(claim, context)


class Reach(Enum):
    """Which tracking rows a process takes up."""

    ALL = "all"
    #: What was just pushed.
    FRESH = "fresh"
    #: What was not.
    BULK = "bulk"


def run_due(context: Context, limit: int | None = None, reach: Reach = Reach.ALL) -> int:
    """Claim and sync what is due, row after row, until nothing is or the process has to end; return how many.

    A process that takes up everything always leaves one thread for what was just pushed: a backfill has rows that take
    hours.
    """
    done = 0
    while not context.stopping.is_set() and context.settings.replication_enabled and (limit is None or done < limit):
        unhurried = reach is Reach.ALL and context.unhurried.acquire(blocking=False)
        taken: Claim | None = None
        try:
            # A backfill goes on for days, and a row that is not taken stays due.
            taken = None if migrate.watch.wrong() else _take(context, _urgencies(context, reach, unhurried))
            if taken is None:
                break
            if unhurried and taken.priority <= marking.FRESH:
                context.unhurried.release()
                unhurried = False
            # What is due may be anybody's, not of the occasion that woke us; a reference that has one knows it.
            with correlation.bound(correlation.new()):
                sync(taken, context, gives_way=True)
        finally:
            if taken is not None:
                context.shares.give_back(taken.site.name)
            if unhurried:
                context.unhurried.release()
        done += 1
    return done


def _urgencies(context: Context, reach: Reach, unhurried: bool) -> list[tuple[int | None, int]]:
    """What to look for, one after the other: priorities, at most and at least."""
    if reach is Reach.BULK:
        return [(None, marking.FRESH + 1)]
    fresh, everything = (marking.FRESH, claims.MOST_URGENT), (None, claims.MOST_URGENT)
    if not unhurried:
        return [fresh]
    # Of several sites, what was just pushed for any of them comes before the rest of all.
    return [fresh, everything] if context.further else [everything]


def _take(context: Context, urgencies: Sequence[tuple[int | None, int]]) -> Claim | None:
    """The next row of the site whose turn it is. The caller gives the site's share back."""
    for at_most, at_least in urgencies:
        for site_name in context.shares.order():
            if not context.shares.take(site_name):
                continue
            claim: Claim | None = None
            try:
                claim = claims.claim_next(context.at(site_name).settings, at_most, at_least)
            except sites.NotApplied as error:
                log.error("nothing is synced to %s here: %s", site_name, error)
            finally:
                if claim is None:
                    context.shares.give_back(site_name)
            if claim is not None:
                return claim
    return None


def awaken_digests() -> int:
    """Make rows due whose untagged digests failed and may be tried again: a synced row is not taken up for them."""
    with connection():
        # Before anything is locked: this is asked every second, and hardly ever is there any.
        if not _sleeping(1):
            return 0
    with transaction():
        ids = _sleeping(100)
        if ids:
            marking.awaken(ids, since=now(), priority=marking.BACKFILL)
        return len(ids)


def _sleeping(limit: int) -> list[int]:
    due = (
        Reference.select(Reference.registry)
        .join(Registry)
        .where(
            ~Reference.is_tag
            & (Reference.state == SyncState.FAILED)
            & (Reference.retry_at <= now())
            & (Registry.state == SyncState.SYNCED)
        )
    )
    return [row.registry_id for row in due.distinct().limit(limit)]


def release_deletions(site: Site) -> int:
    """Let deletions pass that the brake holds, all of them whatever their number; return how many were waiting."""
    with transaction():
        instant = now()
        released = {"deletions_released_at": instant, "deletions_held_because": None, "updated_at": instant}
        Site.update(**released).where(Site.id == site.id).execute()
        held = (Reference.failure_reason == "deletion_brake") & Reference.registry.in_(
            Registry.select(Registry.id).where(Registry.site == site)
        )
        ids = sorted({row.registry_id for row in Reference.select(Reference.registry).where(held)})
        marking.awaken(ids, since=instant, priority=marking.MANUAL)
        passed = {"retry_at": None, "state": SyncState.PENDING, "deletion_released_at": instant}
        count: int = Reference.update(**passed).where(held).execute()
    return count


def prune_attempts(older_than: timedelta, limit: int = 500) -> int:
    """Forget attempts that are older, at most `limit` of them; return how many."""
    with connection():
        old = SyncAttempt.select(SyncAttempt.id).where(SyncAttempt.finished_at < now() - older_than).limit(limit)
        count: int = SyncAttempt.delete().where(SyncAttempt.id.in_([row.id for row in old])).execute()
        return count


def _replicator_for(registry: Registry) -> Replicator:
    return Replicator(registry.id)


# The console's lines start at the model, and a model may call nothing above itself: it is told here.
Registry.replicator_for = _replicator_for
Registry.replication_switch = lambda: current().settings.replication_enabled
