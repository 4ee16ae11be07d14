"""What replication works with in this process: the settings, the two registries, and a way to wake workers."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from app.database import connection
from app.models import ContainerRepositoryRegistry, Site
from app.providers import Provider
from app.providers.provider import Lister
from app.registry import (
    KeyToken,
    RegistryClient,
)
from app.replication.binding import SiteError
from app.replication.copying.creation import Creations
from app.replication.copying.flights import Flights
from app.replication.copying.lanes import Lanes
from app.replication.copying.presence import LocalPresence, Presence
from app.replication.copying.referrers_api import Support
from app.replication.generations import Generations
from app.replication.instances import Instances
from app.replication.intake import Intake
from app.replication.log import Catalog, EventLog
from app.replication.log.feed import PrimaryClient
from app.replication.log.replica import ReplicaLog
from app.replication.movements import Movements
from app.replication.politeness import Politeness
from app.replication.shared import Shared
from app.replication.shares import Shares
from app.replication.spool import Spool
from app.replication.verification.capacity import Capacity
from app.settings import Settings


class Wake(Protocol):
    """Tells workers to look at the database. Losing a call costs latency, never data."""

    @property
    def failures(self) -> int:
        """How many calls in a row, up to now, have reached nobody because the queue could not be reached."""

    def events(self) -> None:
        """Somebody should advance the cursors."""

    def rows(self, count: int) -> None:
        """Up to `count` workers should claim tracking rows of what was just pushed."""

    def bulk(self, count: int, busy: int = 0) -> None:
        """Up to `count` workers should claim any other tracking rows; so many of their threads are `busy`."""

    def verifications(self, count: int) -> None:
        """Up to `count` workers should verify tracking rows."""


class Nobody:
    """Wakes nobody: for tests and one-off commands; the scheduler finds what is due."""

    failures = 0

    def events(self) -> None:
        pass

    def rows(self, count: int) -> None:
        pass

    def bulk(self, count: int, busy: int = 0) -> None:
        pass

    def verifications(self, count: int) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Place:
    """A site's registry, None in a deployment that replicates nothing, and whose it is."""

    registry: RegistryClient | None
    provider: Provider


@dataclass
class Context:
    """One for each process, made at start. Holds no database connection.

    It is of one site. Where a deployment has several, those of the others are its `further` ones: what concerns the
    primary, the process or all sites they have in common, and each has its own registry and its own threads to it, so
    that no site waits for another's.
    """

    settings: Settings
    primary: RegistryClient
    secondary: RegistryClient | None
    wake: Wake = field(default_factory=Nobody)
    #: Where large blobs pass through on the local disk; None streams them.
    spool: Spool | None = None
    #: Set when the process has to end: no new work, and what is under way is given back.
    stopping: threading.Event = field(default_factory=threading.Event)
    lanes: Lanes = field(default_factory=Lanes)
    #: Threads that may sync what nobody waits for.
    unhurried: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(1))
    #: What the processes tell each other; None where there is no Redis.
    shared: Shared | None = None
    flights: Flights = field(default_factory=Flights)
    movements: Movements = field(default_factory=Movements)
    generations: Generations = field(default_factory=Generations)
    presence: Presence = field(default_factory=LocalPresence)
    #: Which registry lists what refers to a manifest.
    referrers: Support = field(default_factory=Support)
    #: Whose registries these are.
    primary_provider: Provider = field(default_factory=Provider)
    secondary_provider: Provider = field(default_factory=Provider)
    #: Repositories of the secondary that a push found missing.
    creations: Creations = field(init=False)
    #: What both registries are asked at once at most; None does not limit.
    politeness: Politeness | None = None
    #: How much is verified at once here, and how fast.
    verification: Capacity = field(default_factory=Capacity)

    #: Which registry processes have sent us events, and how events are written down.
    instances: Instances = field(default_factory=Instances)
    intake: Intake = field(default_factory=Intake)

    #: Our key of the primary registry, for tokens that others get from us; None without one.
    primary_keys: KeyToken | None = None
    #: The log that a secondary's own deployment follows, and the primary's deployment where that is reached.
    log: EventLog | None = None
    deployment: PrimaryClient | None = None
    #: How the worker threads of this process are shared out among the sites.
    shares: Shares = field(default_factory=Shares)
    #: The same of the threads that verify.
    verification_shares: Shares = field(default_factory=Shares)
    #: Those of the other sites of this deployment.
    further: tuple[Context, ...] = ()

    def __post_init__(self) -> None:
        self.creations = Creations(self.secondary_provider)

    def of(self, settings: Settings, place: Place) -> Context:
        """The context of another site of this deployment."""
        own: dict[str, Any] = {"secondary": place.registry, "secondary_provider": place.provider, "lanes": Lanes()}
        return replace(self, settings=settings, further=(), **own)

    @property
    def every(self) -> tuple[Context, ...]:
        """The context of each site, the first before the others."""
        return (self, *self.further)

    def at(self, site_name: str) -> Context:
        """The context of the site of this name.

        Raises:
            SiteError: when the environment of this process names no such site.
        """
        found = next((each for each in self.every if each.settings.site_name == site_name), None)
        if found is None:
            known = ", ".join(each.settings.site_name for each in self.every)
            raise SiteError(f"this process does not replicate to {site_name}: its environment names {known}")
        return found

    def destination(self) -> RegistryClient:
        """The secondary registry of this deployment.

        Raises:
            RuntimeError: in a deployment that replicates nothing (role primary).
        """
        if self.secondary is None:
            raise RuntimeError("this deployment has no secondary registry (GEO_ROLE=primary)")
        return self.secondary

    def of_row(self, registry_id: int) -> Context:
        """The context of the site of this tracking row; of a row that is gone, or of no site of ours, the first
        site's: nobody claims that one either."""
        if not self.further:
            return self
        with connection():
            row = Site.select(Site.name).join(ContainerRepositoryRegistry)
            site: Site | None = row.where(ContainerRepositoryRegistry.id == registry_id).first()
        return next((each for each in self.every if site and each.settings.site_name == site.name), self)

    def repositories(self) -> Catalog:
        """Whatever lists the primary's repositories: its deployment where we are only a site, else its registry."""
        if self.deployment is not None:
            return self.deployment
        return self.log if isinstance(self.log, ReplicaLog) else self.registry_catalog()

    def registry_catalog(self) -> Lister:
        """What lists the repositories of the primary registry itself, in its provider's way."""
        return self.primary_provider.lister(self.primary)

    def close(self) -> None:
        self.stopping.set()
        if self.deployment is not None:
            self.deployment.close()
        if isinstance(self.log, ReplicaLog):
            self.log.close()
        for each in self.every:
            each.lanes.close()
        self.flights.close()
        self.movements.close()
        self.primary.close()
        self.primary_provider.close()
        for each in self.every:
            if each.secondary is not None:
                each.secondary.close()
            each.secondary_provider.close()
        if self.politeness is not None:
            self.politeness.close()
        if self.shared is not None:
            self.shared.close()


_current: Context | None = None


def install(context: Context) -> Context:
    """Make `context` the process's own (entry points and tests call it once)."""
    global _current
    _current = context
    return context


def current() -> Context:
    """The process's context.

    Raises:
        RuntimeError: before an entry point has installed one.
    """
    if _current is None:
        raise RuntimeError("no context is installed: start through the `geo` command or app.boot")
    return _current
