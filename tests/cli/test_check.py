"""`geo check`: what is said, how it ends, and that it changes nothing it should not."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from app.database import now
from app.models import Lease, RegistryInstance
from app.replication.lease import TTL
from app.replication.status import SCHEDULER
from tests.cli.conftest import Geo, stored
from tests.support.registries import DistributionRegistry

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def running(wired: Geo) -> Geo:
    """A deployment whose scheduler acts, and to which a registry has spoken."""
    with stored():
        Lease.create(name=SCHEDULER, owner="it", token=1, expires_at=now() + timedelta(seconds=TTL))
        RegistryInstance.create(instance_id="one", first_seen_at=now(), last_seen_at=now())
    return wired


def test_all_is_well(running: Geo, secondary: DistributionRegistry) -> None:
    # Given a deployment in order, but for a service that both registries share
    done = running("check")

    # Then each part is told of, the warning with its cure, and it is no failure
    assert done.exit_code == 0, done.output
    assert "ok       database       reachable and migrated" in done.stdout
    assert "warning  registries" in done.stdout
    assert "[shared-trust]" in done.stdout
    assert "0 errors, 1 warning" in done.stdout
    assert "\x1b[" not in done.stdout


def test_something_is_wrong(running: Geo, secondary: DistributionRegistry) -> None:
    # Given a secondary that has become read-only
    secondary.stop()
    secondary.readonly = True
    secondary.start()

    # When it is looked at
    done = running("check")

    # Then what, why and the line are told, and the exit status says so too
    assert done.exit_code == 1
    assert "error    secondary      it is read-only" in done.stdout
    assert "why  Nothing can be copied there" in done.stdout
    assert "fix  storage.maintenance.readonly.enabled: false" in done.stdout


def test_for_scripts(running: Geo) -> None:
    # Given the same as a document
    done = running("check", "--json", GEO_REGISTRY_SERVICE="another")

    # Then it holds the verdict and each finding
    told = json.loads(done.stdout)
    assert (done.exit_code, told["good"]) == (1, False)
    wrong = {(each["id"], each["subject"]) for each in told["findings"] if each["severity"] == "error"}
    assert wrong == {("service-wrong", "primary"), ("service-wrong", "secondary")}
    assert all(set(each) == {"id", "severity", "subject", "title", "why", "fix"} for each in told["findings"])


def test_a_key_that_cannot_be_used_is_a_finding(running: Geo, tmp_path: Path) -> None:
    (tmp_path / "no.key").write_text("no key")
    done = running("check", GEO_PRIMARY_REGISTRY_KEY_PATH=str(tmp_path / "no.key"))
    assert (done.exit_code, "[key-unusable]" in done.stdout) == (1, True)


def test_without_a_database(running: Geo, tmp_path: Path) -> None:
    # Given a directory in which nothing was ever started
    elsewhere = tmp_path / "elsewhere"
    done = running("check", DATABASE_URL=f"sqlite:///{elsewhere}/geo.db")

    # Then the registries are looked at all the same, and no empty database is made
    assert done.exit_code == 1
    assert "[database-unreachable]" in done.stdout
    assert "ok       primary" in done.stdout
    assert not (elsewhere / "geo.db").exists()


def test_wrong_usage(running: Geo) -> None:
    assert running("check", "--webhook", "geo.example.com").exit_code == 2
    assert running("check", GEO_SECONDARY_REGISTRY_URL="").exit_code == 2


def test_the_webhook_is_tried(running: Geo) -> None:
    done = running("check", "--webhook", "http://127.0.0.1:9")
    assert (done.exit_code, "[webhook-unreachable]" in done.stdout) == (1, True)
