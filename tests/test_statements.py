"""Statements give what the query itself gives, on both kinds of database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from peewee import EXCLUDED, IntegrityError

from app import database, migrate
from app.database import connection, transaction
from app.models import ContainerRepository, Lease, MetricValue
from app.statements import Statement, slot

NOON = datetime(2026, 7, 1, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture(autouse=True)
def migrated(database_url: str) -> Iterator[None]:
    database.configure(database_url)
    migrate.migrate()
    with connection():
        yield
    database.database.close_all()


def test_each_run_brings_its_own_values() -> None:
    # Given
    for number in range(3):
        ContainerRepository.create(path=f"p{number}", created_at=NOON)
    statement = Statement(
        lambda: (
            ContainerRepository.select()
            .where((ContainerRepository.path == slot("path")) | ContainerRepository.path.in_(["p0"]))
            .order_by(ContainerRepository.id)
            .limit(slot("limit"))
        )
    )

    # When / Then
    assert [row.path for row in statement.rows(path="p2", limit=5)] == ["p0", "p2"]
    assert [row.path for row in statement.rows(path="p1", limit=5)] == ["p0", "p1"]
    assert [row.path for row in statement.rows(path="p1", limit=1)] == ["p0"]
    assert isinstance(statement.first(path="p1", limit=1), ContainerRepository)
    assert statement.first(path="p1", limit=0) is None


def test_instants_are_stored_as_the_column_has_them() -> None:
    # Given
    insert = Statement(lambda: Lease.insert(name=slot("name"), expires_at=slot("at", Lease.expires_at)))
    update = Statement(
        lambda: Lease.update(expires_at=slot("at", Lease.expires_at)).where(Lease.name == slot("name")).returning(Lease)
    )
    by_name = Lease.select().where(Lease.name == "a")

    # When
    insert.execute(name="a", at=NOON)

    # Then
    assert by_name.get().expires_at == NOON
    later = NOON.replace(hour=13)
    assert [row.expires_at for row in update.rows(name="a", at=later)] == [later]
    assert by_name.get().expires_at == later
    assert update.rows(name="other", at=later) == []


def test_it_says_how_many_rows_it_changed() -> None:
    Lease.create(name="a", expires_at=NOON)
    statement = Statement(lambda: Lease.update(token=Lease.token + slot("more")).where(Lease.name == slot("name")))
    with transaction():
        assert statement.execute(name="a", more=2) == 1
        assert statement.execute(name="b", more=2) == 0
    assert Lease.get(Lease.name == "a").token == 2


def test_a_value_that_is_missing_is_a_mistake() -> None:
    statement = Statement(lambda: Lease.select().where(Lease.name == slot("name")))
    with pytest.raises(KeyError):
        statement.rows()


def test_one_is_run_for_each_of_many_rows_in_their_order() -> None:
    # Given a statement that adds where there is something already
    insert = Statement(
        lambda: MetricValue.insert(name=slot("name"), labels="{}", bucket="", value=slot("value")).on_conflict(
            conflict_target=[MetricValue.name, MetricValue.labels, MetricValue.bucket],
            update={MetricValue.value: MetricValue.value * 10 + EXCLUDED.value},
        )
    )

    # When it is run for several rows, one of them twice
    with transaction():
        insert.each([{"name": "a", "value": 1}, {"name": "b", "value": 2}, {"name": "a", "value": 3}])

    # Then each has been, after those before it
    assert {row.name: row.value for row in MetricValue.select()} == {"a": 13, "b": 2}

    # And what the database refuses is an error like any other
    with pytest.raises(IntegrityError), transaction():
        insert.each([{"name": "c", "value": 1}, {"name": None, "value": 1}])
    assert MetricValue.select().count() == 2
