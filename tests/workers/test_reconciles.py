"""Reconciles of several sites, on both databases, against a primary of which only the catalog is asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import pytest

from app.database import connection
from app.models import ContainerRepository, Site
from app.models import ContainerRepositoryRegistry as Registry
from app.registry import Denied
from app.replication import backfill
from tests.support.answering import Answer, Request, Server
from tests.support.deployment import Deployment, offline_environment
from tests.support.wait import wait_until

pytestmark = pytest.mark.usefixtures("stub_broker")

REFUSED = Answer(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"administrators alone"}]}')


@dataclass
class Primary:
    """Answers its catalog as it is told, when it is let; notes who asks, and how many at once."""

    answer: Callable[[], Answer] = lambda: REFUSED
    let: threading.Semaphore | None = None
    asked: int = 0
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.server = Server(self.serve)

    def was_asked(self, times: int) -> bool:
        return self.asked == times

    def serve(self, request: Request) -> Answer:
        if request.path != "/v2/_catalog":
            return Answer(404)
        with self.lock:
            self.asked += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        if self.let is not None:
            self.let.acquire(timeout=30)
        with self.lock:
            self.at_once -= 1
        return self.answer()


@pytest.fixture
def primary() -> Iterator[Primary]:
    made = Primary()
    made.server.start()
    yield made
    if made.let is not None:
        made.let.release(100)
    made.server.stop()


class Ticking:
    """A deployment with sites a, b, …, and a scheduler whose clock is set by the test."""

    def __init__(self, database_url: str, primary: Primary, names: str, **more: str) -> None:
        from workers.scheduler import Scheduler

        env = offline_environment(database_url, GEO_SITE_NAME=names, **more)
        del env["GEO_SECONDARY_REGISTRY_URL"]
        for number, name in enumerate(names.split(",")):
            env[f"GEO_SECONDARY_REGISTRY_URL_{name.upper()}"] = f"http://127.0.0.1:{number + 10}"
        env["GEO_REGISTRY_REPLICATION_PRIMARY_API_URL"] = f"http://127.0.0.1:{primary.server.port}"
        self.state = Deployment.start(env)
        self.now = 0.0
        self.scheduler = Scheduler(self.state.context, clock=lambda: self.now)

    def tick(self) -> None:
        self.scheduler.tick()

    def idle(self) -> None:
        wait_until(lambda: not self.scheduler.reconciles.under_way())

    def site(self, name: str) -> Site:
        with connection():
            found: Site = Site.get(Site.name == name)
            return found

    def marked(self, name: str) -> list[str]:
        with connection():
            rows = ContainerRepository.select().join(Registry).join(Site).where(Site.name == name)
            return sorted(row.path for row in rows)


def test_a_site_that_is_refused_keeps_no_other_waiting(database_url: str, primary: Primary) -> None:
    # Given a primary that refuses its catalog, a site that needs it, and a second one that has a list
    sites = Ticking(database_url, primary, "a,b", GEO_REPOSITORIES_A="team/**", GEO_REPOSITORIES_B="team/app team/web")
    try:
        # When the scheduler looks once and again
        sites.tick()
        sites.idle()
        sites.tick()
        sites.idle()

        # Then the second has all that it owes, and the first waits until it asks again
        assert sites.marked("b") == ["team/app", "team/web"]
        assert sites.site("b").reconcile_requested_at is None
        assert sites.site("a").reconcile_requested_at is not None
        assert primary.asked == 1

        # And so it is with what the second is asked for while the first waits
        backfill.request("by a test")
        sites.tick()
        sites.idle()
        assert sites.site("b").reconcile_requested_at is None
        assert primary.asked == 1
        sites.now += 30.0
        sites.tick()
        sites.idle()
        assert primary.asked == 2
    finally:
        sites.state.close()


def test_a_site_whose_catalog_is_slow_keeps_no_site_with_a_list_waiting(database_url: str, primary: Primary) -> None:
    # Given a primary that takes its time for the catalog
    primary.let = threading.Semaphore(0)
    sites = Ticking(database_url, primary, "a,b", GEO_REPOSITORIES_B="team/app")
    try:
        # When the first site waits for it
        sites.tick()
        wait_until(lambda: primary.asked == 1)

        # Then the second is done meanwhile
        wait_until(lambda: sites.site("b").reconcile_requested_at is None)
        assert sites.site("a").reconcile_requested_at is not None
    finally:
        primary.let.release(100)
        sites.idle()
        sites.state.close()


def test_the_catalog_is_read_for_one_site_at_a_time_and_each_has_its_turn(database_url: str, primary: Primary) -> None:
    # Given three sites that need a catalog which breaks off, and takes longer for that than a site waits after it
    primary.let = threading.Semaphore(0)
    sites = Ticking(database_url, primary, "a,b,c")
    listing = Answer(200, json.dumps({"repositories": ["team/app"]}).encode(), {"Content-Type": "application/json"})
    try:
        for number in range(1, 3):
            sites.tick()
            wait_until(partial(primary.was_asked, number))
            sites.tick()
            primary.let.release()
            sites.idle()
            sites.now += 1000.0

        # When it comes after all
        primary.answer = lambda: listing
        sites.tick()
        primary.let.release()
        sites.idle()

        # Then the third site has it, whose turn it was, and nobody asked beside another
        assert (sites.marked("a"), sites.marked("b"), sites.marked("c")) == ([], [], ["team/app"])
        assert primary.asked == 3
        assert primary.most_at_once == 1

        # And the others have theirs after it
        for _ in range(2):
            primary.let.release()
            sites.tick()
            sites.idle()
        assert (sites.marked("a"), sites.marked("b")) == (["team/app"], ["team/app"])
    finally:
        primary.let.release(100)
        sites.idle()
        sites.state.close()


def test_a_catalog_that_is_refused_is_asked_for_ever_more_rarely(
    state: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workers.reconciles import Reconciles

    # Given a site that needs a catalog, and a primary that refuses it
    now, tried, retry_after = 0.0, 0, None
    reconciles = Reconciles(state.context, lambda: now)

    def refused(*_: object) -> int:
        nonlocal tried
        tried += 1
        raise Denied("administrators alone", status=403, retry_after=retry_after)

    def given(*_: object) -> int:
        nonlocal tried
        tried += 1
        return 1

    def pause() -> float:
        """Seconds until it is tried again."""
        nonlocal now
        before, began = tried, now
        while tried == before:
            now += 5.0
            reconciles.begin_due([site])
            wait_until(lambda: not reconciles.under_way())
        return now - began

    # When it is tried again and again
    monkeypatch.setattr(backfill, "mark_all", refused)
    site = state.fresh_site()
    pause()
    pauses = [pause() for _ in range(7)]

    # Then after ever longer pauses, up to ten minutes
    assert 15 <= pauses[0] <= 35
    assert pauses[0] < pauses[2] < pauses[4]
    assert 300 <= pauses[6] <= 605

    # And not before the time that it asks for
    retry_after = 1200.0
    pause()
    assert pause() >= 1200

    # And as at the beginning once it was given
    retry_after = None
    monkeypatch.setattr(backfill, "mark_all", given)
    pause()
    monkeypatch.setattr(backfill, "mark_all", refused)
    pause()
    assert 15 <= pause() <= 35
