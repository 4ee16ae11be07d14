"""The deployment: switched on, set up with these registries, with a scheduler that acts and sites that follow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from app.replication import health, status
from app.replication.binding import Binding, NotApplied
from app.replication.check.examination import Examination
from app.replication.check.finding import Finding, Id, error, fine, warning
from app.replication.health import SCHEDULER_SILENT
from app.replication.level import Level
from app.replication.status import SiteStatus, Status


def check(examination: Examination) -> Sequence[Finding]:
    """Read the rows, and judge as the pages do."""
    with examination.stored():
        return list(_findings(examination))


def _findings(examination: Examination) -> Iterator[Finding]:
    settings = examination.settings
    try:
        own = {each.site_name for each in settings.every if Binding.of(each).site() is not None}
    except NotApplied as problem:
        yield error(
            Id.SITES_NOT_APPLIED,
            "replication",
            str(problem),
            "Workers take no row that is about other registries than they reach.",
            "geo migrate, with the environment that all processes have, and restart them",
        )
        return
    if not settings.replication_enabled:
        yield error(
            Id.REPLICATION_OFF,
            "replication",
            "it is switched off",
            "Events are kept, and nothing is copied.",
            "export GEO_REGISTRY_REPLICATION_ENABLED=true, and restart",
        )
    found = status.status()
    silent = found.scheduler_seconds is None or found.scheduler_seconds > SCHEDULER_SILENT
    yield _scheduler(found, silent=silent)
    for site in found.sites:
        if not site.enabled:
            yield _paused(site)
        elif site.remote or (site.name in own and not silent and settings.replication_enabled):
            yield _site(site, found)


def _scheduler(found: Status, *, silent: bool) -> Finding:
    age = found.scheduler_seconds
    if not silent:
        return fine("scheduler", "acts")
    return error(
        Id.SCHEDULER_SILENT,
        "scheduler",
        "none has ever run" if age is None else f"none has acted for {age:.0f} s",
        "Retries, reconciles and lost wake-ups wait for it.",
        "geo scheduler (or `geo up`, which starts all processes); if it runs, look why it does not reach the database",
    )


def _paused(site: SiteStatus) -> Finding:
    return error(
        Id.SITE_PAUSED,
        site.name,
        "it is paused",
        f"Nothing is copied there; {site.unread_events} events wait.",
        f"geo sites resume {site.name}",
    )


def _site(site: SiteStatus, whole: Status) -> Finding:
    judged = health.judge(site, whole, whole.at, replication_enabled=True)
    advice = judged.advice or f"Look at `geo status` and the log of {site.name}'s workers."
    if judged.level is Level.CRITICAL:
        return error(Id.REPLICATION_STUCK, site.name, judged.headline, "What is pushed does not arrive there.", advice)
    if judged.level is Level.WARNING:
        detail = site.first_failure or site.first_verification_failure
        title = f"{judged.headline}: {detail}" if detail else judged.headline
        why = "Some of what was pushed is not there."
        return warning(Id.REPLICATION_FAILING, site.name, title, why, f"{advice} `geo why REPOSITORY:TAG` tells more.")
    return fine(site.name, judged.headline.lower() or "follows")
