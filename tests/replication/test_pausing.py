"""Pausing a site while something is being synced to it: nothing new is taken up, and nothing is lost."""

from __future__ import annotations

import threading

import pytest

from app.database import transaction
from app.models import Site, SyncState
from app.replication import claim as claims
from app.replication import work
from app.replication.sync import SLOTS
from tests.replication.conftest import Proxied
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import Deployment, event
from tests.support.proxy import Proxy
from tests.support.registries import DistributionRegistry
from tests.support.sessions import Session, at_work
from tests.support.wait import wait_until
from tests.support.wire import push, tags

pytestmark = pytest.mark.timeout(90)

TAGS = [f"v{number}" for number in range(12)]


def enable(geo: Deployment, *, enabled: bool) -> None:
    with transaction():
        Site.update(enabled=enabled).where(Site.id == geo.site.id).execute()


@pytest.fixture
def asked(proxied: Proxied, primary: DistributionRegistry, repository: str) -> tuple[Deployment, Proxy]:
    """A repository with more tags than are copied at once, all of them told of."""
    geo, before_primary, _ = proxied
    for tag in TAGS:
        geo.store(event(repository=repository, tag=tag, digest=push(primary, repository, tag, images.image())))
    geo.mark()
    return geo, before_primary


def test_a_running_sync_ends_what_it_has_begun_and_gives_the_rest_back(
    asked: tuple[Deployment, Proxy],
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given a sync whose first copies hang
    monkeypatch.setattr(claims, "WITHDRAWAL", 0.1)
    geo, proxy = asked
    gate = threading.Event()
    slow = proxy.rule("GET .*/manifests/", gate=gate)
    with at_work(lambda: work.run_due(geo.context), slow) as running:
        # When the site is paused, and they go on
        enable(geo, enabled=False)
        row = geo.row(repository)
        gate.set()
        assert running.result(30) == 1

    # Then the row waits, with what was not begun
    assert row.state == SyncState.STARTED
    assert geo.row(repository).state == SyncState.PENDING
    there = tags(secondary, repository)
    assert 0 < len(there) <= 2 * SLOTS
    assert geo.due() == 0

    # When it is resumed, then all of it is brought
    enable(geo, enabled=True)
    assert work.run_due(geo.context) == 1
    assert geo.row(repository).state == SyncState.SYNCED
    for tag in TAGS:
        assert_same(primary, secondary, repository, tag)


def test_who_asks_by_hand_gets_it_although_the_site_is_paused(
    asked: tuple[Deployment, Proxy], secondary: DistributionRegistry, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "WITHDRAWAL", 0.0)
    geo, _ = asked
    enable(geo, enabled=False)
    assert geo.row(repository).replicator.sync().state == SyncState.SYNCED
    assert len(tags(secondary, repository)) == len(TAGS)


def test_one_who_asked_by_hand_goes_on_when_it_is_paused(
    asked: tuple[Deployment, Proxy], secondary: DistributionRegistry, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a sync by hand that is under way
    monkeypatch.setattr(claims, "WITHDRAWAL", 0.1)
    geo, proxy = asked
    gate = threading.Event()
    slow = proxy.rule("GET .*/manifests/", gate=gate)
    with Session() as person:
        row = geo.row(repository)
        running = person.start(row.replicator.sync)
        assert slow.arrived.wait(20)

        # When the site is paused, then it is given back once and taken again
        enable(geo, enabled=False)
        gate.set()
        assert running.result(40).state == SyncState.SYNCED
    wait_until(lambda: len(tags(secondary, repository)) == len(TAGS))
