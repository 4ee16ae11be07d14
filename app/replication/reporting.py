"""Reporting: a site's own deployment tells the primary's how it is."""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields
from typing import Any

from app import __version__
from app.database import connection, now, transaction
from app.models import Follower as Row
from app.models import Site
from app.registry import RegistryError
from app.replication import health, site_reports, status
from app.replication.context import Context
from app.replication.site_reports import FEED, PATTERNS_LIMIT, STANDBY, Report, clean
from app.replication.status import SiteStatus

log = logging.getLogger(__name__)

#: Seconds between reports.
INTERVAL = 60.0

#: Members of a report that a site's status has under the same name.
_COPIED = tuple(sorted({each.name for each in fields(Report)} & {each.name for each in fields(SiteStatus)}))


@dataclass(frozen=True, slots=True)
class Reporter:
    """Tells of `site`. Telling it twice changes nothing, and what could not be told is not told later: the next report
    says how it is then."""

    context: Context
    site: Site

    def report(self) -> bool:
        """Send one report and write down what became of it; whether it was taken."""
        deployment = self.context.deployment
        if deployment is None:
            return False
        said = self._said()
        if said is None:
            return False
        failure: str | None = None
        try:
            deployment.report(site_reports.dump(said))
        except RegistryError as error:
            failure = str(error)
        self._note(failure)
        return failure is None

    def _said(self) -> Report | None:
        settings = self.context.settings
        with connection():
            current = Site.select().where((Site.id == self.site.id) & ~Site.retired).exists()
            whole, instant = status.status(), now()
        counted = next((each for each in whole.sites if each.name == self.site.name), None)
        if not current or counted is None:
            return None
        judged = health.judge(counted, whole, instant, replication_enabled=settings.replication_enabled)
        standby = settings.source is not None and settings.source.database_url is not None
        told: dict[str, Any] = {name: getattr(counted, name) for name in _COPIED}
        for name in ("first_failure", "first_verification_failure"):
            told[name] = None if told[name] is None else clean(told[name])
        # A list that is too long is cut: a report must not fail for it.
        told |= {name: told[name][:PATTERNS_LIMIT] for name in ("repositories", "tags")}
        return Report(
            **told,
            version=__version__,
            level=judged.level,
            headline=clean(judged.headline),
            advice=clean(judged.advice),
            follows=STANDBY if standby else FEED,
            replication_enabled=settings.replication_enabled,
        )

    def _note(self, failure: str | None) -> None:
        with transaction():
            known: Row | None = Row.get_or_none(Row.site == self.site)
            if known is None:
                return
            values = {"report_failure": failure} if failure else {"report_failure": None, "reported_at": now()}
            Row.update(**values).where(Row.site == self.site).execute()
        if failure and known.report_failure is None:
            log.warning("the primary's deployment did not take our status: %s", failure)
