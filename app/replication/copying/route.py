"""Route: from where to where, and by what, the copies of one sync go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from app.providers import GENERIC, Profile
from app.registry import RegistryClient, Stopped
from app.replication.copying.flights import Flights
from app.replication.copying.lanes import Lanes
from app.replication.copying.moving import Moving
from app.replication.copying.presence import Presence
from app.replication.copying.vacancy import Vacancy
from app.replication.copying.writing import Writing
from app.replication.spool import Spool


@dataclass(frozen=True, slots=True)
class Route:
    """From where to where, within one repository, and what carries it: shared by the copies of one sync.

    `lanes` run the requests in parallel; no task in them waits for another. `stop` is asked between chunks. Large
    blobs pass through the `spool`, if there is one. `profile` is the destination's.
    """

    source: RegistryClient
    destination: RegistryClient
    repository: str
    lanes: Lanes
    flights: Flights
    presence: Presence
    writing: Writing
    vacancy: Vacancy
    stop: Callable[[], bool]
    spool: Spool | None = None
    moving: Moving = field(default_factory=Moving)
    profile: Profile = GENERIC

    def check(self) -> None:
        """Raise `Stopped` if there is no point in going on."""
        if self.stop():
            raise Stopped("the copy was told to stop")
