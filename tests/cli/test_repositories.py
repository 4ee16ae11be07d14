"""`geo repositories`, `sync`, `why` and `events` between real registries, and where there is nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from app import database, metrics
from app.database import connection, now
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Reference, Site, SyncState
from app.replication import cursor, event_log, membership
from app.replication.event_log import Origin
from tests.cli.conftest import Geo
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import environment, event
from tests.support.registries import DistributionRegistry
from tests.support.wire import push


@pytest.fixture
def wired(
    bare: Geo, primary: DistributionRegistry, secondary: DistributionRegistry, database_url: str
) -> Iterator[Geo]:
    """Commands between two real registries."""
    bare.env.update(environment(primary, secondary, database_url), BROKER_URL="stub://")
    assert bare("migrate").exit_code == 0
    yield bare
    metrics.buffer.close()


def test_where_nothing_is_known_commands_say_what_to_do(geo: Geo) -> None:
    assert "geo sync --all" in geo("repositories").stdout
    assert json.loads(geo("repositories", "--json").stdout) == []
    assert "geo registry-config" in geo("events").stdout
    assert json.loads(geo("events", "--json").stdout) == []
    assert "Nothing" in geo("events", "--quarantined").stdout
    why = geo("why", "team/app:v1")
    assert why.exit_code == 1
    assert "geo sync team/app" in why.stdout


def test_a_registry_that_does_not_answer_is_named(geo: Geo) -> None:
    # Given registries that nobody listens for
    for arguments in (("sync", "team/app"), ("sync", "--all")):
        result = geo(*arguments)
        assert result.exit_code == 1
        assert result.stderr.startswith("geo: ")
        assert "127.0.0.1:9" in result.stderr
        assert "Traceback" not in result.output


def test_a_repository_is_synced_by_hand(
    wired: Geo, primary: DistributionRegistry, secondary: DistributionRegistry
) -> None:
    # Given
    digest = push(primary, "team/app", "v1", images.image())

    # When
    result = wired("sync", "team/app")

    # Then
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("team/app is synced on secondary (1 copied; ")
    assert_same(primary, secondary, "team/app", "v1")
    rows = json.loads(wired("repositories", "--json").stdout)
    assert [(row["path"], row["site"], row["state"], row["last_sync_failure"]) for row in rows] == [
        ("team/app", "secondary", 2, None)
    ]
    assert "synced" in wired("repositories").stdout
    assert wired("repositories", "--state", "failed").stdout.startswith("No repository")
    assert json.loads(wired("repositories", "--json", "--state", "synced").stdout) == rows

    # And again there is nothing to do
    assert "1 already equal" in wired("sync", "team/app").stdout

    # And why tells its story, by tag and by digest
    why = wired("why", "team/app:v1")
    assert why.exit_code == 0
    assert why.stdout.startswith("team/app:v1 on secondary: synced\n")
    assert "full" in why.stdout
    assert "copy" in why.stdout
    (told,) = json.loads(wired("why", "team/app:v1", "--json").stdout)
    assert (told["site"], told["cause"], told["there"], told["state"]) == ("secondary", "synced", True, 2)
    assert told["primary_digest"] == told["secondary_digest"] == digest
    assert [attempt["action"] for attempt in told["attempts"]] == ["copy"]
    assert wired("why", f"team/app:other@{digest}").exit_code == 0


@pytest.mark.parametrize("path", ["Team/App", "team//app", "http://x", "team/app:v1", "../etc", ""])
def test_what_is_no_repository_is_wrong_usage(wired: Geo, path: str) -> None:
    result = wired("sync", path)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""


def test_a_repository_that_the_primary_does_not_have(wired: Geo) -> None:
    result = wired("sync", "no/such")
    assert result.exit_code == 1
    assert "no/such" in result.stderr
    assert json.loads(wired("repositories", "--json").stdout) == []


def test_a_sync_that_fails_exits_1_with_the_reason(
    wired: Geo, primary: DistributionRegistry, secondary: DistributionRegistry
) -> None:
    # Given
    push(primary, "team/app", "v1", images.image())
    secondary.stop()

    # When
    result = wired("sync", "team/app")

    # Then
    assert result.exit_code == 1
    assert secondary.host in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.output
    row = json.loads(wired("repositories", "--json").stdout)[0]
    assert row["state"] == 3
    assert row["retry_count"] == 1
    assert secondary.host in row["last_sync_failure"]
    why = wired("why", "team/app:v1")
    assert why.exit_code == 1
    assert "next try" in why.stdout

    # And the failure is found at a glance
    assert secondary.host in wired("status").stdout


def test_all_are_marked_at_once(wired: Geo, primary: DistributionRegistry) -> None:
    push(primary, "team/app", "v1", images.image())
    push(primary, "team/other", "v1", images.image())
    result = wired("sync", "--all")
    assert result.exit_code == 0
    assert result.stdout.startswith("2 repositories are marked")
    assert {row["state"] for row in json.loads(wired("repositories", "--json").stdout)} == {0}


def test_events_are_listed(geo: Geo) -> None:
    # Given
    database.configure(geo.env["DATABASE_URL"])
    event_log.store([event(tag="v1"), event("delete", tag="old")], [], Origin("distribution", 0))
    with connection():
        cursor.drain(Site.get(~Site.primary))
    database.database.close_all()

    # Then the newest comes first
    rows = json.loads(geo("events", "--json").stdout)
    assert [(row["action"], row["tag"], row["repository"]) for row in rows] == [
        ("delete", "old", "team/app"),
        ("push", "v1", "team/app"),
    ]
    assert len(json.loads(geo("events", "--json", "-n", "1").stdout)) == 1
    assert "team/app" in geo("events").stdout

    # And an image whose event waits is known, though not there
    why = geo("why", "team/app:v1")
    assert why.exit_code == 1
    assert "pending" in why.stdout
    assert geo("why", "team/app:never").exit_code == 1


@contextmanager
def stored() -> Iterator[None]:
    """The database of the commands, let go of afterwards: the next command opens its own."""
    with connection():
        yield
    database.database.close_all()


def test_those_that_failed_are_marked_whatever_their_time(wired: Geo, primary: DistributionRegistry) -> None:
    # Given one repository that failed, one that is synced with a tag that failed, and one in order
    for name in ("failed", "half", "good"):
        push(primary, f"team/{name}", "v1", images.image())
        assert wired("sync", f"team/{name}").exit_code == 0
    with stored():
        rows = {row.container_repository.path: row for row in Registry.select()}
        later = now() + timedelta(hours=1)
        failed = {"state": SyncState.FAILED, "retry_at": later}
        Registry.update(**failed).where(Registry.id == rows["team/failed"].id).execute()
        Reference.update(**failed).where(Reference.registry == rows["team/half"].id).execute()

    # When
    result = wired("sync", "--failed")

    # Then the first two are due
    assert result.exit_code == 0
    assert result.stdout.startswith("2 repositories that failed are marked")
    with stored():
        due = {row.container_repository.path: (row.state, row.full_sync, row.retry_at) for row in Registry.select()}
    assert due["team/good"] == (SyncState.SYNCED, False, None)
    assert due["team/failed"] == due["team/half"] == (SyncState.PENDING, True, None)

    # And a backfill shows how far it is
    assert wired("sync", "--all").exit_code == 0
    shown = wired("status").stdout
    assert "3 repositories found, 0 done, 3 left" in shown
    document = json.loads(wired("status", "--json").stdout)["sites"][0]["backfill"]
    assert (document["found"], document["left"], document["finding"]) == (3, 3, False)

    # And one way at a time is wanted
    assert wired("sync", "--failed", "--all").exit_code == 2
    assert wired("sync", "team/good", "--failed").exit_code == 2
    assert wired("sync", "team/good", "--wait").exit_code == 2


def test_what_is_out_of_scope_is_shown_as_such(wired: Geo, primary: DistributionRegistry) -> None:
    # Given a repository that was replicated and is left out now
    push(primary, "team/app", "v1", images.image())
    assert wired("sync", "team/app").exit_code == 0
    wired.env |= {"GEO_REPOSITORIES": "!team/*", "GEO_TAGS": "semver:>=1.2 <2, !*-rc*"}
    assert wired("migrate").exit_code == 0
    with stored():
        membership.settle(Site.get(~Site.primary))

    # Then
    (site,) = (each for each in json.loads(wired("sites", "--json").stdout) if each["role"] == "secondary")
    assert site["tags"] == ["semver:>=1.2 <2", "!*-rc*"]
    assert "semver:>=1.2 <2 !*-rc*" in wired("sites").stdout
    assert "out of scope" in wired("repositories").stdout
    assert [row["in_scope"] for row in json.loads(wired("repositories", "--json").stdout)] == [False]
    assert "1 repositories, 1 tags" in wired("status").stdout
    why = wired("why", "team/app:v1")
    assert "out of scope" in why.stdout
    assert "is kept there" in why.stdout
    assert wired("sync", "team/app").exit_code == 2
