"""`geo sync` between real registries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta

import pytest
import redis

from app.database import now
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Reference, SyncState
from tests.cli.conftest import Geo, stored
from tests.support import images
from tests.support.compare import assert_same
from tests.support.registries import DistributionRegistry
from tests.support.root import ROOT
from tests.support.valkey import Valkey
from tests.support.wire import push


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


def test_who_marks_wakes_the_workers(wired: Geo, primary: DistributionRegistry, valkey: Valkey) -> None:
    # Given two repositories, and a queue that nobody reads
    push(primary, "team/app", "v1", images.image())
    push(primary, "team/other", "v1", images.image())
    env = {"PATH": os.environ["PATH"], **wired.env, "REDIS_URL": valkey.url, "BROKER_URL": valkey.url}

    def geo(*arguments: str) -> None:
        # In a process of its own: the broker is made once in each.
        subprocess.run([sys.executable, "-m", "app", *arguments], env=env, cwd=ROOT, check=True, capture_output=True)

    # When both are marked, then there is a message for each
    with redis.Redis.from_url(valkey.url) as queue:
        geo("sync", "--all")
        assert queue.llen("dramatiq:backfill") == 2

        # And where nothing has failed, nobody is woken
        queue.flushall()
        geo("sync", "--failed")
        assert queue.keys("dramatiq:*") == []

        # And so it is with who asks for verifications
        geo("verify", "--all")
        assert queue.llen("dramatiq:verification") == 2
        queue.flushall()
        geo("verify", "--failed")
        assert queue.keys("dramatiq:*") == []


def test_nobody_waits_for_a_paused_site(wired: Geo, primary: DistributionRegistry) -> None:
    # Given a site that is paused
    push(primary, "team/app", "v1", images.image())
    assert wired("sites", "pause", "secondary").exit_code == 0

    # When
    result = wired("sync", "--all", "--wait")

    # Then it is said what to do
    assert result.exit_code == 1
    assert "1 repository waits, and secondary is paused" in result.stderr
    assert "geo sites resume secondary" in result.stderr
