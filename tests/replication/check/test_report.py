"""The report: everything is looked at, whatever a check runs into."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from app import database
from app.registry import Unreachable
from app.replication import check
from app.replication.check import Examination, Finding, Id, Severity
from app.replication.check.examination import Skipped
from app.replication.check.finding import fine
from app.settings import Settings
from tests.replication.check.conftest import Examine, troubles
from tests.support.deployment import offline_environment
from tests.support.keys import KeyPair, TokenAuth
from tests.support.ports import free_port
from tests.support.registries import DistributionRegistry, RegistryFactory
from tests.support.valkey import Valkey

pytestmark = pytest.mark.timeout(60)


def examination(**options: float) -> Examination:
    return Examination(Settings.from_env(offline_environment("sqlite:///nowhere.db")), **options)  # type: ignore[arg-type]


def good(_: Examination) -> Sequence[Finding]:
    return [fine("good", "is")]


def test_one_that_hangs_does_not_stop_the_others() -> None:
    # Given a check that does not come back
    over = threading.Event()

    def hangs(_: Examination) -> Sequence[Finding]:
        over.wait(30)
        return []

    # When it is given a moment
    report = check.examine(examination(limit=0.2), {"first": hangs, "second": good})
    over.set()

    # Then that is a finding, and the next one is made
    assert [finding.id for finding in report.findings] == [Id.CHECK_TIMEOUT, Id.FINE]
    assert not report.good


@pytest.mark.parametrize(
    ("problem", "expected", "well"),
    [
        (Unreachable("gone"), Id.CHECK_SKIPPED, True),
        (Skipped("there is no database"), Id.CHECK_SKIPPED, True),
        (KeyError("ours"), Id.CHECK_FAILED, False),
    ],
)
def test_one_that_fails_does_not_stop_the_others(problem: Exception, expected: Id, well: bool) -> None:
    # Given a check that raises
    def raises(_: Examination) -> Sequence[Finding]:
        raise problem

    # When, Then it is told, and the next one is made
    report = check.examine(examination(), {"first": raises, "second": good})
    assert [finding.id for finding in report.findings] == [expected, Id.FINE]
    assert report.good is well


def test_nothing_works(bound: Examination) -> None:
    # Given a deployment of which no part answers
    report = check.examine(bound)

    # When it is looked at, Then every check says something of its own, and none has failed
    found = set(troubles(report.findings))
    assert {Id.DATABASE_UNREACHABLE, Id.QUEUE_MISSING, Id.REGISTRY_UNREACHABLE, Id.CHECK_SKIPPED} <= found
    assert not {Id.CHECK_FAILED, Id.CHECK_TIMEOUT} & found


@pytest.fixture
def bound() -> Examination:
    url = f"postgresql://geo@127.0.0.1:{free_port()}/geo"
    database.configure(url)
    return Examination(Settings.from_env(offline_environment(url)))


def test_a_whole_deployment(
    primary: DistributionRegistry, secondary: DistributionRegistry, valkey: Valkey, examine: Examine
) -> None:
    # Given two registries, a queue and a database; no scheduler runs, and nothing was pushed
    report = check.examine(examine(primary, secondary, REDIS_URL=valkey.url))

    # When it is looked at, Then only what is missing is found
    ids = [Id.WORKERS_MISSING, Id.SHARED_TRUST, Id.SCHEDULER_SILENT, Id.NOTIFICATIONS_NEVER]
    assert troubles(report.findings) == ids
    assert (report.good, report.count(Severity.WARNING), report.count(Severity.ERROR)) == (False, 2, 2)


def test_distribution_3(registry_factory: RegistryFactory, keys: KeyPair, valkey: Valkey, examine: Examine) -> None:
    # Given two registries of version 3, of which the primary has another issuer
    primary = registry_factory("primary3", version="3", token=TokenAuth(keys, issuer="gitlab-issuer"))
    secondary = registry_factory("secondary3", version="3", token=TokenAuth(keys))
    wrong = check.examine(examine(primary, secondary, REDIS_URL=valkey.url, GEO_REGISTRY_ISSUER="geo-registry"))
    right = check.examine(
        examine(
            primary,
            secondary,
            REDIS_URL=valkey.url,
            GEO_PRIMARY_REGISTRY_ISSUER="gitlab-issuer",
            GEO_SECONDARY_REGISTRY_ISSUER="geo-registry",
        )
    )

    # When they are looked at, Then that is told, and once it is right all is well
    assert Id.ISSUER_UNTRUSTED in troubles(wrong.findings)
    assert troubles(right.findings) == [Id.WORKERS_MISSING, Id.SCHEDULER_SILENT, Id.NOTIFICATIONS_NEVER]


def test_a_deployment_of_the_primary_alone(
    primary: DistributionRegistry, secondary: DistributionRegistry, valkey: Valkey, examine: Examine
) -> None:
    # Given one that only takes in events
    report = check.examine(examine(primary, secondary, REDIS_URL=valkey.url, GEO_ROLE="primary"))

    # When it is looked at, Then nothing is said of a secondary that it does not have
    assert troubles(report.findings) == [Id.SCHEDULER_SILENT, Id.NOTIFICATIONS_NEVER]
