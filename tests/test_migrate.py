"""Migrations: there and back, and only one process at a time."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator

import peewee
import pytest

from app import database, migrate
from app.database import connection
from app.models import MODELS
from tests.support.processes import clean_environment
from tests.support.root import ROOT

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
        from app.models import ContainerRepository, Event

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
