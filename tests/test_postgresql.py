"""Every wait on PostgreSQL has an end, also where a machine goes and not a process."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import peewee
import pytest

from app import database, postgresql
from app.database import DatabaseUnavailable, connection, migration_lock, one_at_a_time, transaction
from tests.support.link import Link
from tests.support.postgres import Postgres
from tests.support.sessions import Session, at_once
from tests.support.wait import wait_until

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    """A fresh database; whatever is configured is closed afterwards."""
    url = postgres.create_database()
    yield url
    database.database.close_all()
    postgres.drop_database(url)


def ask(sql: str) -> Any:
    with connection():
        return database.database.execute_sql(sql).fetchone()[0]


def through(link: Link, url: str) -> str:
    """The URL by way of the link, with the shortest patience for a connection that libpq knows."""
    return f"postgresql://postgres@127.0.0.1:{link.port}/{url.rpartition('/')[2]}?connect_timeout=2"


def held_elsewhere() -> bool:
    """Whether another transaction is the one at a time."""
    with transaction():
        query = "SELECT pg_try_advisory_xact_lock(%s, 1)"
        return not database.database.execute_sql(query, (database.READER_LOCK,)).fetchone()[0]


# --- what a connection brings along -----------------------------------------------------------------------------------


def test_both_ends_of_a_connection_have_bounds(url: str) -> None:
    made = database.configure(url)
    assert made.connect_params["tcp_user_timeout"] == 15_000
    assert ask("SHOW lock_timeout") == "1min"
    assert ask("SHOW idle_in_transaction_session_timeout") == "20s"
    assert ask("SHOW tcp_user_timeout") == "15000"
    assert [ask(f"SHOW tcp_keepalives_{name}") for name in ("idle", "interval", "count")] == ["10", "5", "3"]


def test_what_the_operator_says_wins(url: str) -> None:
    # Given a URL and a database that say something else of two of them
    database.configure(url)
    with connection():
        database.database.execute_sql(f"ALTER DATABASE {url.rpartition('/')[2]} SET lock_timeout = '7s'")
    database.database.close_all()
    options = quote("-c idle_in_transaction_session_timeout=3min")

    # When
    made = database.configure(f"{url}?options={options}&tcp_user_timeout=60000")

    # Then that holds, and the others are ours
    assert made.connect_params["tcp_user_timeout"] == 60_000
    assert ask("SHOW lock_timeout") == "7s"
    assert ask("SHOW idle_in_transaction_session_timeout") == "3min"
    assert ask("SHOW tcp_keepalives_idle") == "10"


def test_what_is_read_only_stays_so_whatever_the_url_says(url: str) -> None:
    for options in ("", f"?options={quote('-c lock_timeout=7s')}"):
        reading = database.read_only(url + options)
        with reading.connection_context(), pytest.raises(peewee.InternalError, match="read-only"):
            reading.execute_sql("CREATE TABLE anything (id int)")
        reading.close_all()
    database.configure(url)


# --- locks ------------------------------------------------------------------------------------------------------------


def test_a_lock_is_waited_for_and_not_for_ever(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a transaction that holds a lock for good
    monkeypatch.setattr(postgresql, "LOCK_TIMEOUT", 0.3)
    database.configure(url)
    with Session() as other:
        other.begin()
        other.do(lambda: one_at_a_time(1))

        # Then who waits for it is told so
        with pytest.raises(peewee.OperationalError, match="lock timeout"), transaction():
            one_at_a_time(1)

    # And once it is free the same connections go on
    with transaction():
        one_at_a_time(1)


def test_a_transaction_that_stands_still_loses_what_it_had_locked(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a transaction that holds a lock, and does nothing more
    monkeypatch.setattr(postgresql, "IDLE_TIMEOUT", 0.3)
    database.configure(url)
    with Session() as other:
        other.begin()
        other.do(lambda: one_at_a_time(1))

        # Then others have it soon
        with transaction():
            one_at_a_time(1)

        # And who goes on with it is told, and nothing that he does then is done
        with pytest.raises(peewee.PeeweeException, match="idle-in-transaction"):
            other.execute("CREATE TABLE anything (id int)")
        other.lost()
    assert ask("SELECT to_regclass('anything')") is None


def test_a_migration_waits_for_as_long_as_it_takes(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given one that is under way
    monkeypatch.setattr(postgresql, "LOCK_TIMEOUT", 0.2)
    database.configure(url)

    def migrate() -> str:
        with migration_lock():
            return str(ask("SHOW lock_timeout"))

    with Session() as other, migration_lock():
        # When another waits for it, for longer than anybody else would
        running = other.start(migrate)
        with pytest.raises(TimeoutError):
            running.result(1)

    # Then it has its turn, and the connection is as it was for the next
    assert running.result(20) == "0"
    assert ask("SHOW lock_timeout") == "200ms"


# --- machines that go -------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_server_that_is_gone_keeps_nobody_for_long(
    url: str, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a process with several connections that nobody uses, and one that is asked something
    monkeypatch.setattr(postgresql, "SILENCE", 3)
    with Link(postgres.port) as link:
        database.configure(through(link, url))
        opened = threading.Barrier(4)

        def open_one(_: int) -> None:
            with connection():
                opened.wait(20)

        at_once(4, open_one)
        with Session() as asking:
            asked = asking.start(lambda: ask("SELECT pg_sleep(60)"))
            wait_until(lambda: link.connections == 4 and len(database.database._in_use) == 1)

            # When the server's machine goes
            link.vanish()
            began = time.monotonic()

            def use(_: int) -> tuple[type[BaseException], float]:
                try:
                    ask("SELECT 1")
                except (DatabaseUnavailable, peewee.PeeweeException) as error:
                    return type(error), time.monotonic() - began
                raise AssertionError("nobody can have answered")

            told = at_once(6, use)

            # Then each is told, after the silence and one more try to connect; none waits for what the others try
            assert {kind for kind, _ in told} <= {DatabaseUnavailable, peewee.OperationalError}
            assert max(after for _, after in told) < 12
            with pytest.raises(peewee.OperationalError):
                asked.result(10)
        database.database.close_all()


@pytest.mark.long
def test_what_a_machine_that_is_gone_had_locked_is_free_soon(
    url: str, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a machine that holds a lock within a transaction
    monkeypatch.setattr(postgresql, "SILENCE", 3)
    database.configure(url)
    with Link(postgres.port) as link, Session() as other:
        here = database.database.obj
        elsewhere = database.configure(through(link, url))
        try:
            other.begin()
            other.do(lambda: one_at_a_time(1))
            database.database.initialize(here)
            assert held_elsewhere()

            # When it goes
            link.vanish()

            # Then the server takes it back long before its bound for transactions that stand still
            wait_until(lambda: not held_elsewhere(), 12)
        finally:
            database.database.close_all()
            database.database.initialize(elsewhere)
            other.lost()
