"""The sites of this deployment, as the environment names them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.database import connection, lock, now, transaction
from app.models import Site
from app.replication import backfill, cursor, former, holds
from app.replication.binding import PRIMARY as PRIMARY
from app.replication.binding import Binding
from app.replication.binding import NotApplied as NotApplied
from app.replication.binding import SiteError as SiteError
from app.replication.binding import same_address as same_address
from app.replication.displacement import displace
from app.replication.former import NotDemoted as NotDemoted
from app.replication.policy import Policy
from app.settings import Deletion, Settings

log = logging.getLogger(__name__)


class SameRegistry(SiteError):
    """Primary and secondary are one registry: replicating would end in deleting what it just copied."""


class ExchangedRegistries(SiteError):
    """The secondary is what has been the primary: what is newer there would be overwritten."""


class NotOurs(SiteError):
    """A site of this name follows from its own deployment, and is not the environment's."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """What has become of the sites when one took over."""

    #: Until when a worker that held a row may still write to the registry that took over; None: nobody did.
    held_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Compared:
    """A registry that was compared with the primary, and holds nothing any more that would be lost as a secondary."""

    url: str
    #: Why nothing is deleted there before a person releases it.
    held_because: str


def apply_environment(settings: Settings, *, compared: Compared | None = None) -> Site | None:
    """Write the environment's sites to the database, anew at each start; return the secondary, if there is one.

    With `compared` that is taken for the secondary, whatever it was before: the primary, or one that was given up.

    Raises:
        SameRegistry: when both addresses are one.
        ExchangedRegistries: when the secondary is the primary of until now.
        NotDemoted: when a primary was given up, or its address has changed, and the secondary may be it.
        NotOurs: when the secondary's name is that of a remote site.
    """
    secondary = settings.secondary
    if secondary is not None and same_address(secondary.url, settings.primary.url):
        raise SameRegistry(
            f"GEO_SECONDARY_REGISTRY_URL and GEO_REGISTRY_REPLICATION_PRIMARY_API_URL are both {secondary.url}:"
            " point one of them at the other registry."
        )
    with transaction():
        if compared is not None:
            _exchange(compared, settings)
        _refuse_exchange(settings)
        _replace_primary(settings)
        if compared is not None:
            former.demoted(compared.url)
        if secondary is not None:
            if compared is None or not same_address(compared.url, secondary.url):
                former.require_demoted(secondary.url)
            former.set_aside(settings.site_name, secondary.url)
        _upsert(PRIMARY, settings.primary.url, primary=True, settings=settings)
        _retire_others(settings.site_name, secondary.url if secondary is not None else None)
        if secondary is None:
            return None
        site = _upsert(settings.site_name, secondary.url, primary=False, settings=settings)
        if compared is not None:
            holds.hold(Site.id == site.id, compared.held_because)
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


def promote(name: str, settings: Settings, *, give_up: bool = False) -> Promotion | None:
    """Write down that the registry of the site `name` has taken over as primary, and the former primary its place.

    With `give_up` the former primary is no site before it is demoted (replication.failover.demotion), since it may
    hold what nobody else has; what both were known to have is kept to compare it with.

    The environment may name the former addresses still, or the new ones already; the site may have another name there
    or no row yet (this was the deployment of the primary alone). None: it was promoted before, and no environment has
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
            return None
        instant, replaced = now(), primary.url
        promoted = _successor(primary, site, settings)
        held_until = displace(primary, promoted, Deletion(primary.deletion))
        values = {"url": promoted, "promoted_at": instant, "updated_at": instant}
        Site.update(**values).where(Site.id == primary.id).execute()
        if site is not None and same_address(site.url, promoted):
            lock(Site, [site.id])
            if give_up:
                former.hand_over(site)
            displace(site, replaced, Deletion(site.deletion))
            given = {"retired": True, "given_up_at": instant, "readdressed": False, "held_until": held_until}
            values = {"url": replaced, "updated_at": instant} | (given if give_up else {})
            Site.update(**values).where(Site.id == site.id).execute()
        backfill.request(f"{name} was promoted")
        return Promotion(held_until)


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


def _refuse_exchange(settings: Settings) -> None:
    primary = Site.get_or_none(Site.primary)
    if primary is None or settings.secondary is None or not same_address(settings.secondary.url, primary.url):
        return
    if same_address(settings.primary.url, primary.url):
        return
    before = former.given_up(settings.primary.url)
    if before is not None and not before.readdressed:
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


def _exchange(compared: Compared, settings: Settings) -> None:
    """Nobody has said here that another took over from what was compared: the environment does."""
    primary = Site.get_or_none(Site.primary)
    if primary is not None and same_address(primary.url, compared.url):
        promote(settings.site_name, settings)


def _replace_primary(settings: Settings) -> None:
    primary = Site.get_or_none(Site.primary)
    if primary is not None and not same_address(primary.url, settings.primary.url):
        former.replace(primary, settings.primary.url)


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
        displace(site, url, settings.deletion)
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
