"""A newer version migrates the database while the older one still runs: that stands back, and nothing is lost."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import DeploymentFactory
from tests.support.postgres import Postgres
from tests.support.root import ROOT
from tests.support.running import Running
from tests.support.traffic import Traffic, assert_nothing_lost, failures, refusals
from tests.support.wait import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

#: The last migration of this version.
LAST = max(entry.stem for entry in (ROOT / "migrations").glob("[0-9]*.py"))

#: What the newer version adds. An older program would store events without it.
MIGRATION = """
def up(migrator, db):
    db.execute_sql("CREATE TABLE geo_of_the_future (id INTEGER PRIMARY KEY)")
    db.execute_sql("ALTER TABLE geo_events ADD COLUMN weight INTEGER")


def down(migrator, db):
    db.execute_sql("ALTER TABLE geo_events DROP COLUMN weight")
    db.execute_sql("DROP TABLE geo_of_the_future")
"""


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """A newer version of the program, which has one migration more."""
    there = tmp_path / "newer"
    for name in ("app", "workers", "migrations"):
        shutil.copytree(ROOT / name, there / name, ignore=shutil.ignore_patterns("__pycache__"))
    (there / "migrations/9999_future.py").write_text(MIGRATION)
    return there


def run_newer(newer: Path, geo: Running, *arguments: str) -> str:
    """Run a command of the newer version beside a deployment of the older one."""
    done = subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        env={**geo.env, "PYTHONPATH": str(newer)},
        cwd=geo.path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_older_version_stands_back(
    deploy: DeploymentFactory, newer: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    # Given a deployment, and pushes all the while
    extra = {}
    if kind == "postgresql":
        server: Postgres = request.getfixturevalue("postgres")
        extra = {"DATABASE_URL": server.create_database()}
    pair = deploy(**extra)
    geo = pair.geo
    with Traffic(pair.primary) as traffic:
        traffic.flows()

        # When a newer version migrates its database
        assert "applied: 9999_future" in run_newer(newer, geo, "migrate")

        # Then it says so, takes nothing in, and does nothing
        wait_until(lambda: geo.get("/-/readiness").status_code == 503, 20, "it is ready all the same")
        assert "9999_future" in geo.get("/-/readiness").text
        assert "newer version" in geo.geo("status", status=1)
        assert any(
            each["id"] == "database-newer" for each in json.loads(geo.geo("check", "--json", status=1))["findings"]
        )
        wait_until(lambda: geo.post({"events": []}).status_code == 503, 20, "events are taken in")
        traffic.flows()
        wait_until(lambda: pair.primary.pending_notifications() > 0)
        wait_until(lambda: geo.log_text.count("nothing is done here") >= 3, 20, lambda: geo.log_text[-3000:])

        # And it cannot be started like that either
        geo.stop()
        assert "newer version" in geo.geo("up", status=1)

        # When the newer one goes back, Then the older one goes on where it was
        assert "undone: 9999_future" in run_newer(newer, geo, "migrate", "--to", LAST)
        geo.start()
        traffic.flows()

        # When the newer version takes its place, Then that goes on
        geo.stop()
        geo.env["PYTHONPATH"] = str(newer)
        geo.start()
        assert "9999_future" in geo.log_text
        traffic.flows()

        # And nothing was lost, and nothing refused for good
        assert_nothing_lost(traffic, pair.secondary, geo)
    assert (refusals(geo), failures(geo)) == (0, set())
    geo.stop()


def test_what_runs_on_goes_on_by_itself(deploy: DeploymentFactory, newer: Path) -> None:
    # Given a deployment whose database a newer version has migrated
    pair = deploy()
    with Traffic(pair.primary) as traffic:
        traffic.flows()
        run_newer(newer, pair.geo, "migrate")
        wait_until(lambda: pair.geo.post({"events": []}).status_code == 503, 20, "events are taken in")
        traffic.flows()

        # When that is undone, and nothing is started anew
        run_newer(newer, pair.geo, "migrate", "--down")

        # Then everything is made up for
        assert_nothing_lost(traffic, pair.secondary, pair.geo)
    assert refusals(pair.geo) == 0
    assert "the schema is this version's again" in pair.geo.log_text
