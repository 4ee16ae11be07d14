"""The sites of this deployment, as the environment names them."""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from app.database import now, transaction
from app.models import Cursor, Event, Site
from app.replication import backfill
from app.settings import Settings

log = logging.getLogger(__name__)

#: The primary's name among the sites.
PRIMARY = "primary"


class SameRegistry(Exception):
    """Primary and secondary are one registry: replicating would end in deleting what it just copied."""


def apply_environment(settings: Settings) -> Site | None:
    """Write the environment's sites to the database, anew at each start; return the secondary, if there is one.

    Raises:
        SameRegistry: when both addresses are one.
    """
    secondary = settings.secondary
    if secondary is not None and _address(secondary.url) == _address(settings.primary.url):
        raise SameRegistry(
            f"GEO_SECONDARY_REGISTRY_URL and GEO_REGISTRY_REPLICATION_PRIMARY_API_URL are both {secondary.url}:"
            " point one of them at the other registry."
        )
    with transaction():
        _upsert(PRIMARY, settings.primary.url, primary=True, settings=settings)
        if secondary is None:
            return None
        _retire_others(settings.site_name, secondary.url)
        site = _upsert(settings.site_name, secondary.url, primary=False, settings=settings)
        # A site that is new begins at the head of the log: what was there before it is the backfill's work.
        newest = Event.select(Event.id).order_by(Event.id.desc()).scalar() or 0
        cursor = Cursor.insert(site=site, position=newest, updated_at=now())
        cursor = cursor.on_conflict(action="NOTHING", conflict_target=[Cursor.site])
        if list(cursor.returning(Cursor.site).execute()):
            backfill.request("new site")
        return Site.get_by_id(site.id)


def enabled_secondaries() -> list[Site]:
    return list(Site.select().where(~Site.primary & Site.enabled & ~Site.retired).order_by(Site.id))


def _upsert(name: str, url: str, *, primary: bool, settings: Settings) -> Site:
    instant = now()
    patterns = "\n".join(settings.repositories)
    # Several processes start at once: one makes the row, the others wait for it and find it.
    Site.insert(
        name=name,
        primary=primary,
        url=url,
        deletion=settings.deletion.value,
        repositories=patterns,
        created_at=instant,
        updated_at=instant,
    ).on_conflict(action="NOTHING", conflict_target=[Site.name]).execute()
    site = Site.get(Site.name == name)
    if (site.url, site.deletion, site.repositories) != (url, settings.deletion.value, patterns):
        Site.update(url=url, deletion=settings.deletion.value, repositories=patterns, updated_at=instant).where(
            Site.id == site.id
        ).execute()
    if site.retired:
        Site.update(retired=False).where(Site.id == site.id).execute()
    if site.retired or (site.url, site.repositories) != (url, patterns):
        # What was seen on another registry, left out by another scope, or before a long absence, says nothing now.
        backfill.request(f"the address or the scope of {name} changed, or it came back")
    return Site.get_by_id(site.id)


def _retire_others(name: str, url: str) -> None:
    """One deployment has one secondary: a former one is renamed if only its name changed, and otherwise retired."""
    known = Site.select().where(Site.name == name).exists()
    for other in Site.select().where(~Site.primary & (Site.name != name)):
        if not known and other.url == url:
            Site.update(name=name).where(Site.id == other.id).execute()
            known = True
        elif not other.retired:
            log.warning("site %s is no longer in the environment and is retired", other.name)
            Site.update(retired=True).where(Site.id == other.id).execute()


def _address(url: str) -> tuple[str | None, int | None, str]:
    parts = urlsplit(url)
    return parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme), parts.path.rstrip("/")
