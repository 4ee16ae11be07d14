"""The log in this deployment's own database, as one of its sites may read it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from peewee import fn

from app.database import connection
from app.models import Event, LogState, Site
from app.replication.log import Terms
from app.replication.log.arrivals import Arrivals
from app.replication.log.reading import LOCAL, Tables
from app.replication.log.state import state
from app.replication.log.tables import TableLog
from app.settings import Deletion, VerificationLevel


def _newest() -> int:
    with connection():
        return int(Event.select(fn.MAX(Event.id)).scalar() or 0)


#: For all who wait in this process.
arrivals = Arrivals(_newest)


class LocalLog(TableLog):
    """What the feed serves: the log, limited to what the site replicates. Outside of any transaction."""

    def __init__(self, site_id: int, alive: Callable[[], bool] = lambda: True) -> None:
        super().__init__(arrivals, alive)
        self._site_id = site_id

    @property
    def tables(self) -> Tables:
        return LOCAL

    def connected(self) -> AbstractContextManager[None]:
        return connection()

    def log_state(self) -> LogState:
        return state()

    def terms(self) -> Terms:
        return terms_of(Site.get_by_id(self._site_id))


def terms_of(site: Site) -> Terms:
    """What the row says to the site's own deployment."""
    asked = site.reconcile_requested_at
    return Terms(
        name=site.name,
        repositories=tuple(site.repositories.splitlines()),
        tags=tuple(site.tags.splitlines()),
        paused=not site.enabled,
        reconcile=asked.isoformat() if asked else None,
        reconcile_reason=site.reconcile_reason,
        capacity=site.capacity,
        deletion=Deletion(site.deletion) if site.deletion else None,
        protected_tags=tuple(site.protected_tags.splitlines()),
        verification=VerificationLevel(site.verification) if site.verification else None,
    )
