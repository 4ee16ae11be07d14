"""Promotion: a secondary's registry becomes the primary; what that would lose is told before."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from app.database import connection, now
from app.models import Event, Site
from app.registry import RegistryError, Unreachable
from app.replication import former, sites, survey
from app.replication.context import Context
from app.replication.failover import missing
from app.replication.failover.missing import Finding
from app.replication.sites import SiteError
from app.replication.survey import Progress
from app.settings import Settings

log = logging.getLogger(__name__)

#: Seconds between looks while a site is waited for.
POLL = 1.0


class NotPromotable(SiteError):
    """The site cannot take over; the message says why. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class PromotionPlan:
    """What it would mean to make the site's registry the primary now."""

    site: str
    #: The addresses of the registry that would be the primary no longer, and of the one that takes over.
    former: str
    successor: str
    at: datetime
    #: Why the former primary cannot be asked; None: it answers.
    silent: str | None
    #: Whether both registries were compared, so that nothing rests on what events and records told.
    compared: bool
    findings: tuple[Finding, ...] = ()
    #: The newest event that ever came, by the registry's clock.
    last_event_at: datetime | None = None
    #: Sites with deployments of their own that follow this one.
    remote: tuple[str, ...] = ()
    #: Once it was carried out: until when a worker of before may still write to the successor; None: nobody may.
    held_until: datetime | None = None

    @property
    def losses(self) -> tuple[Finding, ...]:
        """What would be lost, as far as anybody can tell from here."""
        return tuple(each for each in self.findings if each.loses)


def promoted(settings: Settings) -> PromotionPlan | None:
    """What was carried out, if the environment's secondary has been promoted already; None if it has not."""
    secondaries = [each.secondary.url for each in settings.every if each.secondary is not None]
    with connection():
        primary = Site.get_or_none(Site.primary)
        before = former.given_up(settings.primary.url)
        if primary is None or before is None or before.readdressed:
            return None
        if not any(sites.same_address(primary.url, url) for url in secondaries):
            return None
        return PromotionPlan(
            site=before.name,
            former=before.url,
            successor=primary.url,
            at=before.given_up_at,
            silent=None,
            compared=False,
            remote=_remote(),
            held_until=before.held_until,
        )


def plan(
    context: Context, site: Site, *, compare: bool = True, progress: Callable[[Progress], None] = lambda _: None
) -> PromotionPlan:
    """Say what the site has and lacks, and change nothing. Where the primary answers both registries are compared.

    Raises:
        NotPromotable: when the site's own registry does not answer.
    """
    context = context.at(site.name)
    _require_successor(context)
    silent = _silence(context)
    with connection():
        instant = now()
        site = Site.get_by_id(site.id)
        findings, compared = missing.known(site, instant), False
    if silent is None and compare:
        found = survey.Survey(site, context.primary, context.destination(), context.presence).plan(
            survey.in_scope(site, survey.Repositories(context.repositories())), progress
        )
        compared = True
        with connection():
            findings = [*missing.compared(found), *missing.lasting(site, instant)]
    with connection():
        newest = Event.select(Event.occurred_at).order_by(Event.id.desc()).first()
        primary = Site.get(Site.primary)
        return PromotionPlan(
            site=site.name,
            former=primary.url,
            successor=site.url,
            at=instant,
            silent=silent,
            compared=compared,
            findings=tuple(findings),
            last_event_at=newest.occurred_at if newest is not None else None,
            remote=_remote(),
        )


def wait(
    site: Site,
    seconds: float,
    show: Callable[[int], None] = lambda _: None,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> bool:
    """Wait until nothing is known that the site lacks, for `seconds` at most; whether that came.

    The deployment has to be running: this only looks. `show` is told how much is missing.
    """
    deadline = clock() + seconds
    while True:
        with connection():
            current = Site.get_by_id(site.id)
            # What is left out, or damaged, will not come by waiting.
            instant = now()
            staying = {each.kind for each in missing.lasting(current, instant)}
            left = [each for each in missing.known(current, instant) if each.loses and each.kind not in staying]
        show(sum(max(1, each.count) for each in left))
        if not left:
            return True
        if clock() >= deadline:
            return False
        sleep(POLL)


def promote(
    plan: PromotionPlan,
    settings: Settings,
    show: Callable[[float], None] = lambda _: None,
    *,
    clock: Callable[[], datetime] = now,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Make the plan's site the primary: the addresses are exchanged, and the former primary is given up.

    Nothing is written to it any more, whatever the environment says, before it was demoted. Nothing that was known of
    it proves anything from here on, and nothing is deleted before a person releases it.

    Raises:
        NotApplied: when the database is no longer as it was when this was planned.
        SiteError: as `sites.promote`.
    """
    sites.require_applied(settings)
    own = settings.at(plan.site)
    if own is None or own.secondary is None or not sites.same_address(own.secondary.url, plan.successor):
        raise NotPromotable(f"{plan.successor} is no longer the secondary here; plan it again")
    done = sites.promote(plan.site, settings, give_up=True)
    log.info("%s is the primary, %s was given up", plan.successor, plan.former)
    if done is not None and done.held_until is not None:
        _await(done.held_until, show, clock, sleep)


def outlast(
    done: PromotionPlan,
    show: Callable[[float], None] = lambda _: None,
    *,
    clock: Callable[[], datetime] = now,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait, as `promote` does, until nothing that was being synced then can be written any more: whoever promoted may
    have been interrupted in it."""
    if done.held_until is not None:
        _await(done.held_until, show, clock, sleep)


def _await(
    until: datetime, show: Callable[[float], None], clock: Callable[[], datetime], sleep: Callable[[float], None]
) -> None:
    """Whoever held a row may be writing a tag, and has to see that he lost it; with the lease that is over."""
    while (left := (until - clock()).total_seconds()) > 0:
        show(left)
        sleep(min(left, POLL))


def _require_successor(context: Context) -> None:
    try:
        context.destination().ping()
    except RegistryError as error:
        raise NotPromotable(f"the registry that should take over cannot be used: {error}") from error


def _silence(context: Context) -> str | None:
    """Why the primary cannot be asked; None if it can."""
    try:
        context.primary.ping()
    except Unreachable as error:
        return str(error)
    except RegistryError as error:
        log.warning("the primary answers, but not to us: %s", error)
        return str(error)
    return None


def _remote() -> tuple[str, ...]:
    """Names of the sites that follow from deployments of their own."""
    rows = Site.select(Site.name).where(Site.remote & ~Site.retired).order_by(Site.name)
    return tuple(each.name for each in rows)
