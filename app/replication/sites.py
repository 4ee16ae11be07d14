"""The sites of this deployment, as the environment names them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
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
from app.site_environment import suffix

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
    """Write the environment's sites to the database, anew at each start; return the first secondary, if there is one.

    With `compared` that is taken for a secondary, whatever it was before: the primary, or one that was given up.

    Raises:
        SameRegistry: when two addresses are one.
        ExchangedRegistries: when a secondary is the primary of until now.
        NotDemoted: when a primary was given up, or its address has changed, and a secondary may be it.
        NotOurs: when a secondary's name is that of a remote site.
    """
    _require_different(settings)
    wanted = {each.site_name: each.secondary.url for each in settings.every if each.secondary is not None}
    with transaction():
        if compared is not None:
            _exchange(compared, settings)
        _refuse_exchange(settings)
        _replace_primary(settings)
        if compared is not None:
            former.demoted(compared.url)
        for name, url in wanted.items():
            if compared is None or not same_address(compared.url, url):
                former.require_demoted(url)
            former.set_aside(name, url)
        _upsert(PRIMARY, settings.primary.url, primary=True, settings=settings)
        _retire_others(wanted)
        made = [
            _upsert(each.site_name, each.secondary.url, primary=False, settings=each)
            for each in settings.every
            if each.secondary is not None
        ]
        if compared is not None:
            there = [site.id for site in made if same_address(site.url, compared.url)]
            holds.hold(Site.id.in_(there), compared.held_because)
    for site in made:
        if cursor.begin(site):
            backfill.request("new site")
    if not made:
        return None
    with connection():
        return Site.get_by_id(made[0].id)


def _require_different(settings: Settings) -> None:
    """Make sure that the environment names each registry once."""
    primary = "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL", settings.primary.url
    places = [primary, *((_variable(each, settings), each.secondary.url) for each in settings.every if each.secondary)]
    for (variable, url), (other, address) in combinations(places, 2):
        if same_address(url, address):
            raise SameRegistry(f"{other} and {variable} are both {address}: point one of them at the other registry.")


def _variable(site: Settings, settings: Settings) -> str:
    """The variable with the address of the site's registry."""
    own = f"_{suffix(site.site_name)}" if settings.further and site is not settings else ""
    return f"GEO_SECONDARY_REGISTRY_URL{own}"


def enabled_secondaries() -> list[Site]:
    """The sites that are replicated to from here; remote ones do that for themselves."""
    here = ~Site.primary & ~Site.remote & Site.enabled & ~Site.retired
    return list(Site.select().where(here).order_by(Site.id))


def enable(site: Site, enabled: bool) -> None:
    """Pause the replication to a site, or let it go on; what it misses meanwhile is owed to it."""
    with transaction():
        Site.update(enabled=enabled, updated_at=now()).where(Site.id == site.id).execute()


def require_applied(settings: Settings) -> None:
    """Make sure that the rows are about the registries that this process reaches.

    A worker that was started with other addresses than the rest would write to the wrong registry.

    Raises:
        NotApplied: when they are not.
    """
    with connection():
        for each in settings.every:
            Binding.of(each).site()


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
        there = list(Site.select().where(here))
        site = next((each for each in there if each.name == name or len(there) == 1), None)
        named = [each.site_name for each in settings.every]
        if name not in {*named, site.name if site is not None else None}:
            raise SiteError(f"there is no site {name} here; the environment's is {', '.join(named)} (GEO_SITE_NAME)")
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
    secondaries = [(_variable(each, settings), each.secondary.url) for each in settings.every if each.secondary]
    found = [each for each in secondaries if primary is not None and same_address(each[1], primary.url)]
    if primary is None or not found:
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
            f" (GEO_REGISTRY_REPLICATION_PRIMARY_API_URL and {found[0][0]}) before you start"
        )
    raise ExchangedRegistries(
        f"{found[0][0]} is {found[0][1]}, which has been the primary until now: what is newer"
        " there would be overwritten, so nothing is replicated. Put the two addresses right; if another registry has"
        " really taken over as primary, `geo demote` shows and saves what this one alone holds"
    )


def _exchange(compared: Compared, settings: Settings) -> None:
    """Nobody has said here that another took over from what was compared: the environment does."""
    primary = Site.get_or_none(Site.primary)
    if primary is not None and same_address(primary.url, compared.url):
        here = Site.select().where(~Site.primary & ~Site.remote & ~Site.retired)
        over = next((each.name for each in here if same_address(each.url, settings.primary.url)), settings.site_name)
        promote(over, settings)


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


def _retire_others(wanted: Mapping[str, str]) -> None:
    """Of the sites that the environment does not name any more: one is renamed if only its name changed, and otherwise
    retired. Remote sites are not the environment's.

    `wanted` has the addresses of those that it names.

    Raises:
        NotOurs: when a name is a remote site's.
    """
    named = {site.name: site for site in Site.select().where(Site.name.in_(list(wanted)))}
    for name, site in named.items():
        if site.remote and not site.retired:
            raise NotOurs(
                f"GEO_SITE_NAME is {name}, a site that follows from a deployment of its own: give this one another"
                f" name, or remove that one first (geo sites remove {name})"
            )
    unknown = {name: url for name, url in wanted.items() if name not in named}
    for other in Site.select().where(~Site.primary & ~Site.remote):
        if other.name in wanted:
            continue
        new = next((name for name, url in unknown.items() if same_address(other.url, url)), None)
        if new is not None:
            Site.update(name=new).where(Site.id == other.id).execute()
            del unknown[new]
        elif not other.retired:
            log.warning("site %s is no longer in the environment and is retired", other.name)
            Site.update(retired=True).where(Site.id == other.id).execute()
