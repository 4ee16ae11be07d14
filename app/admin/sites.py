"""The page of the sites: how each is, how far, what it is at, and its last day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from flask import current_app, render_template

from app.admin.pages import DAYS, blueprint, webhook_example
from app.admin.plots import Plot, lag_plot, throughput_plot
from app.database import connection
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Site
from app.replication import health, queries, throughput
from app.replication.health import Health
from app.replication.running import Running, running
from app.replication.status import SiteStatus, Status, status
from app.replication.throughput import Day
from app.web.context import context

#: Failures shown with a site, and syncs under way.
FAILURES = 5
RUNNING = 5


@dataclass(frozen=True, slots=True)
class Shown:
    """A secondary as the page shows it. A remote one is known by its report alone."""

    site: Site
    status: SiteStatus
    health: Health
    failing: list[Registry]
    running: list[Running]
    day: Day | None
    throughput: Plot | None
    lag: Plot | None

    @property
    def told(self) -> bool:
        """Whether there are numbers to show at all."""
        return not self.status.remote or self.status.report is not None


@blueprint.get("")
def sites() -> str:
    with connection():
        whole = status()
        rows = queries.sites()
        secondaries = _secondaries(rows, whole)
        return render_template(
            "sites.html",
            whole=whole,
            primary=next((row for row in rows if row.primary), None),
            secondaries=secondaries,
            retired=[row for row in rows if row.retired],
            webhook=None if whole.events or whole.repositories else webhook_example(),
        )


def _secondaries(rows: list[Site], whole: Status) -> list[Shown]:
    counted = {site.name: site for site in whole.sites}
    shown = [row for row in rows if not row.primary and not row.retired and row.name in counted]
    memory: throughput.Memory = current_app.extensions[DAYS]
    days = memory.last_day([row.id for row in shown if not row.remote], whole.at)
    return [_shown(row, counted[row.name], whole, days.get(row.id), whole.at) for row in shown]


def _shown(site: Site, counted: SiteStatus, whole: Status, day: Day | None, instant: datetime) -> Shown:
    enabled = context().settings.replication_enabled
    busy = day is not None and (day.synced or day.failed)
    return Shown(
        site=site,
        status=counted,
        health=health.judge(counted, whole, instant, replication_enabled=enabled),
        failing=[] if site.remote else queries.failing(site, FAILURES),
        running=[] if site.remote or not counted.started else running(site, RUNNING, context().movements),
        day=day,
        throughput=throughput_plot(day) if day is not None and busy else None,
        lag=lag_plot(day) if day is not None and day.longest_lag is not None else None,
    )
