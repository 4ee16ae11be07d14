"""Former primaries: registries that another took over from, as long as nobody has looked at what they alone hold."""

from __future__ import annotations

import logging
from typing import Any

from app.database import in_batches, now
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Cursor, Follower, Handover, Reference, Site
from app.replication.binding import SiteError, same_address
from app.replication.displacement import displace
from app.settings import Deletion

log = logging.getLogger(__name__)

#: What a row is called that only remembers one, a number after it.
_NAME = "former-primary"


class NotDemoted(SiteError):
    """The former primary was given up, and nobody has looked since at what a secondary holds alone."""


def given_up(url: str | None = None) -> Site | None:
    """The registry at `url` if it was the primary and was not demoted since; without `url` the one that another took
    over from last. Call it inside `connection()`.

    What may be the primary itself under a former name is found by its address alone.
    """
    rows = Site.select().where(Site.given_up_at.is_null(False)).order_by(Site.given_up_at.desc())
    if url is None:
        rows = rows.where(~Site.readdressed)
    return next((each for each in rows if url is None or same_address(each.url, url)), None)


def replace(primary: Site, url: str) -> None:
    """The environment has another primary: remember the former one, which may hold what the other does not.

    Where the new address is that of a site, that has taken over; what both were known to have is kept to compare them
    with. Any other may be a new name of the same registry: then a secondary is refused at the former name alone, so
    that a registry that merely moved keeps its secondaries.

    Call it inside a transaction, before the primary's row is changed.
    """
    instant = now()
    there = [each for each in Site.select().where(~Site.primary) if same_address(each.url, url)]
    own = [each for each in there if not each.remote]
    values: dict[str, Any] = {"url": primary.url, "retired": True, "given_up_at": instant, "updated_at": instant}
    if not own:
        Site.insert(
            name=_unused(),
            primary=False,
            readdressed=not there,
            deletion=primary.deletion,
            created_at=instant,
            **values,
        ).execute()
    else:
        # One that was the primary before, and is again, is still what it was known to have had with the other.
        site = next((each for each in own if each.given_up_at is not None), None)
        if site is None:
            site = min(own, key=lambda each: each.retired)
            hand_over(site)
            displace(site, primary.url, Deletion(site.deletion))
        Site.update(**values).where(Site.id == site.id).execute()
    log.warning("the primary is %s by the environment; %s is no secondary before it was demoted", url, primary.url)


def hand_over(site: Site) -> None:
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


def require_demoted(url: str) -> None:
    """Make sure that no former primary is overwritten by a secondary at `url`.

    After a failover that is every address that is not a site's already: the former primary may have got another one.

    Raises:
        NotDemoted: when it may be one.
    """
    site = given_up(url)
    if site is not None and site.readdressed:
        raise NotDemoted(
            f"{site.url} was the primary's address until {site.given_up_at:%Y-%m-%d %H:%M} UTC, and is a secondary's"
            " now. If it still leads to the primary, it is the wrong one: set GEO_SECONDARY_REGISTRY_URL to the"
            " secondary's own. If another registry is there, or another has taken over, `geo demote` shows what it"
            " holds that the primary does not have, and saves it"
        )
    site = site or (given_up() if not _is_site(url) else None)
    if site is not None:
        raise NotDemoted(
            f"{site.url} was the primary until {site.given_up_at:%Y-%m-%d %H:%M} UTC, and nobody has seen since what a"
            f" secondary at {url} holds that the primary does not have, which would be overwritten:"
            " `geo demote` shows and saves it"
        )


def demoted(url: str) -> None:
    """The registry at `url` was compared, and what it alone held is saved; others stay as they are remembered."""
    for site in Site.select().where(Site.given_up_at.is_null(False)):
        if same_address(site.url, url):
            Site.update(given_up_at=None, readdressed=False, held_until=None).where(Site.id == site.id).execute()


def set_aside(name: str, url: str) -> None:
    """Free the name of a former primary, which stays remembered, for a site at another address."""
    known: Site | None = Site.get_or_none(Site.name == name)
    if known is not None and known.given_up_at is not None and not same_address(known.url, url):
        Site.update(name=_unused()).where(Site.id == known.id).execute()


def _is_site(url: str) -> bool:
    rows = Site.select().where(Site.here() & Site.given_up_at.is_null())
    return any(same_address(each.url, url) for each in rows)


def _unused() -> str:
    taken = {each.name for each in Site.select(Site.name)}
    return next(name for number in range(1, len(taken) + 2) if (name := f"{_NAME}-{number}") not in taken)
