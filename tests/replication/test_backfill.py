"""Walking the catalog: a walk that was killed goes on, one at a time, and nothing is marked twice."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import app
from app.database import connection, now
from app.models import CatalogWalk, Lease, Site
from app.models import ContainerRepositoryRegistry as Registry
from app.registry import ServerError
from app.replication import backfill, marking, sites
from app.replication.backfill import WalkUnderWay
from app.settings import Settings
from tests.support import images
from tests.support.deployment import Deployment, environment
from tests.support.keys import TokenAuth
from tests.support.processes import Process, clean_environment
from tests.support.proxy import Proxy
from tests.support.registries import DistributionRegistry
from tests.support.sessions import Session, at_work
from tests.support.wait import wait_until
from tests.support.wire import push

pytestmark = pytest.mark.timeout(90)

NUMBER = 9


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory, token_auth: TokenAuth) -> Iterator[DistributionRegistry]:
    """A primary with nine repositories; nobody writes to it."""
    with DistributionRegistry(tmp_path_factory.mktemp("stocked"), token=token_auth) as registry:
        made = images.image()
        for number in range(NUMBER):
            push(registry, f"team/app-{number}", "v1", made)
        yield registry


@pytest.fixture
def walked(
    stocked: DistributionRegistry,
    secondary: DistributionRegistry,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[tuple[Deployment, Proxy]]:
    """A deployment whose catalog comes in pages of two."""
    monkeypatch.setattr(backfill, "PAGE", 2)
    with Proxy(stocked) as proxy:
        env = environment(stocked, secondary, database_url, GEO_REGISTRY_REPLICATION_PRIMARY_API_URL=proxy.url)
        geo = Deployment.start(env)
        yield geo, proxy
        geo.close()


def generations() -> dict[str, int]:
    """How often something was asked of each repository."""
    with connection():
        return {row.container_repository.path: row.generation for row in Registry.select()}


def walk(geo: Deployment, priority: int = marking.BACKFILL) -> int:
    return backfill.mark_all(geo.fresh_site(), geo.context.primary, priority=priority)


def underway() -> CatalogWalk | None:
    with connection():
        found: CatalogWalk | None = CatalogWalk.select().first()
        return found


ONCE = {f"team/app-{number}": 1 for number in range(NUMBER)}


def test_a_walk_that_was_killed_goes_on_where_it_was(walked: tuple[Deployment, Proxy], tmp_path: Path) -> None:
    geo, proxy = walked
    # Given a process that is killed while it waits for the third page
    slow = proxy.rule("_catalog.*app-3", gate=threading.Event())
    settings = geo.context.settings
    script = "from app.replication import backfill; backfill.PAGE = 2; from app.cli import main; main()"
    env = clean_environment(
        DATABASE_URL=settings.database_url.value,
        GEO_REGISTRY_REPLICATION_PRIMARY_API_URL=proxy.url,
        GEO_SECONDARY_REGISTRY_URL=str(geo.site.url),
        GEO_NOTIFICATION_SECRET="a-notification-secret",
        GEO_REGISTRY_KEY_PATH=str(settings.primary.key_path),
        GEO_REGISTRY_CERTIFICATE_PATH=str(settings.primary.certificate_path),
        GEO_REGISTRY_ISSUER=settings.primary.issuer,
        GEO_REGISTRY_SERVICE=settings.primary.service,
        PYTHONPATH=str(Path(app.__file__).parents[1]),
    )
    command = [sys.executable, "-c", script, "sync", "--all"]
    with Process(command, log=tmp_path / "sync.log", env=env, cwd=tmp_path) as process:
        wait_until(lambda: slow.arrived.is_set() or not process.running, message="the third page was not asked for")
        assert process.running, process.log_text
        process.kill()
    assert len(generations()) == 4
    proxy.clear()

    # Then nobody else is let in while its lease lasts
    with pytest.raises(WalkUnderWay):
        walk(geo, priority=marking.MANUAL)

    # When it is over and another process takes up
    with connection():
        Lease.update(expires_at=now() - timedelta(seconds=1)).execute()
    assert walk(geo, priority=marking.MANUAL) == NUMBER

    # Then it begins at the third page, and marks each repository once
    assert proxy.count("_catalog") == 3
    assert proxy.requests[0].endswith("last=team%2Fapp-3&n=2")
    assert generations() == ONCE
    assert underway() is None
    assert geo.fresh_site().reconciled_at is not None


def test_a_catalog_that_failed_is_taken_up_where_it_did(walked: tuple[Deployment, Proxy]) -> None:
    geo, proxy = walked
    # Given a catalog that breaks off
    proxy.rule("_catalog.*app-5", status=500)
    with pytest.raises(ServerError):
        walk(geo)
    assert geo.fresh_site().reconcile_requested_at is not None

    # When it works again
    proxy.clear()
    assert walk(geo) == NUMBER

    # Then only the rest of it is asked for
    assert proxy.count("_catalog") == 2
    assert generations() == ONCE


@pytest.mark.parametrize("status", [400, 404, 416])
def test_a_marker_that_is_refused_begins_anew_once(walked: tuple[Deployment, Proxy], status: int) -> None:
    geo, proxy = walked
    # Given a walk that was left, and a registry that does not know its own link any more
    proxy.rule("_catalog.*app-5", status=500)
    with pytest.raises(ServerError):
        walk(geo)
    proxy.clear()
    proxy.rule("_catalog.*app-5", status=status, times=1)

    # When it is taken up, then it is walked from the beginning, and nothing is marked twice
    assert walk(geo) == NUMBER
    assert proxy.count("_catalog") == 1 + 5
    assert generations() == ONCE


def test_a_walk_that_got_nowhere_for_an_hour_begins_anew(walked: tuple[Deployment, Proxy]) -> None:
    geo, proxy = walked
    # Given a walk that was left long ago
    proxy.rule("_catalog.*app-5", status=500)
    with pytest.raises(ServerError):
        walk(geo)
    left = underway()
    assert left is not None
    with connection():
        long_ago = now() - backfill.STALE - timedelta(seconds=1)
        CatalogWalk.update(started_at=long_ago, updated_at=long_ago).execute()
        Registry.update(full_sync_requested_at=long_ago).execute()
    proxy.clear()

    # When it is asked for again, then everything is looked at
    assert walk(geo) == NUMBER
    assert proxy.count("_catalog") == 5
    assert set(generations().values()) == {1, 2}


def test_who_asks_by_hand_means_everything(walked: tuple[Deployment, Proxy]) -> None:
    # Given a walk of the scheduler's that was left
    geo, proxy = walked
    proxy.rule("_catalog.*app-5", status=500)
    with pytest.raises(ServerError):
        walk(geo)
    proxy.clear()

    # When a person asks, then what was marked for the scheduler is marked for him as well
    assert walk(geo, priority=marking.MANUAL) == NUMBER
    assert proxy.count("_catalog") == 5
    assert set(generations().values()) == {1, 2}


def test_several_at_once_do_not_double_the_work(walked: tuple[Deployment, Proxy]) -> None:
    # Given a walk that is under way
    geo, proxy = walked
    gate = threading.Event()
    slow = proxy.rule("_catalog.*app-3", gate=gate)
    with at_work(lambda: walk(geo), slow) as running:
        # When a second process comes to it, then it leaves at once
        with pytest.raises(WalkUnderWay):
            walk(geo)

        # And one that has patience waits
        with Session() as patient:
            waiting = patient.start(
                lambda: backfill.mark_all(geo.fresh_site(), geo.context.primary, priority=marking.MANUAL, patience=30)
            )
            gate.set()
            assert running.result(30) == NUMBER
            assert waiting.result(30) == NUMBER
    assert underway() is None


def test_a_walk_beside_a_sync_by_hand_does_not_ask_for_it_again(walked: tuple[Deployment, Proxy]) -> None:
    # Given a walk that is under way, and a person who asks for a repository that it has not reached
    geo, proxy = walked
    gate = threading.Event()
    slow = proxy.rule("_catalog.*app-3", gate=gate)
    with at_work(lambda: walk(geo), slow) as running:
        geo.event("push", "team/app-8", "v1")
        geo.mark()
        geo.row("team/app-8").replicator.mark()  # type: ignore[attr-defined]
        gate.set()
        assert running.result(30) == NUMBER - 1
    assert generations() == ONCE | {"team/app-8": 2}


def test_another_primary_has_another_catalog(
    walked: tuple[Deployment, Proxy], stocked: DistributionRegistry, secondary: DistributionRegistry
) -> None:
    # Given a walk that was left
    geo, proxy = walked
    proxy.rule("_catalog.*app-5", status=500)
    with pytest.raises(ServerError):
        walk(geo)

    # When the primary's address changes
    env = environment(stocked, secondary, geo.context.settings.database_url.value)
    sites.apply_environment(Settings.from_env(env))
    assert underway() is None

    # Then its catalog is walked from the beginning
    proxy.clear()
    assert walk(geo) == NUMBER
    assert proxy.count("_catalog") == 5


def test_a_registry_without_last_is_no_endless_walk(walked: tuple[Deployment, Proxy]) -> None:
    # Given a catalog that gives the same page with another link each time
    geo, proxy = walked
    page = json.dumps({"repositories": ["team/app-0", "team/app-1"]}).encode()
    for number in range(20, 0, -1):
        link = {"Link": f'</v2/_catalog?token={number}>; rel="next"'}
        proxy.rule("_catalog", status=200, body=page, headers=link, times=1)

    # When, then it is an error and stays asked for
    with pytest.raises(Exception, match="repeats"):
        walk(geo)
    assert proxy.count("_catalog") == 2
    with connection():
        assert Site.get_by_id(geo.site.id).reconcile_requested_at is not None
