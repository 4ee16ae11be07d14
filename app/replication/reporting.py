"""Reporting: a site's own deployment tells the primary's how it is."""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields, replace
from typing import Any

from app import __version__
from app.database import connection, now, transaction
from app.models import Follower as Row
from app.models import Site
from app.registry import RegistryError
from app.replication import health, site_reports, status
from app.replication.context import Context
from app.replication.log.position import InvalidPosition, Position
from app.replication.site_reports import FEED, PATTERNS_LIMIT, POSITION_LIMIT, STANDBY, PositionText, Report, clean
from app.replication.status import SiteStatus
from app.settings import Deletion

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
            current: Site | None = Site.get_or_none((Site.id == self.site.id) & ~Site.retired)
            follower: Row | None = Row.get_or_none(Row.site == self.site)
            whole, instant = status.status(), now()
        counted = next((each for each in whole.sites if each.name == self.site.name), None)
        if current is None or counted is None:
            return None
        judged = health.judge(counted, whole, instant, replication_enabled=settings.replication_enabled)
        standby = settings.source is not None and settings.source.database_url is not None
        told: dict[str, Any] = {name: getattr(counted, name) for name in _COPIED}
        for name in ("first_failure", "first_verification_failure"):
            told[name] = None if told[name] is None else clean(told[name])
        # A list that is too long is cut: a report must not fail for it.
        told |= {"protected_tags": tuple(current.protected_tags.splitlines())}
        for name in ("repositories", "tags", "protected_tags"):
            told[name] = tuple(clean(pattern) for pattern in told[name][:PATTERNS_LIMIT])
        return Report(
            **told,
            version=__version__,
            level=judged.level,
            headline=clean(judged.headline),
            advice=clean(judged.advice),
            follows=STANDBY if standby else FEED,
            replication_enabled=settings.replication_enabled,
            deletion=Deletion(current.deletion),
            verification=settings.verification,
            position=_position(follower.position) if standby and follower is not None else None,
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


def _position(text: str | None) -> PositionText | None:
    """A position as a report may carry it. Of one that is too long it is said that it ends before its first gap: what
    was read beyond that is kept for us a while longer, and nothing that was not is lost."""
    if text is None or len(text) <= POSITION_LIMIT:
        return None if text is None else PositionText(text)
    try:
        position = Position.decode(text)
    except InvalidPosition:
        return None
    before = min([position.last, *(gap - 1 for gap in position.gaps)])
    return PositionText(replace(position, last=before, gaps={}, mark="").encode())
