"""Asking: rows are made due for a verification, by a person or because it has been long since the last one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from peewee import Case, Expression

from app.database import MAX_ROWS, connection, lock, now, transaction
from app.models import ContainerRepository, Site, SyncState, VerificationState
from app.models import ContainerRepositoryRegistry as Registry
from app.registry import is_repository
from app.replication.site_option import site_option
from app.replication.verification.claim import asked_for
from app.replication.verification.governed import governed
from app.settings import Settings
from app.settings import VerificationLevel as Level

#: Rows that wait at most because it has been long: the others become due as these are done.
WAITING = 200


class NotTracked(Exception):
    """No such repository is replicated to the site."""


def reverify(registry_id: int, level: Level) -> None:
    """Ask for everything in one repository to be looked at, whatever its retry time says."""
    ask([registry_id], level)


def find(site: Site, path: str) -> int:
    """The id of the tracking row of the repository `path` on `site`.

    Raises:
        ValueError: for what is not a repository path.
        NotTracked: when there is none.
    """
    path = path.strip("/")
    if not is_repository(path):
        raise ValueError(f"{path!r} is not a repository path, such as team/app (without host and tag)")
    with connection():
        row = (
            Registry.select(Registry.id)
            .join(ContainerRepository)
            .where((Registry.site == site) & (ContainerRepository.path == path))
            .first()
        )
        target = f"{path}{site_option(site)}"
    if row is None:
        raise NotTracked(f"{path} is not replicated to {site.name} yet; `geo sync {target}` does it")
    registry_id: int = row.id
    return registry_id


def ask_for_overdue(settings: Settings) -> int:
    """Ask it of what nobody has looked at for the interval of the settings, longest ago first; return of how many."""
    if settings.verification_interval is None:
        return 0
    with connection():
        waiting = Registry.select(Registry.id).where(
            Registry.in_scope & Registry.verification_full & (Registry.verification_state != VerificationState.FAILED)
        )
        room = WAITING - waiting.limit(WAITING).count()
        if room <= 0:
            return 0
        before = now() - settings.verification_interval
        long_ago = Registry.fully_verified_at <= before
        if governed(settings).verification is None:
            long_ago |= Registry.fully_verified_at.is_null()
        overdue = (
            long_ago
            & Registry.in_scope
            & ~Registry.verification_full
            & (Registry.verification_state != VerificationState.STARTED)
            & Registry.state.in_([SyncState.SYNCED, SyncState.FAILED])
            & Registry.site.in_(Site.select(Site.id).where(Site.enabled & ~Site.retired & ~Site.primary))
        )
        rows = Registry.select(Registry.id).where(overdue)
        rows = rows.order_by(Registry.fully_verified_at.asc(nulls="FIRST"), Registry.id).limit(room)
        ids = [row.id for row in rows]
    ask(ids, settings.verification_interval_level)
    return len(ids)


def switch(settings: Settings) -> None:
    """Show rows that wait for a verification as disabled while there is none, and as waiting when there is again."""
    with connection():
        off = governed(settings).verification is None and settings.verification_interval is None
    was, becomes = VerificationState.DISABLED, VerificationState.PENDING
    wanted: Expression = Registry.verification_state == was
    if off:
        was, becomes = becomes, was
        wanted = (Registry.verification_state == was) & ~asked_for()
    while True:
        with transaction():
            ids = [row.id for row in Registry.select(Registry.id).where(wanted).limit(MAX_ROWS)]
            lock(Registry, ids)
            Registry.update(verification_state=becomes).where(Registry.id.in_(ids) & wanted).execute()
        if len(ids) < MAX_ROWS:
            return


def ask(ids: Sequence[int], level: Level) -> None:
    """Ask the same of these tracking rows, at most `MAX_ROWS` of them."""
    started = Registry.verification_state == VerificationState.STARTED
    values: dict[str, Any] = {
        # Who is at it sees that it was asked for again.
        "verification_state": Case(None, [(started, VerificationState.STARTED)], VerificationState.PENDING),
        "verification_full": True,
        "verification_requested_level": level.value,
        "verification_retry_at": None,
    }
    if not ids:
        return
    with transaction():
        lock(Registry, ids)
        Registry.update(**values, verification_requested_at=now()).where(Registry.id.in_(list(ids))).execute()
