"""The sites of this deployment, as the environment names them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from peewee import Case

from app.database import connection, in_batches, lock, now, transaction
from app.models import CatalogWalk, Reference, Site, SyncState
from app.models import ContainerRepositoryRegistry as Registry
from app.replication import backfill, cursor
from app.replication.binding import PRIMARY as PRIMARY
from app.replication.binding import Binding, same_address
from app.replication.binding import NotApplied as NotApplied
from app.replication.binding import SiteError as SiteError
from app.replication.drift import is_extra
from app.replication.verification.claim import UNKNOWN
from app.settings import Deletion, Settings

log = logging.getLogger(__name__)


class SameRegistry(SiteError):
    """Primary and secondary are one registry: replicating would end in deleting what it just copied."""


class ExchangedRegistries(SiteError):
    """The secondary is what has been the primary: what is newer there would be overwritten."""


class NotOurs(SiteError):
    """A site of this name follows from its own deployment, and is not the environment's."""


def apply_environment(settings: Settings) -> Site | None:
    """Write the environment's sites to the database, anew at each start; return the secondary, if there is one.

    Raises:
        SameRegistry: when both addresses are one.
        ExchangedRegistries: when the secondary is the primary of until now.
        NotOurs: when the secondary's name is that of a remote site.
    """
    secondary = settings.secondary
    if secondary is not None and same_address(secondary.url, settings.primary.url):
        raise SameRegistry(
            f"GEO_SECONDARY_REGISTRY_URL and GEO_REGISTRY_REPLICATION_PRIMARY_API_URL are both {secondary.url}:"
            " point one of them at the other registry."
        )
    with transaction():
        _refuse_exchange(settings)
        _upsert(PRIMARY, settings.primary.url, primary=True, settings=settings)
        _retire_others(settings.site_name, secondary.url if secondary is not None else None)
        if secondary is None:
            return None
        site = _upsert(settings.site_name, secondary.url, primary=False, settings=settings)
    if cursor.begin(site):
        backfill.request("new site")
    with connection():
        return Site.get_by_id(site.id)


def enabled_secondaries() -> list[Site]:
    """The sites that are replicated to from here; remote ones do that for themselves."""
    here = ~Site.primary & ~Site.remote & Site.enabled & ~Site.retired
    return list(Site.select().where(here).order_by(Site.id))


def require_applied(settings: Settings) -> None:
    """Make sure that the rows are about the registries that this process reaches.

    A worker that was started with other addresses than the rest would write to the wrong registry.

    Raises:
        NotApplied: when they are not.
    """
    with connection():
        Binding.of(settings).site()


def promote(site: Site) -> None:
    """Exchange the addresses of the primary and of `site`, whose registry has taken over as primary.

    Everything that was known of the former secondary is forgotten: it says nothing of the registry in its place.
    """
    with transaction():
        primary = Site.get(Site.primary)
        former, promoted = primary.url, Site.get_by_id(site.id).url
        for place, url in ((primary, promoted), (site, former)):
            _moved(place, url, Deletion(place.deletion))
        Site.update(url=promoted, updated_at=now()).where(Site.id == primary.id).execute()
        Site.update(url=former, updated_at=now()).where(Site.id == site.id).execute()
        backfill.request(f"{site.name} was promoted")


def _refuse_exchange(settings: Settings) -> None:
    primary = Site.get_or_none(Site.primary)
    if primary is None or settings.secondary is None or not same_address(settings.secondary.url, primary.url):
        return
    if same_address(settings.primary.url, primary.url):
        return
    raise ExchangedRegistries(
        f"GEO_SECONDARY_REGISTRY_URL is {settings.secondary.url}, which has been the primary until now: what is newer"
        " there would be overwritten, so nothing is replicated. Put the two addresses right; if a secondary has really"
        f" taken over as primary, say so first: geo sites promote {settings.site_name}"
    )


