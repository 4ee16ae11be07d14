from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from app import database, postgresql
from tests.cli.conftest import Geo, settings
from tests.support.postgres import Postgres
from tests.support.root import ROOT
from tests.support.schema import migrated_further

NAMES = sorted(entry.stem for entry in (ROOT / "migrations").glob("[0-9]*.py"))


def lines(word: str, names: list[str]) -> str:
    return "".join(f"{word}: {name}\n" for name in names) or "The schema is up to date.\n"


def test_three_migrations_at_once(tmp_path: Path, database_url: str) -> None:
    # Given a fresh database
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **settings(database_url)}

    def migrate(_: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "app", "migrate"],
            env=env,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    # When three processes start together
    with ThreadPoolExecutor(3) as threads:
        done = list(threads.map(migrate, range(3)))

    # Then all are content, and one did the work
    assert [one.returncode for one in done] == [0, 0, 0], [one.stderr for one in done]
    assert sorted("applied: 0001_initial" in one.stdout for one in done) == [False, False, True]


def test_down_and_up_again(geo: Geo) -> None:
    # Given a migrated database
    assert geo("migrate").stdout == "The schema is up to date.\n"
    assert geo("migrate", "--status").exit_code == 0

    # When it is led back to the first migration
    back = geo("migrate", "--to", NAMES[0])

    # Then it says so, and asking says what is pending
    assert (back.exit_code, back.stdout) == (0, lines("undone", NAMES[:0:-1]))
    status = geo("migrate", "--status")
    assert (status.exit_code, status.stdout) == (1 if NAMES[1:] else 0, lines("pending", NAMES[1:]))

    # And everything that is known is not deleted by a word too much
    refused = geo("migrate", "--down")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "--to zero" in refused.stderr

    # When that is meant, Then it goes
    assert geo("migrate", "--to", "zero").stdout == f"undone: {NAMES[0]}\n"
    assert geo("migrate", "--down").exit_code == 0
    unmigrated = geo("status")
    assert (unmigrated.exit_code, unmigrated.stdout) == (1, "")
    assert "geo migrate" in unmigrated.stderr

    # And it can be applied again
    assert geo("migrate").stdout == lines("applied", NAMES)
    assert geo("status").exit_code == 0


def test_the_last_migration_is_undone_by_itself(geo: Geo) -> None:
    if len(NAMES) > 1:
        assert geo("migrate", "--down").stdout == f"undone: {NAMES[-1]}\n"
        assert json.loads(geo("migrate", "--json").stdout) == {"applied": NAMES[-1:]}
    assert geo("migrate", "--down", "--status").exit_code == 2
    assert geo("migrate", "--to", "0815").exit_code == 2


def test_a_newer_version_s_database_is_left_alone(geo: Geo) -> None:
    # Given a database that a newer version has migrated further
    with migrated_further() as later:
        database.close()
        # Then every command says so, and what to do
        for command in (("migrate",), ("migrate", "--down"), ("status",), ("up",), ("sync", "--all")):
            result = geo(*command)
            assert (result.exit_code, result.stdout) == (1, ""), command
            assert later in result.stderr
            assert "newer version" in result.stderr
        status = geo("migrate", "--status", "--json")
        assert (status.exit_code, json.loads(status.stdout)) == (1, {"pending": [], "unknown": [later]})
    database.close()
    assert geo("migrate", "--status").exit_code == 0


def test_migrate_writes_the_sites_down(geo: Geo) -> None:
    assert geo("migrate", GEO_SITE_NAME="eu").exit_code == 0
    names = {site["name"] for site in json.loads(geo("sites", "--json").stdout)}
    assert {"primary", "eu"} <= names


@pytest.fixture
def embedded(bare: Geo) -> Geo:
    """With a migrated database that is a file."""
    bare.env.update(settings("sqlite:///var/geo.db"))
    assert bare("migrate").exit_code == 0
    return bare


def test_a_backup_is_whole_and_nobody_elses(embedded: Geo) -> None:
    # Given a deployment, and somebody who is at the database
    with closing(sqlite3.connect(embedded.path / "var/geo.db")) as other:
        other.execute("BEGIN IMMEDIATE")

        # When a backup is made
        result = embedded("backup", "geo-backup.db")
        other.rollback()

    # Then it is there, for its owner alone, with what was known, and says what belongs to it
    assert result.exit_code == 0, result.output
    file = embedded.path / "geo-backup.db"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with closing(sqlite3.connect(file)) as copy:
        assert copy.execute("SELECT name FROM geo_sites ORDER BY name").fetchall() == [("primary",), ("secondary",)]
    assert "var/secret_key" in result.stdout
    assert "var/secret_key" not in embedded("backup", "other.db", GEO_SECRET_KEY="k" * 40).stdout

    # And neither it nor anything else is overwritten
    (embedded.path / "link.db").symlink_to("nowhere.db")
    for name in ("geo-backup.db", "link.db", "var/geo.db"):
        again = embedded("backup", name)
        assert again.exit_code == 1
        assert "nothing is overwritten" in again.stderr
    assert sorted(each.name for each in embedded.path.iterdir()) == ["geo-backup.db", "link.db", "other.db", "var"]


def test_where_no_backup_can_be_made_it_is_said_why(bare: Geo, embedded: Geo) -> None:
    # Given places that cannot be written
    for name in ("no/such/place.db", "var/geo.db/place.db"):
        result = embedded("backup", name)
        assert result.exit_code == 1
        assert "cannot be written" in result.stderr

    # And a database that is damaged
    file = embedded.path / "var/geo.db"
    content = bytearray(file.read_bytes())
    content[len(content) // 2 :] = b"\xff" * (len(content) - len(content) // 2)
    file.write_bytes(content)
    damaged = embedded("backup", "damaged.db")
    assert (damaged.exit_code, (embedded.path / "damaged.db").exists()) == (1, False)

    # And none at all
    assert bare("backup", "none.db", DATABASE_URL="sqlite:///elsewhere/geo.db").exit_code == 1


def test_postgresql_has_its_own(bare: Geo, postgres: Postgres) -> None:
    # Given a deployment with PostgreSQL
    url = postgres.create_database()
    bare.env.update(settings(url))

    # When a backup is asked for, Then it is said how
    result = bare("backup", "geo-backup.db")
    assert (result.exit_code, "pg_dump" in result.stderr) == (1, True)
    postgres.drop_database(url)


def test_what_is_kept_locked_is_said_to_be(geo: Geo, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a database whose sites another process keeps locked
    geo.env["DATABASE_URL"] = url = postgres.create_database()
    assert geo("migrate").exit_code == 0
    monkeypatch.setattr(postgresql, "LOCK_TIMEOUT", 0.3)
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE geo_sites")

        # When a command wants them, then it does not say that the database is not there
        done = geo("status")
    assert done.exit_code == 1
    assert done.stderr.startswith("geo: another process kept the database locked (")
    postgres.drop_database(url)
