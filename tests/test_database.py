"""The one place that knows SQLite from PostgreSQL."""

from __future__ import annotations

import contextlib
import gc
import sqlite3
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import peewee
import pytest

from app import database, migrate
from app.database import DatabaseUnavailable, connection, transaction
from app.models import ContainerRepository, Lease
from tests.support.postgres import Postgres
from tests.support.sessions import Session, at_once, undone

pytestmark = pytest.mark.timeout(60)

NOON = datetime(2026, 7, 1, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def migrated(database_url: str) -> Iterator[str]:
    database.configure(database_url)
    database.database.obj.autoconnect = False
    migrate.migrate()
    yield database_url
    database.database.close_all()


def make(name: str, at: datetime = NOON) -> None:
    with connection():
        Lease.create(name=name, expires_at=at)


# --- instants ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "instant",
    [
        NOON,
        NOON.replace(microsecond=0),
        NOON.replace(microsecond=100),
        NOON.astimezone(timezone(timedelta(hours=5, minutes=45))),
    ],
)
def test_an_instant_comes_back_as_it_went_in(migrated: str, instant: datetime) -> None:
    make("a", instant)
    with connection():
        found = Lease.get(Lease.name == "a").expires_at
    assert found == instant
    assert found.tzinfo is UTC


def test_instants_are_compared_as_instants(migrated: str) -> None:
    # Given instants that differ in digits and in zone, and a session of another zone
    whole = NOON.replace(microsecond=0)
    make("earlier", whole)
    make("later", (whole + timedelta(microseconds=1)).astimezone(timezone(timedelta(hours=-8))))
    with connection():
        if not database.is_sqlite():
            database.database.execute_sql("SET TIME ZONE 'Asia/Tokyo'")

        # Then they compare as they are
        assert [row.name for row in Lease.select().order_by(Lease.expires_at)] == ["earlier", "later"]
        assert [row.name for row in Lease.select().where(Lease.expires_at <= whole)] == ["earlier"]
        assert Lease.select(peewee.fn.MIN(Lease.expires_at)).scalar() == whole


def test_an_instant_without_a_zone_is_refused(migrated: str) -> None:
    with pytest.raises(ValueError, match="time zone"):
        make("a", datetime(2026, 7, 1))  # noqa: DTZ001 - that is the mistake


def test_the_database_clock_is_in_utc(migrated: str) -> None:
    assert abs(database.now() - datetime.now(UTC)) < timedelta(seconds=5)


# --- URLs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "mysql://host/db", "geo.db", "sqlite:geo.db"])
def test_urls_of_nothing_we_know_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="DATABASE_URL"):
        database.configure(url)


def test_a_sqlite_path_may_be_anywhere(tmp_path: Path) -> None:
    database.configure(f"sqlite:///{tmp_path}/not/there/yet/my%20geo.db")
    with connection():
        database.database.execute_sql("SELECT 1")
    assert (tmp_path / "not/there/yet/my geo.db").exists()
    database.database.close_all()


