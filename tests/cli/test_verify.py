"""`geo verify` between real registries, with a worker and without."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from app import database, metrics
from app.database import connection, now
from app.models import ContainerRepository, Site
from app.models import ContainerRepositoryRegistry as Registry
from app.replication import work
from app.replication.context import current
from app.replication.verification import work as verification
from tests.cli.conftest import Geo
from tests.support import images
from tests.support.compare import assert_same
from tests.support.registries import DistributionRegistry
from tests.support.root import ROOT
from tests.support.wait import wait_until
from tests.support.wire import push


def test_a_repository_is_verified_and_what_is_missing_named(
    wired: Geo, primary: DistributionRegistry, secondary: DistributionRegistry
) -> None:
    # Given a replicated repository
    made = images.image([images.layer(3000)])
    push(primary, "team/app", "v1", made)
    assert wired("sync", "team/app").exit_code == 0

    # When it is whole
    result = wired("verify", "team/app")

    # Then that is said, and with what
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("team/app is whole on secondary: 1 reference at level blobs (")
    told = json.loads(wired("verify", "team/app", "--level", "content", "--json").stdout)
    assert (told["in_order"], told["level"], told["findings"], told["verification_state"]) == (True, "content", [], 2)
    assert told["checksum"] == told["primary_checksum"]
    assert "1/1" in wired("status").stdout

    # And when a blob is gone, it is named
    lost = made.blobs[-1]
    secondary.blob_path(lost.digest).unlink()
    result = wired("verify", "team/app")
    assert result.exit_code == 1
    assert f"v1: the blob {lost.digest} ({len(lost.data)} bytes)" in result.stdout
    assert "1 of 1 references of team/app" in result.stderr
    assert lost.digest in wired("status").stdout
    assert lost.digest in wired("why", "team/app:v1", "--json").output

    # And until it is repaired, the repository is not whole
    told = json.loads(wired("verify", "team/app", "--json").stdout)
    assert (told["in_order"], told["findings"], told["unsynced"]) == (False, [], 1)
    assert wired("sync", "team/app").exit_code == 0
    assert_same(primary, secondary, "team/app", "v1")
    assert wired("verify", "team/app").exit_code == 0


def test_wrong_usage_and_what_is_not_there(geo: Geo) -> None:
    for arguments in ((), ("team/app", "--all"), ("team/app", "--wait"), ("Team:v1",), ("team/app", "--level", "deep")):
        result = geo("verify", *arguments)
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
    result = geo("verify", "team/app")
    assert result.exit_code == 1
    assert "geo sync team/app" in result.stderr


def work_off() -> int:
    """What the workers do."""
    # A query outside `connection()` would open one that this thread never gives back.
    database.database.obj.autoconnect = False
    return verification.run_due(current()) + work.run_due(current())


def test_all_are_marked_and_waited_for(
    wired: Geo, primary: DistributionRegistry, secondary: DistributionRegistry
) -> None:
    # Given two replicated repositories, one of them broken
    made = images.image()
    push(primary, "team/app", "v1", images.image())
    push(primary, "team/broken", "v1", made)
    for name in ("team/app", "team/broken"):
        assert wired("sync", name).exit_code == 0
    secondary.blob_path(made.blobs[-1].digest).unlink()
    # Beyond repair: the primary has lost it as well.
    primary.blob_path(made.blobs[-1].digest).unlink()

    # When they are only asked for
    result = wired("verify", "--all")
    assert result.exit_code == 0
    assert result.stdout.startswith("2 repositories are marked for verification on secondary at level blobs")

    # And when a worker does it, which the command waits for
    command = [sys.executable, "-m", "app", "verify", "--all", "--wait", "--json"]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **wired.env}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as waiting:
        try:
            wait_until(lambda: work_off() < 0 or waiting.poll() is not None, timeout=60)
        finally:
            waiting.kill()
        output = waiting.communicate(timeout=20)[0]
    metrics.buffer.close()
    database.database.obj.close_all()

    # Then the broken one is told
    assert waiting.returncode == 1, output
    told = json.loads(output)
    assert (told["marked"], told["in_order"]) == (2, False)
    assert [each["repository"] for each in told["failed"]] == ["team/broken"]
    assert made.blobs[-1].digest in told["failed"][0]["failure"]

    # And those that failed can be asked for alone
    assert "1 repository is marked" in wired("verify", "--failed").stdout


def test_nobody_waits_for_a_site_that_is_paused(geo: Geo) -> None:
    # Given a repository that waits for its verification, on a site that is paused
    with connection():
        repository = ContainerRepository.create(path="team/app", created_at=now())
        site = Site.get(Site.name == "secondary")
        Registry.create(site=site, container_repository=repository, created_at=now())
    database.database.close_all()
    assert geo("sites", "pause", "secondary").exit_code == 0

    # When somebody waits for it
    result = geo("verify", "--all", "--wait")

    # Then he is told that nobody will do it, and so where replication is switched off
    assert result.exit_code == 1
    assert "1 repository waits, and secondary is paused; `geo sites resume secondary`" in result.stderr
    assert geo("sites", "resume", "secondary").exit_code == 0
    result = geo("verify", "--all", "--wait", "--json", GEO_REGISTRY_REPLICATION_ENABLED="false")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "switched off" in result.stderr
