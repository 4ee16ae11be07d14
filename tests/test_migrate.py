"""Migrations: there and back, and only one process at a time."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import peewee
import pytest
from playhouse.migrations import Runner

from app import database, migrate
from app.database import connection
from app.models import MODELS, ContainerRepository, Event
from tests.support.ports import free_port
from tests.support.postgres import Postgres
from tests.support.processes import clean_environment
from tests.support.root import ROOT
from tests.support.schema import migrated_further

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def empty(database_url: str) -> Iterator[str]:
    database.configure(database_url)
    database.database.obj.autoconnect = False
    yield database_url
    database.database.close_all()


def tables() -> set[str]:
    with connection():
        return set(database.database.get_tables())


def test_up_down_and_up_again(empty: str) -> None:
    # Given an empty database, which knows that it is
    names = migrate.pending()
    assert names

    # When it is brought up, then all is there, once
    assert migrate.migrate() == names
    assert migrate.pending() == []
    assert migrate.migrate() == []
    ours = {model._meta.table_name for model in MODELS}
    assert ours <= tables()

    # When all is undone, then nothing is left
    undone = []
    while not ours.isdisjoint(tables()):
        undone += migrate.revert()
    assert undone == names[::-1]

    # And it can be brought up again
    assert migrate.migrate() == names
    assert ours <= tables()


def test_the_migrations_make_what_the_models_say(empty: str) -> None:
    # Given the migrated schema
    migrate.migrate()
    with connection():
        for model in MODELS:
            meta = model._meta
            found = {column.name: column for column in database.database.get_columns(meta.table_name)}
            wanted = {field.column_name: field for field in meta.sorted_fields}

            # Then each table has the model's columns, nullable where they are, and its unique indexes
            assert found.keys() == wanted.keys()
            assert {name for name, column in found.items() if column.null} == {
                name for name, field in wanted.items() if field.null
            }
            indexes = {(tuple(i.columns), i.unique) for i in database.database.get_indexes(meta.table_name)}
            for fields, unique in meta.indexes:
                columns = tuple(meta.fields[name].column_name for name in fields)
                assert (columns, unique) in indexes
            for field in meta.sorted_fields:
                if field.unique:
                    assert ((field.column_name,), True) in indexes


def test_rows_that_refer_go_with_what_they_refer_to(empty: str) -> None:
    migrate.migrate()
    instant = database.now()
    with connection():
        repository = ContainerRepository.create(path="a", created_at=instant)
        row = {"event_key": "e", "container_repository": repository, "action": "push"}
        Event.create(**row, occurred_at=instant, created_at=instant)
        repository.delete_instance()
        assert Event.select().count() == 0
        with pytest.raises(peewee.IntegrityError):
            Event.create(**row, occurred_at=instant, created_at=instant)


def test_three_processes_at_once(empty: str) -> None:
    # Given three processes that start at once
    code = (
        "import sys; from app import database, migrate; database.configure(sys.argv[1]);"
        " print(len(migrate.migrate()), migrate.pending())"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, empty],
            cwd=ROOT,
            env=clean_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]

    # When each migrates
    said = [process.communicate(timeout=50) for process in started]

    # Then one of them did it, and all came through
    assert [process.returncode for process in started] == [0, 0, 0], said
    names = [entry.stem for entry in sorted((ROOT / "migrations").glob("[0-9]*.py"))]
    assert sorted(out.split()[0] for out, _ in said) == sorted(["0", "0", str(len(names))])
    assert all(out.endswith("[]\n") for out, _ in said)
    assert migrate.pending() == []


def test_a_migration_that_fails_leaves_nothing_locked(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(importlib.util, "find_spec", lambda _: None)
        with pytest.raises(migrate.Unmigrated):
            migrate.migrate()
    assert migrate.migrate()


def test_the_schema_is_brought_to_any_state(empty: str) -> None:
    # Given a migrated database
    names = migrate.migrate()
    first = names[0]

    # When it is led back to the first state, by name or by number, and on again
    assert migrate.go_to(first) == ([], names[:0:-1])
    assert migrate.go_to("1") == ([], [])
    assert migrate.applied() == [first]
    assert migrate.go_to(names[-1]) == (names[1:], [])

    # Then all is there; and led back before the first, nothing
    assert migrate.pending() == []
    assert migrate.go_to(migrate.ZERO) == ([], names[::-1])
    assert migrate.applied() == []
    assert migrate.go_to("0001") == ([first], [])

    # And what is no migration is told with those that are
    with pytest.raises(ValueError, match=first):
        migrate.go_to("0815")


def test_a_schema_of_a_newer_version_is_left_alone(empty: str) -> None:
    # Given a database that a newer version has migrated further
    names = migrate.migrate()
    with migrated_further() as later:
        # Then this version knows, and neither adds to it nor takes away from it
        assert migrate.difference() == migrate.Difference(unknown=(later,))
        for change in (migrate.migrate, migrate.revert, lambda: migrate.go_to(names[0])):
            with pytest.raises(migrate.Unmigrated, match=later):
                change()
        assert migrate.applied() == [*names, later]
    assert migrate.difference() == migrate.Difference()


def test_a_process_looks_at_the_schema_now_and_then(empty: str) -> None:
    # Given a process that has found the schema to be its own
    migrate.migrate()
    now = 0.0
    watch = migrate.Watch(clock=lambda: now)
    assert watch.wrong() == ""
    with migrated_further() as later:
        # When another version changes it, Then that is found with the next look
        now = migrate.LOOK_EVERY - 0.1
        assert watch.wrong() == ""
        now = migrate.LOOK_EVERY
        assert later in watch.wrong()

    # And what is put right is found sooner
    now += migrate.LOOK_AGAIN
    assert watch.wrong() == ""


def test_what_cannot_be_told_is_not_wrong(empty: str) -> None:
    # Given a database that cannot be reached
    database.configure(f"postgresql://nobody@127.0.0.1:{free_port()}/none")

    # Then whoever needs it will say so
    assert migrate.Watch().wrong() == ""


def test_another_database_is_looked_at_anew(empty: str, tmp_path: Path) -> None:
    # Given one that is not migrated
    watch = migrate.Watch()
    assert "geo migrate" in watch.wrong()
    database.database.close_all()

    # When the process is bound to one that is
    database.configure(f"sqlite:///{tmp_path}/other.db")
    migrate.migrate()

    # Then
    assert watch.wrong() == ""


#: One that fails in its middle, and one that does not.
BROKEN = """
def up(migrator, db):
    db.execute_sql("CREATE TABLE geo_half (id INTEGER PRIMARY KEY)")
    db.execute_sql("ALTER TABLE geo_events ADD COLUMN weight INTEGER")
    db.execute_sql("INSERT INTO geo_no_such_table VALUES (1)")
