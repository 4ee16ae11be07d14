from __future__ import annotations

import os
import sqlite3
from contextlib import closing

import psycopg
import pytest
import redis

from tests.support.postgres import Postgres
from tests.support.valkey import Valkey


def test_valkey_keeps_its_data_when_killed(valkey: Valkey) -> None:
    # Given a value in each database
    for number in (0, 1):
        with valkey.client(number) as client:
            client.set("name", str(number))

    # When it is killed and started again
    valkey.kill()
    assert not valkey.running
    valkey.start()

    # Then they are there, by every address
    for url in (valkey.url, valkey.socket_url):
        with redis.Redis.from_url(url) as client:
            assert client.get("name") == b"0"
    with redis.Redis.from_url(valkey.broker_url) as client:
        assert client.get("name") == b"1"


@pytest.mark.parametrize("turn", ["fill", "look"])
def test_valkey_is_empty_for_every_test(valkey: Valkey, turn: str) -> None:
    # Given / When
    with valkey.client() as client:
        found = client.dbsize()
        client.set("left", turn)

    # Then
    assert found == 0


@pytest.mark.parametrize("turn", [1, 2])
def test_every_test_has_an_empty_database(database_url: str, turn: int) -> None:
    # Given / When / Then a table can be made in each turn
    statement = "CREATE TABLE events (id INTEGER)"
    if database_url.startswith("sqlite:"):
        with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"))) as connection:
            connection.execute(statement)
    else:
        with psycopg.connect(database_url) as session:
            session.execute(statement)


def test_postgres_survives_a_kill_and_copies_a_template(postgres: Postgres) -> None:
    # Given a database with a row, and a client that stays connected
    template = postgres.create_database()
    with psycopg.connect(template, autocommit=True) as session:
        session.execute("CREATE TABLE events AS SELECT 7 AS id")
        # When the server is killed under it, and started again
        postgres.kill()
    postgres.start()

    # Then the row is there, and in a copy
    copy = postgres.create_database(template.rpartition("/")[2])
    with psycopg.connect(copy) as session:
        assert session.execute("SELECT id FROM events").fetchall() == [(7,)]

    # When it is dropped / Then it is gone
    postgres.drop_database(copy)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(copy)
    postgres.drop_database(template)


def test_postgres_stops_although_a_client_is_connected(postgres: Postgres) -> None:
    # Given
    url = postgres.create_database()
    with psycopg.connect(url):
        # When
        postgres.stop()

        # Then
        assert not postgres.running


def test_the_environment_of_the_person_is_not_that_of_the_tests() -> None:
    # Given / When
    foreign = [name for name in os.environ if name.startswith("GEO_") or name.endswith(("_proxy", "_BUNDLE"))]

    # Then
    assert foreign == []
