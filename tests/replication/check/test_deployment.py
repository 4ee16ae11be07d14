"""A deployment that is off, paused, without a scheduler, or of other registries; as the rows say."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.database import connection, now
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Lease, Site, SyncState
from app.replication.check import Examination, Id, Severity
from app.replication.check import deployment as deployment_check
from app.replication.lease import TTL
from app.replication.status import SCHEDULER
from app.settings import Settings
from tests.replication.check.conftest import only, troubles
from tests.support.deployment import Deployment, offline_environment

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def acting(state: Deployment) -> Deployment:
    """A deployment whose scheduler has just acted."""
    acted(seconds_ago=0)
    return state


def acted(seconds_ago: float) -> None:
    with connection():
        expires = now() + timedelta(seconds=TTL - seconds_ago)
        Lease.insert(name=SCHEDULER, owner="it", token=1, expires_at=expires).on_conflict(
            conflict_target=[Lease.name], update={Lease.expires_at: expires}
        ).execute()


def examined(deployment: Deployment, **env: str) -> Examination:
    url = deployment.context.settings.database_url.value
    return Examination(Settings.from_env(offline_environment(url, **env)))


def test_all_is_well(acting: Deployment) -> None:
    assert troubles(deployment_check.check(examined(acting))) == []


def test_no_scheduler_has_ever_run(state: Deployment) -> None:
    assert only(deployment_check.check(examined(state))).id is Id.SCHEDULER_SILENT


def test_the_scheduler_is_silent(acting: Deployment) -> None:
    acted(seconds_ago=300)
    found = only(deployment_check.check(examined(acting)))
    assert (found.id, "300 s" in found.title) == (Id.SCHEDULER_SILENT, True)


def test_it_is_switched_off(acting: Deployment) -> None:
    found = only(deployment_check.check(examined(acting, GEO_REGISTRY_REPLICATION_ENABLED="false")))
    assert (found.id, "GEO_REGISTRY_REPLICATION_ENABLED=true" in found.fix) == (Id.REPLICATION_OFF, True)


def test_the_site_is_paused(acting: Deployment) -> None:
    with connection():
        Site.update(enabled=False).where(~Site.primary).execute()
    found = only(deployment_check.check(examined(acting)))
    assert (found.id, found.fix) == (Id.SITE_PAUSED, "geo sites resume secondary")


def test_another_environment(acting: Deployment) -> None:
    # Given the environment of other registries than the deployment was set up with
    found = only(deployment_check.check(examined(acting, GEO_SECONDARY_REGISTRY_URL="http://127.0.0.1:11")))

    # Then nothing else is judged by it
    assert found.id is Id.SITES_NOT_APPLIED


def test_nobody_reads_the_events(acting: Deployment) -> None:
    # Given an event that has been waiting for long
    acting.event("push", "team/app", "v1", at=now() - timedelta(minutes=10))

    # When it is looked at, Then
    assert only(deployment_check.check(examined(acting))).id is Id.REPLICATION_STUCK


def test_a_repository_fails(acting: Deployment) -> None:
    # Given one that could not be copied
    acting.event("push", "team/app", "v1")
    acting.mark()
    with connection():
        Registry.update(state=SyncState.FAILED, last_sync_failure="the disk is full").execute()

    # When it is looked at
    found = only(deployment_check.check(examined(acting)))

    # Then it is a warning with the reason: the others go on
    assert (found.id, found.severity, "the disk is full" in found.title) == (
        Id.REPLICATION_FAILING,
        Severity.WARNING,
        True,
    )
