"""Displacement: a site's registry gives way to another, of which nothing that was known of the former one is proof."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from peewee import Case

from app.database import in_batches, lock
from app.models import CatalogWalk, Reference, Site, SyncState, VerificationState
from app.models import ContainerRepositoryRegistry as Registry
from app.replication import holds
from app.replication.drift import is_extra
from app.replication.verification.claim import UNKNOWN
from app.settings import Deletion

log = logging.getLogger(__name__)


def displace(site: Site, url: str, policy: Deletion) -> datetime | None:
    """The registry of `site` is the one at `url` from now on.

    Return until when whoever held a row of the former one's may still write to a registry; None: nobody held one.

    Call it inside a transaction.
    """
    held: list[datetime] = []
    rows = Registry.select(Registry.id).order_by(Registry.id)
    if not site.primary:
        rows = rows.where(Registry.site == site)
    for batch in in_batches([row.id for row in rows]):
        # Before their references, as whoever records an outcome takes them.
        lock(Registry, list(batch))
        held += _leases(batch)
        _fence(batch)
        if site.primary:
            # Deletions are tried again with witnesses from the new one.
            witnessed = Reference.registry.in_(list(batch)) & Reference.delete_witness.is_null(False)
            Reference.update(delete_witness=None, deletion_released_at=None).where(witnessed).execute()
        else:
            _disprove(batch)
    if site.primary:
        CatalogWalk.delete().execute()
        because = f"the primary's address changed from {site.url} to {url}, and what is missing there may come yet"
        holds.hold(~Site.primary, because)
    elif policy is Deletion.MIRROR:
        holds.hold_mirror(site, f"its address changed from {site.url} to {url}")
    log.warning("the registry of site %s is now %s, no longer %s", site.name, url, site.url)
    return max(held, default=None)


def _leases(registry_ids: Sequence[int]) -> list[datetime]:
    """Until when the rows are held: a tag is written only while so much of the lease is left as that may take."""
    held = (Registry.state == SyncState.STARTED) & Registry.lease_expires_at.is_null(False)
    rows = Registry.select(Registry.lease_expires_at).where(Registry.id.in_(list(registry_ids)) & held)
    return [row.lease_expires_at for row in rows]


def _fence(registry_ids: Sequence[int]) -> None:
    """Whoever holds one of these rows, or is about to, works with the former registry and must write nothing down
    about the new one."""
    held = Registry.state == SyncState.STARTED
    verified = Registry.verification_state == VerificationState.STARTED
    Registry.update(
        state=Case(None, [(held, SyncState.PENDING)], Registry.state),
        lease_token=Registry.lease_token + 1,
        lease_owner=None,
        lease_expires_at=None,
        verification_state=Case(None, [(verified, VerificationState.PENDING)], Registry.verification_state),
        verification_lease_token=Registry.verification_lease_token + 1,
        verification_lease_owner=None,
        verification_lease_expires_at=None,
    ).where(Registry.id.in_(list(registry_ids))).execute()


def _disprove(registry_ids: Sequence[int]) -> None:
    """Forget what was seen on the secondary, and that anything there is ours."""
    there = Reference.registry.in_(list(registry_ids))
    Reference.delete().where(there & is_extra()).execute()
    proofs: dict[str, Any] = {"observed_digest": None, "throwaway_digest": None, "delete_witness": None}
    proofs |= {"drift_digest": None, "drift_since": None, "deletion_reserved_at": None}
    proofs |= {"deletion_released_at": None}
    proofs |= {"verified_digest": None, "verified_at": None, "verification_level": None}
    Reference.update(**proofs).where(there).execute()
    Registry.update(**UNKNOWN).where(Registry.id.in_(list(registry_ids))).execute()
