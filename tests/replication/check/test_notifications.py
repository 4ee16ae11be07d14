"""Notifications of a real registry to a real webhook: with another secret, without `ignore`, not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.database import connection, now
from app.models import MetricValue, RegistryInstance, Site
from app.notifications import Quarantined
from app.replication import event_log
from app.replication.check import Id, Severity
from app.replication.check import notifications as notifications_check
from app.replication.event_log import Origin
from tests.replication.check.conftest import Examine, only, troubles
from tests.support import images
from tests.support.deployment import SECRET, environment, event
from tests.support.ports import free_port
from tests.support.registries import DistributionRegistry, Endpoint, RegistryFactory
from tests.support.running import WEBHOOK
from tests.support.wait import wait_until
from tests.support.web import Web
from tests.support.wire import push

pytestmark = pytest.mark.timeout(90)


def counted(name: str) -> float:
    with connection():
        return sum(row.value for row in MetricValue.select().where(MetricValue.name == name))


@contextmanager
def receiving(
    tmp_path: Path,
    registry_factory: RegistryFactory,
    secondary: DistributionRegistry,
    sqlite_database: str,
    *,
    secret: str = SECRET,
    ignore: bool = False,
) -> Iterator[DistributionRegistry]:
    """A primary that tells a web process of what happens there, an image among it."""
    port = free_port()
    endpoint = Endpoint(f"http://127.0.0.1:{port}{WEBHOOK}", secret=secret, ignore=ignore)
    primary = registry_factory("telling", notify=[endpoint])
    env = environment(primary, secondary, sqlite_database, BROKER_URL="stub://")
    (tmp_path / "web").mkdir()
    with Web(tmp_path / "web", env, port=port, migrate=False):
        push(primary, "team/app", "v1", images.image())
        yield primary


def test_another_secret(
    tmp_path: Path,
    registry_factory: RegistryFactory,
    secondary: DistributionRegistry,
    sqlite_database: str,
    examine: Examine,
) -> None:
    # Given a primary that sends another secret, and repeats what was refused
    with receiving(tmp_path, registry_factory, secondary, sqlite_database, secret="wrong") as primary:
        examination = examine(primary, secondary, {"watch": 30.0})
        wait_until(lambda: counted("geo_webhook_requests_total") > 0, timeout=30, message="nothing arrived")

        # When it is looked at
        found = only(notifications_check.check(examination))

    # Then it is the secret, and not the configuration that is missing; the secret itself is not shown
    assert (found.id, "just now" in found.title) == (Id.NOTIFICATION_SECRET, True)
    assert SECRET not in repr(found)


def test_pulls_and_blobs_arrive(
    tmp_path: Path,
    registry_factory: RegistryFactory,
    secondary: DistributionRegistry,
    sqlite_database: str,
    examine: Examine,
) -> None:
    # Given a primary that tells of everything
    with receiving(tmp_path, registry_factory, secondary, sqlite_database) as primary:
        examination = examine(primary, secondary, {"watch": 30.0})
        wait_until(lambda: counted("geo_webhook_events_total") > 0, timeout=30, message="nothing arrived")

        # When a look at a manifest of its is told of as well
        found = only(notifications_check.check(examination))

    # Then it is a warning
    assert (found.id, found.severity) == (Id.NOTIFICATIONS_IGNORABLE, Severity.WARNING)


def test_only_what_matters_arrives(
    tmp_path: Path,
    registry_factory: RegistryFactory,
    secondary: DistributionRegistry,
    sqlite_database: str,
    examine: Examine,
) -> None:
    # Given a primary as it should be
    with receiving(tmp_path, registry_factory, secondary, sqlite_database, ignore=True) as primary:
        examination = examine(primary, secondary)
        wait_until(lambda: counted("geo_webhook_events_total") > 0, timeout=30, message="nothing arrived")

        # When it is looked at, Then
        assert troubles(notifications_check.check(examination)) == []


def test_refusals_of_long_ago_are_no_trouble(
    registry_factory: RegistryFactory, secondary: DistributionRegistry, examine: Examine
) -> None:
    # Given requests that were refused once, and notifications that have arrived since
    examination = examine(registry_factory("quiet"), secondary, {"watch": 0.0})
    with connection():
        MetricValue.create(name="geo_webhook_requests_total", labels='{"status":"401"}', value=9)
        RegistryInstance.create(instance_id="one", first_seen_at=now(), last_seen_at=now())

    # When it is looked at, Then
    assert troubles(notifications_check.check(examination)) == []


def test_none_are_configured(
    registry_factory: RegistryFactory, secondary: DistributionRegistry, examine: Examine
) -> None:
    # Given a primary that tells nobody, looked at as a whole some time ago
    primary = registry_factory("mute")
    examination = examine(primary, secondary, {"watch": 0.0})
    looked_at()

    # When nothing was pushed since, Then it is only said that nothing ever came
    assert only(notifications_check.check(examination)).id is Id.NOTIFICATIONS_NEVER

    # When something is, Then it is sure
    push(primary, "team/new", "v1", images.image())
    found = only(notifications_check.check(examination))
    assert (found.id, "team/new" in found.title) == (Id.NOTIFICATIONS_MISSING, True)


def test_they_have_ceased(registry_factory: RegistryFactory, secondary: DistributionRegistry, examine: Examine) -> None:
    # Given a repository that an event told of
    primary = registry_factory("ceased")
    examination = examine(primary, secondary, {"watch": 0.0})
    looked_at()
    push(primary, "team/app", "v1", images.image())
    told("v1")
    assert troubles(notifications_check.check(examination)) == []

    # When another tag comes and nothing tells of it
    push(primary, "team/app", "v2", images.image())

    # Then that one is named
    found = only(notifications_check.check(examination))
    assert (found.id, "team/app:v2" in found.title) == (Id.NOTIFICATIONS_MISSING, True)


def test_what_cannot_be_read(
    registry_factory: RegistryFactory, secondary: DistributionRegistry, examine: Examine
) -> None:
    # Given something from a registry process that was no notification
    examination = examine(registry_factory("quiet"), secondary)
    event_log.store([], [Quarantined("not_json", "{")], Origin("distribution", 1))
    with connection():
        RegistryInstance.create(instance_id="one", first_seen_at=now(), last_seen_at=now())

    # When it is looked at, Then
    found = only(notifications_check.check(examination))
    assert (found.id, "not_json" in found.title) == (Id.EVENTS_UNREADABLE, True)


def looked_at() -> None:
    """The initial backfill is over."""
    with connection():
        Site.update(reconciled_at=now()).where(~Site.primary).execute()


def told(tag: str) -> None:
    event_log.store([event(repository="team/app", tag=tag)], [], Origin("distribution", 1))
