"""The sites of this deployment, as the environment names them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from peewee import Case

from app.database import connection, in_batches, lock, now, transaction
from app.models import CatalogWalk, Cursor, Follower, Handover, Reference, Site, SyncState, VerificationState
from app.models import ContainerRepositoryRegistry as Registry
from app.replication import backfill, cursor, holds
from app.replication.binding import PRIMARY as PRIMARY
from app.replication.binding import Binding
from app.replication.binding import NotApplied as NotApplied
from app.replication.binding import SiteError as SiteError
from app.replication.binding import same_address as same_address
from app.replication.drift import is_extra
from app.replication.policy import Policy
from app.replication.verification.claim import UNKNOWN
from app.settings import Deletion, Settings

log = logging.getLogger(__name__)


class SameRegistry(SiteError):
    """Primary and secondary are one registry: replicating would end in deleting what it just copied."""


class ExchangedRegistries(SiteError):
    """The secondary is what has been the primary: what is newer there would be overwritten."""


class NotOurs(SiteError):
    """A site of this name follows from its own deployment, and is not the environment's."""


class NotDemoted(SiteError):
    """The former primary was given up, and nobody has looked since at what a secondary holds alone."""


def apply_environment(settings: Settings) -> Site | None:
    """Write the environment's sites to the database, anew at each start; return the secondary, if there is one.

    Raises:
        SameRegistry: when both addresses are one.
        ExchangedRegistries: when the secondary is the primary of until now.
        NotDemoted: when a primary was given up, and the secondary may be it.
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
        _refuse_given_up(settings)
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


def given_up() -> Site | None:
    """The registry that was the primary last, if nobody has demoted it since. Call it inside `connection()`."""
    rows = Site.select().where(Site.given_up_at.is_null(False)).order_by(Site.given_up_at.desc())
    found: Site | None = rows.first()
    return found


def promote(name: str, settings: Settings, *, give_up: bool = False) -> bool:
    """Write down that the registry of the site `name` has taken over as primary, and the former primary its place.

    With `give_up` the former primary is no site before it is demoted (replication.failover.demotion), since it may
    hold what nobody else has; what both were known to have is kept to compare it with.

    The environment may name the former addresses still, or the new ones already; the site may have another name there
    or no row yet (this was the deployment of the primary alone). False: it was promoted before, and no environment has
    been applied since.

    Everything that was known of the former secondary is forgotten: it says nothing of the registry in its place.
    Nothing is deleted before a person releases it.

    Raises:
        SiteError: when nothing says which registry is meant; the message says what to do.
    """
    with transaction():
        primary = Site.get_or_none(Site.primary)
        if primary is None:
            raise SiteError("there is no primary yet: `geo migrate` writes the environment's registries down")
        here = ~Site.primary & ~Site.remote & ~Site.retired
        site: Site | None = Site.get_or_none(here & (Site.name == name)) or Site.get_or_none(here)
        if name not in {settings.site_name, site.name if site is not None else None}:
            raise SiteError(f"there is no site {name} here; the environment's is {settings.site_name} (GEO_SITE_NAME)")
        if primary.promoted_at is not None:
            return False
        instant, former = now(), primary.url
        promoted = _successor(primary, site, settings)
        _moved(primary, promoted, Deletion(primary.deletion))
        values = {"url": promoted, "promoted_at": instant, "updated_at": instant}
        Site.update(**values).where(Site.id == primary.id).execute()
        if site is not None and same_address(site.url, promoted):
            if give_up:
                _hand_over(site)
            _moved(site, former, Deletion(site.deletion))
            given = {"retired": True, "given_up_at": instant} if give_up else {}
            Site.update(url=former, updated_at=instant, **given).where(Site.id == site.id).execute()
        backfill.request(f"{name} was promoted")
        return True


def _successor(primary: Site, site: Site | None, settings: Settings) -> str:
    """The address of the registry that takes over."""
    if not same_address(settings.primary.url, primary.url):
        # The addresses in the environment are exchanged already.
        return settings.primary.url
    if site is not None:
        return site.url
    raise SiteError(
        f"nothing is replicated from here, so nobody knows which registry takes over from {primary.url}: put the new"
        " addresses into the environment first, then say it again"
    )


def _hand_over(site: Site) -> None:
    """Keep what the site is known to hold of the primary's, before that is forgotten; and let go of the log that told
    of the former primary: what is read of it later would be asked of the new one.

    Call it inside a transaction.
    """
    ids = [row.id for row in Registry.select(Registry.id).where(Registry.site == site)]
    fields = [Handover.registry, Handover.name, Handover.digest]
    for batch in in_batches(ids):
        Handover.delete().where(Handover.registry.in_(list(batch))).execute()
        held = Reference.observed_digest.is_null(False) & Reference.throwaway_digest.is_null() & Reference.is_tag
        both = Reference.select(Reference.registry, Reference.name, Reference.observed_digest)
        Handover.insert_from(both.where(Reference.registry.in_(list(batch)) & held), fields).execute()
    Cursor.delete().where(Cursor.site == site).execute()
    Follower.delete().where(Follower.site == site).execute()


def _refuse_given_up(settings: Settings) -> None:
    """Refuse any secondary, and not only that address: the former primary may have got another one."""
    former = given_up()
    if former is None or settings.secondary is None:
        return
    raise NotDemoted(
        f"{former.url} was the primary until {former.given_up_at:%Y-%m-%d %H:%M} UTC, and nobody has seen since what a"
        f" secondary at {settings.secondary.url} holds that the primary does not have, which would be overwritten:"
        " `geo demote` shows and saves it"
    )


def _refuse_exchange(settings: Settings) -> None:
    primary = Site.get_or_none(Site.primary)
    if primary is None or settings.secondary is None or not same_address(settings.secondary.url, primary.url):
        return
    if same_address(settings.primary.url, primary.url):
        return
    former = given_up()
    if former is not None and same_address(settings.primary.url, former.url):
        raise ExchangedRegistries(
            f"{primary.url} was promoted and is the primary, and the environment has it as the secondary still:"
            " `geo promote` shows again which lines to change"
        )
    if primary.promoted_at is not None:
        raise ExchangedRegistries(
            f"{primary.url} was promoted and is the primary; exchange the two addresses in the environment"
            " (GEO_REGISTRY_REPLICATION_PRIMARY_API_URL and GEO_SECONDARY_REGISTRY_URL) before you start"
        )
    raise ExchangedRegistries(
        f"GEO_SECONDARY_REGISTRY_URL is {settings.secondary.url}, which has been the primary until now: what is newer"
        " there would be overwritten, so nothing is replicated. Put the two addresses right; if another registry has"
        " really taken over as primary, `geo demote` shows and saves what this one alone holds"
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
        holds.hold(~Site.primary, because)
    elif policy is Deletion.MIRROR:
        holds.hold_mirror(site, f"its address changed from {site.url} to {url}")
    log.warning("the registry of site %s is now %s, no longer %s", site.name, url, site.url)


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


def _upsert(name: str, url: str, *, primary: bool, settings: Settings) -> Site:
    instant = now()
    patterns, tags = "\n".join(settings.repositories), "\n".join(settings.tags)
    protected = "\n".join(settings.protected_tags)
    known: Site | None = Site.get_or_none(Site.name == name)
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
    granted: dict[str, Any] = {"granted_repositories": "", "granted_tags": "", "granted_capacity": None}
    granted |= {"granted_deletion": None, "granted_protected_tags": "", "granted_verification": None}
    if settings.source is not None:
        # The primary's deployment limits what is replicated; the follower has written it down.
        granted = {name: getattr(site, name) for name in granted}
    if not same_address(site.url, url):
        _moved(site, url, settings.deletion)
    wanted: dict[str, Any] = {"url": url, "repositories": patterns, "tags": tags, "capacity": settings.capacity}
    wanted |= {"deletion": settings.deletion.value, "protected_tags": protected, **granted}
    if any(getattr(site, name) != value for name, value in wanted.items()):
        Site.update(**wanted, updated_at=instant).where(Site.id == site.id).execute()
    if primary and site.promoted_at is not None:
        Site.update(promoted_at=None).where(Site.id == site.id).execute()
    if not primary:
        _hold_mirror(site, known)
    if site.retired:
        Site.update(retired=False, remote=False).where(Site.id == site.id).execute()
    moved = not same_address(site.url, url)
    scope = {"repositories": patterns, "tags": tags}
    scope |= {name: granted[name] for name in ("granted_repositories", "granted_tags")}
    if site.retired or moved or any(getattr(site, name) != value for name, value in scope.items()):
        # What was seen on another registry, left out by another scope, or before a long absence, says nothing now.
        backfill.request(f"the address or the scope of {name} changed, or it came back")
    elif not primary and Policy.of(site) != Policy.of(Site.get_by_id(site.id)):
        # What was kept under the former policy is judged anew.
        backfill.request(f"what may be deleted on {name} changed")
    return Site.get_by_id(site.id)


def _hold_mirror(site: Site, known: Site | None) -> None:
    """Hold everything on a site that the environment makes a mirror, unless it has been one."""
    if Policy.of(Site.get_by_id(site.id)).most is not Deletion.MIRROR:
        holds.lift_mirror(site)
    elif known is None or known.retired or Policy.of(known).most is not Deletion.MIRROR:
        holds.hold_mirror(site, "it is a mirror from now on")


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
