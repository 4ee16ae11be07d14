"""A log that says what a test gives it, and a follower of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from app.database import connection
from app.models import ContainerRepository, Event, Site
from app.models import Follower as Row
from app.replication.context import Nobody
from app.replication.follower import Follower
from app.replication.log import LogUnavailable, Reading, Reset, Terms
from app.settings import Deletion, VerificationLevel
from tests.support.deployment import Deployment, offline_environment

SITE = "berlin"


def environment(database_url: str, **extra: str) -> dict[str, str]:
    """The site's deployment, whose primary is nowhere: what it says comes from the test."""
    env = offline_environment(database_url, GEO_ROLE="secondary", GEO_SITE_NAME=SITE, **extra)
    return env | {"GEO_PRIMARY_URL": "http://127.0.0.1:9", "GEO_SITE_TOKEN": "x"}


def told(id_: int, tag: str, *, repository: str = "team/app", action: str = "push") -> Event:
    """An event as another deployment's log tells it."""
    return Event(
        id=id_,
        event_key=f"key-{id_}",
        container_repository=ContainerRepository(path=repository),
        action=action,
        tag=tag,
        occurred_at=datetime(2026, 7, 1, tzinfo=UTC),
    )


class Recording(Nobody):
    """Wakes nobody and remembers for how many rows it was asked."""

    def __init__(self, woken: list[int]) -> None:
        self._woken = woken

    def rows(self, count: int) -> None:
        self._woken.append(count)


class Scripted:
    """A log that says what a test gives it: readings, or what to raise, in turn; then the last one again, empty."""

    def __init__(self, *said: Reading | LogUnavailable) -> None:
        self.said = list(said)
        self.asked: list[str | None] = []
        self.before: Callable[[], None] = lambda: None

    def read(self, position: str | None, *, limit: int, wait: float = 0.0) -> Reading:
        self.asked.append(position)
        self.before()
        answer = self.said.pop(0) if self.said else reading(position or "begin")
        if isinstance(answer, LogUnavailable):
            raise answer
        return answer


def reading(
    position: str,
    events: Sequence[Event] = (),
    *,
    name: str = SITE,
    repositories: tuple[str, ...] = (),
    tags: tuple[str, ...] = (),
    capacity: int | None = None,
    deletion: Deletion | None = None,
    protected: tuple[str, ...] = (),
    verification: VerificationLevel | None = None,
    paused: bool = False,
    reconcile: str | None = None,
    reset: Reset | None = None,
) -> Reading:
    last = max((event.id for event in events), default=0)
    terms = Terms(name, repositories, paused, reconcile, "a reason", tags, capacity, deletion, protected, verification)
    return Reading(events, position, last, last, terms, reset)


def follower(state: Deployment, *said: Reading | LogUnavailable) -> tuple[Follower, Scripted]:
    log = Scripted(*said)
    return Follower(state.context, state.fresh_site(), log), log


@contextmanager
def running(one: Follower) -> Iterator[threading.Thread]:
    """In a thread of its own, which has ended when this does: it must not outlive the database."""
    thread = threading.Thread(target=one.run)
    thread.start()
    try:
        yield thread
    finally:
        one.stop.set()
        thread.join(30)


def row() -> Row:
    """As the database has it; an empty one before the follower has begun."""
    with connection():
        return Row.get_or_none() or Row()


def tags() -> list[str | None]:
    with connection():
        return [event.tag for event in Event.select().order_by(Event.id)]


def nothing_asked() -> None:
    """Let no reconcile be due."""
    with connection():
        Site.update(reconcile_requested_at=None, reconcile_reason=None).execute()


def reason(state: Deployment) -> str:
    return state.fresh_site().reconcile_reason or ""
