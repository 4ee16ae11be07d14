"""Versions to come: the present migrations, and one more."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from playhouse.migrations import Runner

from app import database, migrate
from tests.support.root import ROOT

#: What a later version may want: a column with a default, an index, and what SQLite does by building a table anew,
#: which takes the table's triggers with it, and the memory of ids that were given out and are gone.
GOOD = """
from peewee import SQL, CharField, IntegerField, SqliteDatabase, TextField


def up(migrator, db):
    weight = IntegerField(default=7, constraints=[SQL("DEFAULT 7")])
    migrator.migrate(migrator.add_column("geo_sites", "weight", weight))
    migrator.migrate(migrator.add_index("geo_events", ("action", "occurred_at")))
    anew(migrator, db, TextField)


def down(migrator, db):
    anew(migrator, db, CharField)
    migrator.migrate(migrator.drop_index("geo_events", "geo_events_action_occurred_at"))
    migrator.migrate(migrator.drop_column("geo_sites", "weight"))


def anew(migrator, db, kind):
    triggers, given = [], []
    if isinstance(db, SqliteDatabase):
        triggers = db.execute_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        given = db.execute_sql("SELECT seq, name FROM sqlite_sequence").fetchall()
    for name, _ in triggers:
        db.execute_sql(f"DROP TRIGGER {name}")
    migrator.migrate(
        migrator.alter_column_type("container_repository_references", "failure_reason", kind(null=True)),
        migrator.alter_column_type("geo_events", "replicable_name", kind()),
    )
    for _, trigger in triggers:
        db.execute_sql(trigger)
    for id_and_table in given:
        db.execute_sql("UPDATE sqlite_sequence SET seq = ? WHERE name = ?", id_and_table)
"""

#: One that does the same, and then fails.
BROKEN = GOOD.replace("TextField)\n", "TextField)\n    db.execute_sql('INSERT INTO geo_no_such_table VALUES (1)')\n")


def released(path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> str:
    """Have `app.migrate` know one migration more, whose text that is; its name."""
    directory = path / "migrations"
    shutil.copytree(ROOT / "migrations", directory, ignore=shutil.ignore_patterns("__pycache__"))
    (directory / "9998_later.py").write_text(text)
    monkeypatch.setattr(migrate, "_runner", lambda: Runner(database.database.obj, str(directory)))
    return "9998_later"
