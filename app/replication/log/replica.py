"""The log on a streaming standby of the primary's PostgreSQL. Nothing is ever written there, and nothing can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import peewee
from peewee import ModelSelect, fn

from app.database import Running, read_only, running
from app.models import ContainerRepository, Event, LogState, Site
from app.registry import InvalidReference, ServerError
from app.registry.listing import CatalogPage
from app.replication.log import LogUnavailable, Reading, Terms
from app.replication.log.arrivals import Arrivals
from app.replication.log.local import terms_of
from app.replication.log.reading import Fence, Tables
from app.replication.log.tables import TableLog
from app.replication.scope import Scope

#: Repositories on a page.
PAGE = 500


class _ReplicaTables:
    """A standby draws no transaction ids: its fence is one that the primary wrote down.

    What it says of running transactions is sound: it counts as running whatever it has not seen end, and that a
    transaction has ended it learns after what the transaction wrote.
    """

    def __init__(self, database: peewee.Database) -> None:
        self._database = database

    def running(self) -> Running | None:
        return running(self._database)

    def fence(self) -> Fence | None:
        state = LogState.select().bind(self._database).first()
        return Fence(state.fence, state.fenced_to) if state is not None and state.fence else None

    def bind(self, query: ModelSelect[Event]) -> ModelSelect[Event]:
        bound: ModelSelect[Event] = query.bind(self._database)
        return bound


class ReplicaLog(TableLog):
    """The `EventLog` on the standby at `url`, for the site that is called `name` in the primary's deployment.

    Who can read the standby can read all of it: the scope that the primary sets for the site spares work, no more.
    """

    may_be_behind = True

    def __init__(self, url: str, name: str, alive: Callable[[], bool] = lambda: True) -> None:
        self._database = read_only(url)
        self._name = name
        self._tables = _ReplicaTables(self._database)
        super().__init__(Arrivals(self._newest), alive)

    def close(self) -> None:
        """Close all connections."""
        # One that is in use would go back to the pool afterwards.
        self._arrivals.close()
        self._database.close_all()

    @property
    def tables(self) -> Tables:
        return self._tables

    @contextmanager
    def connected(self) -> Iterator[None]:
        with self._database.connection_context():
            yield

    def read(self, position: str | None, *, limit: int, wait: float = 0.0) -> Reading:
        """As `EventLog.read`."""
        try:
            return super().read(position, limit=limit, wait=wait)
        except peewee.PeeweeException as error:
            # PostgreSQL's errors go on with the statement.
            said = str(error).partition("\n")[0]
            raise LogUnavailable(
                f"the standby cannot be read ({said}); check GEO_PRIMARY_DATABASE_URL and that it replicates", "standby"
            ) from error

    def log_state(self) -> LogState:
        found: LogState | None = LogState.select().bind(self._database).first()
        if found is None:
            raise LogUnavailable(
                "the primary's deployment has written nothing there yet; is it running, with this version?", "standby"
            )
        return found

    def terms(self) -> Terms:
        row: Site | None = Site.select().where(Site.name == self._name).bind(self._database).first()
        # One of the same name that is no site with a deployment of its own is the primary's deployment's, not this one.
        return Terms(self._name) if row is None or not row.remote else terms_of(row)

    def catalog(self, page_size: int = 0, after: str | None = None) -> Iterator[CatalogPage]:  # noqa: ARG002
        """The repositories that the primary's deployment knows, as `Catalog` says: those that events named."""
        if after is not None and not after.isdecimal():
            raise InvalidReference("this page is none of a standby's")
        last = int(after or 0)
        try:
            while True:
                with self.connected():
                    scope = Scope(self.terms().repositories)
                    rows = ContainerRepository.select().where(ContainerRepository.id > last)
                    found = list(rows.order_by(ContainerRepository.id).limit(PAGE).bind(self._database))
                last = found[-1].id if found else last
                following = str(last) if len(found) == PAGE else None
                yield CatalogPage(tuple(row.path for row in found if scope.covers(row.path)), following)
                if following is None:
                    return
        except peewee.PeeweeException as error:
            said = str(error).partition("\n")[0]
            raise ServerError(f"the standby of the primary's database cannot be read: {said}") from error

    def _newest(self) -> int:
        with self.connected():
            return int(Event.select(fn.MAX(Event.id)).bind(self._database).scalar() or 0)
