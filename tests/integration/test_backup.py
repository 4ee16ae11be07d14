"""A backup made in the middle of pushes is restored: nothing is copied twice for it, and nothing is missing."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.integration.conftest import DeploymentFactory, Pair
from tests.support import images, parts
from tests.support.compare import assert_same
from tests.support.postgres import Postgres
from tests.support.processes import clean_environment
from tests.support.traffic import Traffic, assert_nothing_lost, rows
from tests.support.wait import wait_until
from tests.support.wire import delete_digest, digest_of, push, tags

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

#: Bytes of blobs that were ever written to the secondary, as far as the state knows.
COPIED = "SELECT sum(bytes_copied) FROM sync_attempts"


def test_sqlite(deploy: DeploymentFactory) -> None:
    pair = deploy()
    home = pair.geo.path

    def back_up() -> None:
        assert "geo-backup.db" in pair.geo.geo("backup", "geo-backup.db")

    def restore() -> None:
        for name in ("geo.db-wal", "geo.db-shm"):
            (home / "var" / name).unlink(missing_ok=True)
        (home / "geo-backup.db").replace(home / "var/geo.db")

    lived_on(pair, back_up, restore)


def test_postgresql(deploy: DeploymentFactory, postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.create_database()
    pair = deploy(DATABASE_URL=url)
    file = str(tmp_path / "geo-backup.dump")

    def back_up() -> None:
        _run("pg_dump", "--format=custom", f"--file={file}", url)

    def restore() -> None:
        # As for a machine that is lost: the database is a new one.
        postgres.drop_database(url)
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as admin:
            admin.execute(f'CREATE DATABASE "{url.rpartition("/")[2]}"'.encode())
        _run("pg_restore", "--no-owner", f"--dbname={url}", file)

    lived_on(pair, back_up, restore)
    pair.geo.stop()
    postgres.drop_database(url)


def lived_on(pair: Pair, back_up: Callable[[], None], restore: Callable[[], None]) -> None:
    primary, secondary, geo = pair.primary, pair.secondary, pair.geo

    # Given a deployment, and pushes all the while
    doomed, moved = images.image(), images.image()
    for tag, image in (("doomed", doomed), ("moved", moved), ("kept", images.image())):
        push(primary, "team/app", tag, image)
        _arrives(pair, "team/app", tag)
    with Traffic(primary) as traffic:
        traffic.flows()

        # When a backup is made, and things go on: pushes, a tag that moves, one that is deleted
        back_up()
        traffic.flows()
        push(primary, "team/app", "moved", images.image())
        _arrives(pair, "team/app", "moved")
        delete_digest(primary, "team/app", doomed.digest)
        wait_until(lambda: "doomed" not in tags(secondary, "team/app"), 60, lambda: geo.log_text[-3000:])
        assert_nothing_lost(traffic, secondary, geo)
    wait_until(lambda: "pending" not in geo.geo("repositories"), 60)

    # And the state is lost, and that backup put in its place
    geo.stop()
    restore()
    copied = rows(geo, COPIED)
    geo.start()
    geo.geo("reconcile")

    # Then everything is looked at
    newest = traffic.pushed[-1]
    known = f"SELECT state FROM container_repository_references WHERE name = '{newest.tag}'"
    wait_until(lambda: rows(geo, known) == [(2,)], 90, lambda: geo.geo("repositories") + geo.log_text[-3000:])
    wait_until(lambda: geo.geo("repositories").count("synced") >= 4, 60, lambda: geo.geo("repositories"))

    # And nothing is copied, deleted or different for it
    for repository, tag in (*(("team/app", tag) for tag in ("moved", "kept")), (newest.repository, newest.tag)):
        assert_same(primary, secondary, repository, tag)
    assert "doomed" not in tags(secondary, "team/app")
    assert rows(geo, COPIED) == copied
    assert set(rows(geo, "SELECT action FROM sync_attempts WHERE trigger = 'full'")) <= {("keep",), ("forget",)}

    # And what comes from now on arrives, deletions too
    push(primary, "team/app", "new", images.image())
    _arrives(pair, "team/app", "new")
    kept = digest_of(primary, "team/app", "kept")
    assert kept is not None
    delete_digest(primary, "team/app", kept)
    wait_until(lambda: "kept" not in tags(secondary, "team/app"), 60, lambda: geo.log_text[-3000:])


def _arrives(pair: Pair, repository: str, tag: str) -> None:
    wait_until(
        lambda: digest_of(pair.secondary, repository, tag) == digest_of(pair.primary, repository, tag),
        60,
        lambda: pair.geo.log_text[-3000:],
    )


def _run(program: str, *arguments: str) -> None:
    path = parts.require(program, f"/usr/lib/postgresql/*/bin/{program}")
    subprocess.run([path, *arguments], check=True, env=clean_environment(), capture_output=True)
