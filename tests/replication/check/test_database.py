"""The database: missing, gone, behind, by another clock."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from app import database, migrate
from app.replication.check import Examination, Id, Severity
from app.replication.check import database as database_check
from app.settings import Settings
from tests.replication.check.conftest import only, troubles
from tests.support.deployment import Deployment, offline_environment
from tests.support.ports import free_port
from tests.support.schema import migrated_further

pytestmark = pytest.mark.timeout(60)


def examination(url: str) -> Examination:
    database.configure(url)
    return Examination(Settings.from_env(offline_environment(url)))


def test_migrated(state: Deployment) -> None:
    assert troubles(database_check.check(Examination(state.context.settings))) == []


def test_unmigrated(state: Deployment) -> None:
    # Given a schema that is behind
    migrate.revert()

    # When it is looked at, Then the command is the cure
    found = only(database_check.check(Examination(state.context.settings)))
    assert (found.id, found.fix) == (Id.DATABASE_UNMIGRATED, "geo migrate")


def test_migrated_by_a_newer_version(state: Deployment) -> None:
    # Given a schema that is ahead
    with migrated_further() as later:
        found = only(database_check.check(Examination(state.context.settings)))

    # Then it is said what is
    assert (found.id, later in found.title) == (Id.DATABASE_NEWER, True)


def test_nobody_listens() -> None:
    found = only(database_check.check(examination(f"postgresql://geo:hush@127.0.0.1:{free_port()}/geo")))
    assert found.id is Id.DATABASE_UNREACHABLE
    assert "hush" not in repr(found)


def test_a_file_that_was_never_made(tmp_path: Path) -> None:
    # Given a directory without a database
    found = only(database_check.check(examination(f"sqlite:///{tmp_path}/geo.db")))

    # Then looking for it has not made one
    assert (found.id, str(tmp_path) in found.title) == (Id.DATABASE_UNREACHABLE, True)
    assert list(tmp_path.iterdir()) == []


def test_another_clock(state: Deployment) -> None:
    # Given a clock of ours that is a minute ahead of the database's
    examined = Examination(state.context.settings, clock=lambda: time.time() + 60)

    # When it is looked at, Then
    found = only(database_check.check(examined))
    assert (found.id, found.severity, "behind" in found.title) == (Id.DATABASE_CLOCK, Severity.WARNING, True)
