"""Pushes that never stop while something is done to a deployment, and whether all of them were told, and arrived."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import psycopg
import requests

from tests.support import images
from tests.support.registries import DistributionRegistry, Registry
from tests.support.running import Running
from tests.support.wait import wait_until
from tests.support.wire import WireError, digest_of, push

#: Seconds between two pushes, and before a push is tried again that the registry did not take.
PAUSE = 0.2

#: What is logged of a notification that is refused.
REFUSED = "a notification was refused"


@dataclass(frozen=True, slots=True)
class Pushed:
    """What the registry took, and so tells of."""

    repository: str
    tag: str
    digest: str


class Traffic:
    """`with Traffic(registry) as traffic: ...`: a small image under a new tag, again and again, into three
    repositories, from a thread of its own."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.pushed: list[Pushed] = []
        self._stopped = threading.Event()
        self._going = threading.Lock()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    @contextlib.contextmanager
    def quiet(self, registry: DistributionRegistry) -> Iterator[None]:
        """While inside, nothing is pushed, and all is delivered: a registry's memory goes with its process."""
        with self._going:
            wait_until(lambda: registry.pending_notifications() == 0, 30, "the registry has events left")
            yield

    def flows(self, more: int = 3) -> None:
        """Wait until so many more pushes were taken."""
        wanted = len(self.pushed) + more
        wait_until(lambda: self._error or len(self.pushed) >= wanted, 60, "nothing is pushed")

    def stop(self) -> None:
        """Push nothing more.

        Raises:
            BaseException: whatever ended the thread.
        """
        self._stopped.set()
        self._thread.join(60)
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join(60)

    def _run(self) -> None:
        number = 0
        try:
            while not self._stopped.wait(PAUSE):
                repository, tag, image = f"traffic/app-{number % 3}", f"v{number}", images.image()
                # A registry that is restarted takes nothing for a moment; any build server tries again.
                with self._going, contextlib.suppress(WireError, requests.RequestException):
                    self.pushed.append(Pushed(repository, tag, push(self.registry, repository, tag, image)))
                    number += 1
        except BaseException as error:  # noqa: BLE001 - told to whoever waits
            self._error = error


def assert_nothing_lost(traffic: Traffic, secondary: Registry, geo: Running, log: Running | None = None) -> None:
    """Stop pushing, and see that every push is on the secondary, by an event that came once it was made.

    :param log: the deployment that keeps the event log, where that is another.
    """
    traffic.stop()
    assert traffic.pushed
    for each in traffic.pushed:
        wait_until(
            lambda each=each: digest_of(secondary, each.repository, each.tag) == each.digest,  # type: ignore[misc]
            60,
            lambda each=each: f"{each} did not arrive\n{geo.log_text[-6000:]}",  # type: ignore[misc]
        )
    told = {row[0] for row in rows(log or geo, "SELECT digest FROM geo_events WHERE action = 'push'")}
    assert [each for each in traffic.pushed if each.digest not in told] == []


def refusals(geo: Running) -> int:
    """How many notifications were refused."""
    return geo.log_text.count(REFUSED)


def failures(geo: Running) -> set[str]:
    """Why anything could not be copied, ever."""
    return {row[0] for row in rows(geo, "SELECT DISTINCT reason FROM sync_attempts WHERE outcome = 'failed'")}


def rows(geo: Running, query: str) -> list[tuple[Any, ...]]:
    """Ask the deployment's database."""
    url = geo.env["DATABASE_URL"]
    if url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as file:
            return list(file.execute(query).fetchall())
    with psycopg.connect(url) as server:
        return list(server.execute(query.encode()).fetchall())
