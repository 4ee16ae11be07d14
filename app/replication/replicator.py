"""The replicator: one sync, asked for by a person, an actor or a command; all of them come through here."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from peewee import Case

from app.database import MAX_ROWS, connection, lock, now, transaction
from app.models import ContainerRepository, Reference, Site, SyncState
from app.models import ContainerRepositoryRegistry as Registry
from app.registry import REPOSITORY_PATH, NotFound, RegistryClient, is_repository
from app.replication import claim as claims
from app.replication import marking, sites
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
        raise UnknownRepository(f"{path!r} is not {REPOSITORY_PATH}")
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


def _replicator_for(registry: Registry) -> Replicator:
    return Replicator(registry.id)


# The console's lines start at the model, and a model may call nothing above itself: it is told here.
Registry.replicator_for = _replicator_for
Registry.replication_switch = lambda: current().settings.replication_enabled