def _moved(site: Site, url: str, policy: Deletion) -> None:
    """The registry of `site` is another one from now on. What is known of the former one proves nothing there.

    Call it inside a transaction.
    """
    rows = Registry.select(Registry.id).order_by(Registry.id)
    if not site.primary:
        rows = rows.where(Registry.site == site)
    for batch in in_batches([row.id for row in rows]):
        # Before their references, as whoever records an outcome takes them.
        lock(Registry, list(batch))
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
        Site.update(deletions_held_because=because).where(~Site.primary).execute()
    elif policy is Deletion.MIRROR:
        because = f"its address changed from {site.url} to {url}, and `mirror` deletes what the primary lacks"
        Site.update(deletions_held_because=because).where(Site.id == site.id).execute()
    log.warning("the registry of site %s is now %s, no longer %s", site.name, url, site.url)


def _fence(registry_ids: Sequence[int]) -> None:
    """Whoever holds one of these rows, or is about to, works with the former registry and must write nothing down
    about the new one."""
    held = Registry.state == SyncState.STARTED
    Registry.update(
        state=Case(None, [(held, SyncState.PENDING)], Registry.state),
        lease_token=Registry.lease_token + 1,
        lease_owner=None,
        lease_expires_at=None,
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


def _upsert(name: str, url: str, *, primary: bool, settings: Settings) -> Site:
    instant = now()
    patterns, tags = "\n".join(settings.repositories), "\n".join(settings.tags)
    protected = "\n".join(settings.protected_tags)
    # Several processes start at once: one makes the row, the others wait for it and find it.
    Site.insert(
        name=name,
        primary=primary,
        url=url,
        deletion=settings.deletion.value,
        protected_tags=protected,
        repositories=patterns,
        tags=tags,
        capacity=settings.capacity,
        created_at=instant,
        updated_at=instant,
    ).on_conflict(action="NOTHING", conflict_target=[Site.name]).execute()
    site = Site.get(Site.name == name)
    if settings.source is not None and not patterns:
        # The primary's deployment says what is replicated; the follower has written it down.
        patterns = site.repositories
    if settings.source is not None and not tags:
        tags = site.tags
    if not same_address(site.url, url):
        _moved(site, url, settings.deletion)
    wanted: dict[str, Any] = {"url": url, "repositories": patterns, "tags": tags, "capacity": settings.capacity}
    wanted |= {"deletion": settings.deletion.value, "protected_tags": protected}
    if any(getattr(site, name) != value for name, value in wanted.items()):
        Site.update(**wanted, updated_at=instant).where(Site.id == site.id).execute()
    if site.retired:
        Site.update(retired=False, remote=False).where(Site.id == site.id).execute()
    moved = not same_address(site.url, url)
    if site.retired or moved or (site.repositories, site.tags) != (patterns, tags):
        # What was seen on another registry, left out by another scope, or before a long absence, says nothing now.
        backfill.request(f"the address or the scope of {name} changed, or it came back")
    elif not primary and (site.deletion, site.protected_tags) != (settings.deletion.value, protected):
        # What was kept under the former policy is judged anew.
        backfill.request(f"what may be deleted on {name} changed")
    return Site.get_by_id(site.id)


def _retire_others(name: str, url: str | None) -> None:
    """One deployment has one secondary: a former one is renamed if only its name changed, and otherwise retired.

    Without `url` it has none (role primary). Remote sites are not the environment's.

    Raises:
        NotOurs: when the name is a remote site's.
    """
    named: Site | None = Site.get_or_none(Site.name == name) if url is not None else None
    if named is not None and named.remote and not named.retired:
        raise NotOurs(
            f"GEO_SITE_NAME is {name}, a site that follows from a deployment of its own: give this one another name,"
            f" or remove that one first (geo sites remove {name})"
        )
    known = named is not None
    for other in Site.select().where(~Site.primary & ~Site.remote):
        if url is not None and other.name == name:
            continue
        if not known and url is not None and same_address(other.url, url):
            Site.update(name=name).where(Site.id == other.id).execute()
            known = True
        elif not other.retired:
            log.warning("site %s is no longer in the environment and is retired", other.name)
            Site.update(retired=True).where(Site.id == other.id).execute()
