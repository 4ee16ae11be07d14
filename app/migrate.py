"""Bring the schema up to date, one process at a time."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from playhouse.migrations import Runner

from app.database import connection, database, migration_lock


class Unmigrated(Exception):
    """The schema is not the one this version needs; `geo migrate` brings it up to date."""


def migrate() -> list[str]:
    """Apply what is pending; return the names applied. Safe when several processes call it at once."""
    with migration_lock():
        return list(_runner().up())


def revert(target: str | None = None) -> list[str]:
    """Undo the last migration, or all back through `target`; return the names undone."""
    with migration_lock():
        return list(_runner().down(target))


def pending() -> list[str]:
    """Names of the migrations that this version has and the database has not."""
    with connection():
        return [m.name for m in _runner().status() if m.applied is None]


def _runner() -> Runner:
    spec = importlib.util.find_spec("migrations")
    if spec is None or spec.origin is None:
        raise Unmigrated("the migrations are not installed beside the application")
    return Runner(database.obj, str(Path(spec.origin).parent))