def test_a_sqlite_database_is_durable_and_waits(tmp_path: Path) -> None:
    database.configure(f"sqlite:///{tmp_path}/geo.db")
    with connection():
        settings = {
            name: database.database.execute_sql(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 10_000}
    database.database.close_all()


def test_a_password_may_hold_anything() -> None:
    made = database.configure("postgres://geo:p%40ss%2Fw%25@127.0.0.1:5555/geo?sslmode=require")
    parameters = made.connect_params
    assert (parameters["user"], parameters["password"], parameters["sslmode"]) == ("geo", "p@ss/w%", "require")


# --- connections and transactions -------------------------------------------------------------------------------------


def test_a_connection_is_given_back(migrated: str) -> None:
    # Given a hundred units of work in threads that end, one after the other
    for number in range(100):
        thread = threading.Thread(target=make, args=(f"n{number}",))
        thread.start()
        thread.join()

    # Then they shared few connections, none of which is in use
    pool = database.database.obj
    assert len(pool._in_use) == 0
    assert len(pool._connections) <= 2


def test_nested_uses_share_the_outer_connection(migrated: str) -> None:
    with connection():
        outer = database.database.connection()
        with connection(), transaction():
            assert database.database.connection() is outer
        assert not database.database.is_closed()
    assert database.database.is_closed()


def test_a_transaction_is_whole_or_nothing(migrated: str) -> None:
    with undone():
        make("a")
        with transaction():
            make("b")
    with transaction():
        make("c")
        with undone():
            make("d")
    with connection():
        assert [row.name for row in Lease.select()] == ["c"]


def test_readers_that_become_writers_wait_instead_of_failing(migrated: str) -> None:
    # Given transactions that read before they write
    make("counter")

    def add(_: int) -> None:
        for _ in range(20):
            with transaction():
                row = Lease.select().where(Lease.name == "counter")
                found = row.get() if database.is_sqlite() else row.for_update().get()
                Lease.update(token=found.token + 1).where(Lease.name == "counter").execute()

    # When many run at once
    at_once(6, add)

    # Then none fails and none is lost
    with connection():
        assert Lease.get(Lease.name == "counter").token == 120


def test_a_writer_waits_for_its_turn_and_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given another process that writes, for long
    path = tmp_path / "geo.db"
    database.configure(f"sqlite:///{path}")
    migrate.migrate()
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(database, "LOCK_TIMEOUT", 0.3)

    def write(number: int) -> str:
        try:
            with transaction():
                make(f"n{number}")
        except peewee.OperationalError as error:
            return str(error)
        return "written"

    # When several threads want to, then each is told at last
    assert all("locked" in said for said in at_once(3, write))

    # And when it ends while they wait, each has its turn
    monkeypatch.setattr(database, "LOCK_TIMEOUT", 20)
    ending = threading.Timer(0.2, lambda: other.execute("COMMIT"))
    ending.start()
    assert at_once(3, write) == ["written"] * 3
    ending.join()
    other.close()

    # And what is no transaction waits by itself as before
    with connection():
        assert database.database.execute_sql("PRAGMA busy_timeout").fetchone()[0] == 20_000
    database.database.close_all()


def test_a_database_that_is_away_says_so(postgres: Postgres) -> None:
    url = postgres.create_database()
    database.configure(url)
    with connection():
        database.database.execute_sql("SELECT 1")
    database.database.close_all()

    # Given a server that is down
    postgres.stop()
    try:
        with pytest.raises(DatabaseUnavailable, match="cannot open"), connection():
            pass
    finally:
        postgres.start()

    # Then it is there again when the server is
    with connection():
        database.database.execute_sql("SELECT 1")
    database.database.close_all()
    postgres.drop_database(url)


def test_a_restart_of_the_server_costs_one_unit_of_work_at_most(postgres: Postgres) -> None:
    # Given a pooled connection of a server that restarts
    url = postgres.create_database()
    database.configure(url)
    with connection():
        database.database.execute_sql("SELECT 1")
    postgres.stop()
    postgres.start()

    with warnings.catch_warnings():
        # The pool drops a connection that the server closed, and does not close it itself.
        warnings.simplefilter("ignore", ResourceWarning)

        # When it is used, which may be in vain
        with contextlib.suppress(peewee.OperationalError), connection():
            database.database.execute_sql("SELECT 1")

        # Then the broken one is not handed out again
        with connection():
            database.database.execute_sql("SELECT 1")
        gc.collect()
    database.database.close_all()
    postgres.drop_database(url)


def test_more_threads_than_connections_wait_and_then_are_told(migrated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a pool that is used up
    pool = database.database.obj
    monkeypatch.setattr(pool, "_max_connections", 1)
    monkeypatch.setattr(pool, "_wait_timeout", 0.2)
    with Session() as other:
        other.begin()
        other.execute("SELECT 1")

        # When one more is asked for, then that is the database's absence, not an error of ours
        with pytest.raises(DatabaseUnavailable), connection():
            pass
        other.commit()
    with connection():
        assert Lease.select().count() == 0


# --- claim and lock ---------------------------------------------------------------------------------------------------


def test_a_claim_takes_no_more_than_asked_and_nothing_twice(migrated: str) -> None:
    # Given two hundred rows
    with transaction():
        ContainerRepository.insert_many([{"path": f"p{number}", "created_at": NOON} for number in range(200)]).execute()
    free = ContainerRepository.created_at == NOON
    later = NOON + timedelta(days=1)

    def take(_: int) -> list[int]:
        mine: list[int] = []
        while True:
            with connection():
                due = ContainerRepository.select(ContainerRepository.id).where(free).limit(7)
                got = database.claim(ContainerRepository, due.order_by(ContainerRepository.id), created_at=later)
            assert len(got) <= 7
            assert all(row.created_at == later for row in got)
            if not got:
                return mine
            mine += [row.id for row in got]

    # When eight take them, seven at a time
    taken = [row_id for mine in at_once(8, take) for row_id in mine]

    # Then each was taken once
    assert len(taken) == len(set(taken)) == 200


def test_rows_locked_in_one_order_cannot_deadlock(migrated: str) -> None:
    with transaction():
        ContainerRepository.insert_many([{"path": f"p{number}", "created_at": NOON} for number in range(50)]).execute()
        ids = [row.id for row in ContainerRepository.select()]

    def act(place: int) -> None:
        for number in range(20):
            with transaction():
                database.lock(ContainerRepository, ids[:: 1 if (number + place) % 2 else -1])
                for row_id in ids[:: -1 if place % 2 else 1]:
                    ContainerRepository.update(created_at=NOON).where(ContainerRepository.id == row_id).execute()

    at_once(4, act)


def test_batches_cover_everything_once() -> None:
    rows = list(range(1203))
    batches = list(database.in_batches(rows))
    assert [row for batch in batches for row in batch] == rows
    assert [len(batch) for batch in batches] == [500, 500, 203]
    assert list(database.in_batches([])) == []


def test_closing_leaves_alone_what_another_thread_uses(migrated: str) -> None:
    # Given a thread in the middle of its unit of work, and a connection that nobody uses
    begun, go_on = threading.Event(), threading.Event()

    def work() -> int:
        with connection():
            begun.set()
            assert go_on.wait(20)
            return ContainerRepository.select().count()

    with connection():
        pass
    with ThreadPoolExecutor(1) as other:
        counted = other.submit(work)
        assert begun.wait(20)

        # When
        database.close()

        # Then its own is still there, and only that
        assert len(database.database._in_use) == 1
        assert database.database._connections == []
        go_on.set()
        assert counted.result(20) == 0
