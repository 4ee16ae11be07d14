"""The brake: deletions beyond what anyone is likely to have meant wait for a person's consent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from peewee import SQL

from app.database import BRAKE_LOCK, connection, now, one_at_a_time, transaction
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Reference, Site, SyncAttempt, SyncState
from app.replication import holds, marking
from app.replication.claim import Claim, LeaseLost
from app.replication.outcome import RELEASED

#: Deletions of one site in a sliding window that need no one's consent, and the share of its tags above that.
FLOOR, SHARE = 20, 0.05

WINDOW = timedelta(hours=1)


class DeletionHeld(Exception):
    """More deletions than anyone is likely to have meant wait for a person's consent."""

    reason = "deletion_brake"
    temporary = True
    #: Seconds until it is looked at again by itself.
    retry_after = 300.0


#: The references whose deletion waits for consent. Written out, as it is in the index of these: SQLite takes none whose
#: condition is a parameter.
HELD = Reference.failure_reason == SQL(f"'{DeletionHeld.reason}'")


class DeletionUnsupported(Exception):
    """The secondary registry does not delete."""

    reason = "deletion_unsupported"
    temporary = False


@contextmanager
def reserved(claim: Claim, reference: Reference) -> Iterator[None]:
    """Delete inside: it counts from before it begins, so that workers beside each other keep within one limit.

    What certainly deleted nothing (the registry cannot, the lease was too short) is taken back; what may have does
    count, once a reference however often it is tried.

    What a person has released passes whatever the count.

    Raises:
        DeletionHeld: until time passes or a person releases them.
        LeaseLost: before anything was done.
    """
    _reserve(claim, reference)
    try:
        yield
    except (DeletionUnsupported, LeaseLost):
        with transaction():
            Reference.update(deletion_reserved_at=None).where(Reference.id == reference.id).execute()
        raise


def room(site: Site) -> int:
    """How many more deletions of a site go unasked at this moment: its limit less those of the last hour."""
    with connection():
        site = Site.get_by_id(site.id)
        done = _done(site, now())
        return max(0, _limit(site, done) - done)


def release(site: Site) -> int:
    """Let deletions pass that the brake holds, all of them whatever their number; return how many were waiting."""
    with transaction():
        instant = now()
        released = {"deletions_released_at": instant, "deletions_held_because": None, "updated_at": instant}
        Site.update(**released).where(Site.id == site.id).execute()
        held = HELD & Reference.registry.in_(Registry.select(Registry.id).where(Registry.site == site))
        ids = [row.registry_id for row in Reference.select(Reference.registry).where(held).distinct()]
        marking.awaken(sorted(ids), since=instant, priority=marking.MANUAL)
        passed = {"retry_at": None, "state": SyncState.PENDING, "deletion_released_at": instant}
        count: int = Reference.update(**passed).where(held).execute()
    return count


def _reserve(claim: Claim, reference: Reference) -> None:
    # Counted before the lock: on a site of a million tags it takes a while, and on SQLite everybody would wait for it.
    limit = _limit_before(claim, reference)
    with transaction():
        _require_held(claim)
        # Locked, because each of two workers would count without the other's.
        one_at_a_time(claim.site.id, BRAKE_LOCK)
        site = Site.get_by_id(claim.site.id)
        because = holds.told(site)
        if because is not None:
            raise DeletionHeld(
                f"nothing is deleted on site {site.name}: {because};"
                f" if deletions are right there, run: geo sites release-deletions {site.name}"
            )
        if (
            Reference.select()
            .where((Reference.id == reference.id) & Reference.deletion_released_at.is_null(False))
            .exists()
        ):
            return
        instant = now()
        done = _done(site, instant, reference)
        if done >= limit:
            raise DeletionHeld(
                f"{done} deletions on site {site.name} within the hour are as many as go unasked ({limit});"
                f" if they are meant, run: geo sites release-deletions {site.name}"
            )
        Reference.update(deletion_reserved_at=instant).where(Reference.id == reference.id).execute()


def _require_held(claim: Claim) -> None:
    """The lease may have been taken from us because the registries are others now: that cannot wait for a heartbeat."""
    held = (Registry.id == claim.registry_id) & (Registry.lease_token == claim.token)
    if not Registry.select().where(held).exists():
        raise LeaseLost(f"{claim.path} was taken over")


def _limit_before(claim: Claim, reference: Reference) -> int:
    with connection():
        site = Site.get_by_id(claim.site.id)
        done = _done(site, now(), reference)
        # So few that the tags need not be counted: the limit is far, whatever it is.
        return _limit(site, done) if done >= FLOOR // 2 else FLOOR


def _limit(site: Site, done: int) -> int:
    """What may go within the hour of a site as large as this one was before so many deletions of it were done."""
    of_site = Registry.select(Registry.id).where(Registry.site == site)
    ours = Reference.registry.in_(of_site) & Reference.is_tag & Reference.observed_digest.is_null(False)
    return max(FLOOR, int((Reference.select().where(ours).count() + done) * SHARE))


def _done(site: Site, instant: datetime, reference: Reference | None = None) -> int:
    """Deletions within the window, done and begun but for this one. Recording one turns the second into the first.

    What a person has released was asked for, and is not counted.
    """
    since = instant - WINDOW
    if site.deletions_released_at is not None:
        since = max(since, site.deletions_released_at)
    of_site = Registry.select(Registry.id).where(Registry.site == site)
    done: int = (
        SyncAttempt.select()
        .where(
            SyncAttempt.registry.in_(of_site)
            & (SyncAttempt.action == "delete")
            & (SyncAttempt.outcome == "synced")
            & (SyncAttempt.trigger != RELEASED)
            & (SyncAttempt.finished_at > since)
        )
        .count()
    )
    begun = Reference.registry.in_(of_site) & (Reference.deletion_reserved_at > since)
    if reference is not None:
        begun &= Reference.id != reference.id
    return done + int(Reference.select().where(begun).count())