"""


def test_a_migration_that_fails_in_its_middle_changes_nothing(
    empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a database with an event, and a version whose next migration is broken
    names = migrate.migrate()
    instant = database.now()
    with connection():
        repository = ContainerRepository.create(path="a", created_at=instant)
        row = {"event_key": "e", "container_repository": repository, "action": "push"}
        Event.create(**row, occurred_at=instant, created_at=instant)
    before = tables()
    next_version = tmp_path / "migrations"
    shutil.copytree(ROOT / "migrations", next_version, ignore=shutil.ignore_patterns("__pycache__"))
    (next_version / "9998_broken.py").write_text(BROKEN)
    monkeypatch.setattr(migrate, "_runner", lambda: Runner(database.database.obj, str(next_version)))

    # When it is brought up
    with pytest.raises(migrate.Unmigrated, match=r"9998_broken failed \(.*geo_no_such_table.*as it was"):
        migrate.migrate()

    # Then it is as it was, for this version as for that
    assert tables() == before
    assert migrate.pending() == ["9998_broken"]
    monkeypatch.undo()
    assert (migrate.applied(), migrate.difference()) == (names, migrate.Difference())
    with connection():
        assert "weight" not in {column.name for column in database.database.get_columns("geo_events")}
        assert Event.select().count() == 1


#: One whose connection the server ends, as it does when it is restarted.
CUT = """
def up(migrator, db):
    db.execute_sql("SELECT pg_terminate_backend(pg_backend_pid())")
"""


def test_a_migration_whose_connection_is_ended_is_told_of(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a version whose next migration loses its connection
    database.configure(postgres.create_database())
    migrate.migrate()
    next_version = tmp_path / "migrations"
    shutil.copytree(ROOT / "migrations", next_version, ignore=shutil.ignore_patterns("__pycache__"))
    (next_version / "9998_cut.py").write_text(CUT)
    monkeypatch.setattr(migrate, "_runner", lambda: Runner(database.database.obj, str(next_version)))

    # When it is brought up, then that is what is said, and not what came of it
    with pytest.raises(migrate.Unmigrated, match=r"migration was cut off \(.*closed\)"):
        migrate.migrate()

    # And the next try goes on from there
    assert migrate.pending() == ["9998_cut"]
    database.database.close_all()
