"""The connection, and the one place that knows SQLite from PostgreSQL.

A connection belongs to one unit of work (`connection()`) and is never held while bytes travel between registries.
"""

from __future__ import annotations

import contextlib
import fcntl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

import peewee
from peewee import fn
from playhouse.db_url import connect as connect_url
from playhouse.pool import MaxConnectionsExceeded, PooledDatabase, PooledSqliteDatabase

from app import postgresql

T = TypeVar("T")
M = TypeVar("M", bound=peewee.Model)

#: Bound to a real database by `configure`; models are declared against it.
database = peewee.DatabaseProxy()

#: Rows in one write: on SQLite a writer keeps all others waiting, and a registry waits only half a second for us.
MAX_ROWS = 500

#: Seconds that a writer waits for SQLite's single write lock, or a thread for a free pooled connection.
LOCK_TIMEOUT = 10

#: Seconds between two tries for SQLite's write lock.
LOCK_POLL = 0.001

#: Connections in one process. More than the threads of any process of ours, with room for slots of a sync.
MAX_CONNECTIONS = 64

#: Key of the PostgreSQL advisory lock that lets one process migrate at a time.
MIGRATION_LOCK = 0x6765_6F72

#: Class of the advisory locks that let one process at a time read the event log for a site.
READER_LOCK = 0x6765_6F73

#: Class of the advisory locks that let one process at a time count a site's deletions and add its own.
BRAKE_LOCK = 0x6765_6F74

#: Class of the advisory locks that let one process at a time count what is under way for a site, and add to it.
CAPACITY_LOCK = 0x6765_6F76


class DatabaseUnavailable(Exception):
    """The database cannot be reached, or cannot be written; try again when it can."""


class UTCDateTimeField(peewee.DateTimeField):
    """An instant. Takes and gives aware UTC datetimes; stored without zone, with six digits of a second.

    Peewee's own field stores an aware value shifted by the PostgreSQL session's zone, and writes SQLite text whose
    length depends on the value.
    """

    def db_value(self, value: Any) -> Any:
        # An expression (a column, a function) passes through.
        if not isinstance(value, datetime):
            return value
        if value.tzinfo is None:
            raise ValueError(f"{self.name} needs a datetime with a time zone")
        naive = value.astimezone(UTC).replace(tzinfo=None)
        return naive.isoformat(sep=" ", timespec="microseconds") if is_sqlite() else naive

    def python_value(self, value: Any) -> datetime | None:
        if value is None:
            return None
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        instant: datetime = value
        return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def storable(text: str | None, limit: int) -> str | None:
    """What every database takes: PostgreSQL refuses NUL, and whatever a registry says may have one."""
    return None if text is None else text.replace("\x00", "\N{REPLACEMENT CHARACTER}")[:limit]


def value_or(field: peewee.Field, otherwise: Any) -> peewee.Function:
    """The field's own value, or `otherwise` where it has none.

    A bare `fn.COALESCE(field, value)` hands the value over unconverted: SQLite then stores an instant as other text,
    which neither equals nor sorts with what the field writes.
    """
    return fn.COALESCE(field, field.to_value(otherwise))


def configure(url: str) -> peewee.Database:
    """Bind the models to the database at `url` (`sqlite:///path` or `postgresql://…`). Opens no connection.

    Raises:
        ValueError: for a URL of another kind.
    """
    made: peewee.Database = _sqlite(url) if url.startswith("sqlite:") else _postgresql(url)
    database.initialize(made)
    return made


def close() -> None:
    """Close this thread's connection and all that nobody uses. Does nothing before `configure`.

    Not those that other threads use, as the pool's `close_all` would: SQLite then takes the process down with it.
    """
    made = database.obj
    if isinstance(made, PooledDatabase):
        made.close()
        made.close_idle()


class _Sqlite(PooledSqliteDatabase):  # type: ignore[misc]  # untyped
    """SQLite whose writers take turns promptly.

    Its own way to wait for the write lock sleeps longer and longer, up to a tenth of a second, though each holder has
    it for a few milliseconds: a push then waits for nothing, several times. Here one thread of a process at a time
    asks, and asks often.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._turn = threading.Lock()

    def begin(self, lock_type: str | None = None) -> None:
        if lock_type != "IMMEDIATE":
            super().begin(lock_type)
            return
        deadline = time.monotonic() + LOCK_TIMEOUT
        if not self._turn.acquire(timeout=LOCK_TIMEOUT):
            raise peewee.OperationalError("database is locked: too many threads wait to write")
        try:
            own = self.connection()
            own.execute("PRAGMA busy_timeout = 0")
            try:
                self._begin_soon(deadline)
            finally:
                own.execute(f"PRAGMA busy_timeout = {LOCK_TIMEOUT * 1000}")
        finally:
            self._turn.release()

    def _begin_soon(self, deadline: float) -> None:
        while True:
            try:
                super().begin("IMMEDIATE")
                return
            except peewee.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() >= deadline:
                    raise
            time.sleep(LOCK_POLL)


def _sqlite(url: str) -> Any:
    path = Path(unquote(url.removeprefix("sqlite:///"))) if url.startswith("sqlite:///") else None
    if path is None or not path.name:
        raise ValueError("a SQLite DATABASE_URL looks like sqlite:///var/geo.db")
    path.parent.mkdir(parents=True, exist_ok=True)
    return _Sqlite(
        str(path),
        max_connections=MAX_CONNECTIONS,
        timeout=LOCK_TIMEOUT,
        # The pool hands a connection from one thread to the next; no two use it at once.
        check_same_thread=False,
        pragmas=[
            ("journal_mode", "wal"),
            ("synchronous", "full"),
            ("busy_timeout", LOCK_TIMEOUT * 1000),
            ("foreign_keys", 1),
        ],
    )


def read_only(url: str) -> Any:
    """A pool of connections to another PostgreSQL, from which we only read. Opens none.

    Raises:
        ValueError: for a URL of another kind.
    """
    made = _postgresql(url)
    made.reads_only = True
    return made


def _postgresql(url: str) -> Any:
    scheme = urlsplit(url).scheme
    if scheme not in {"postgresql", "postgres"}:
        raise ValueError("DATABASE_URL must begin with sqlite:/// or postgresql://")
    # db_url keeps percent signs in passwords unless told otherwise.
    plain = connect_url(url, unquote_user=True, unquote_password=True)
    return postgresql.Postgresql(
        plain.database,
        max_connections=MAX_CONNECTIONS,
        stale_timeout=300,
        timeout=LOCK_TIMEOUT,
        **{"connect_timeout": 10, **postgresql.silence(), **plain.connect_params},
    )


def is_sqlite() -> bool:
    return isinstance(database.obj, peewee.SqliteDatabase)


@contextlib.contextmanager
def connection() -> Iterator[None]:
    """A connection for one unit of work; nested uses share the outer one.

    Raises:
        DatabaseUnavailable: when none can be opened.
    """
    if not database.is_closed():
        yield
        return
    try:
        database.connect()
    except (peewee.OperationalError, peewee.InterfaceError, MaxConnectionsExceeded) as error:
        raise DatabaseUnavailable(f"cannot open the database: {error}") from error
    try:
        yield
    finally:
        if not database.is_closed():
            database.close()


@contextlib.contextmanager
def transaction() -> Iterator[None]:
    """One transaction on a connection of its own or the current one.

    On SQLite it takes the write lock at once: a transaction that reads first and writes later fails without waiting.
    """
    with connection():
        nested = database.in_transaction()
        with database.atomic("IMMEDIATE") if is_sqlite() and not nested else database.atomic():
            yield


def uncrossed(work: Callable[[], T]) -> T:
    """Do `work`, a transaction, and once more where PostgreSQL ended it because it and another one waited for each
    other crosswise. Where locks can be taken in one order everywhere, do that instead."""
    try:
        return work()
    except peewee.OperationalError as error:
        if sqlstate(error) != _DEADLOCK or database.in_transaction():
            raise
    # Who comes back at once has the first lock again before the other has woken to take it.
    time.sleep(_UNCROSSING)
    return work()


def sqlstate(error: BaseException) -> str | None:
    """PostgreSQL's code of what went wrong; None on SQLite, or where the server did not say it."""
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def is_locked(error: BaseException) -> bool:
    """Whether the database is there, and another transaction kept what was wanted for too long."""
    return sqlstate(error) in _LOCKED


#: PostgreSQL's codes: two waited for each other crosswise; a lock was not to be had in time, for whichever reason.
_DEADLOCK = "40P01"
_LOCKED = frozenset({"55P03", _DEADLOCK})

#: Seconds in which the other of two who were crosswise has what it waited for.
_UNCROSSING = 0.1


def now() -> datetime:
    """The database's clock: the one clock that all processes share. Leases and due times are measured by it."""
    if is_sqlite():
        return datetime.now(UTC)
    with connection():
        row = database.execute_sql("SELECT clock_timestamp() AT TIME ZONE 'UTC'").fetchone()
        instant: datetime = row[0]
        return instant.replace(tzinfo=UTC)


def claim(model: type[M], due: peewee.ModelSelect[M], **values: Any) -> list[M]:
    """Update the rows that `due` selects, at most once each however many processes ask, and return them as updated.

    `due` must select the primary key alone, ordered and limited. One statement: under PostgreSQL the inner select
    skips rows another process is about to take; it stands in a materialized CTE because the planner may run a bare
    `IN (SELECT … LIMIT … SKIP LOCKED)` twice and exceed the limit.
    """
    if is_sqlite() and not due.exists():
        # Nothing to do is no reason to wait for the write lock.
        return []
    with transaction():
        return list(claiming(model, due, **values).execute())


def claiming(model: type[M], due: peewee.ModelSelect[M], **values: Any) -> peewee.ModelUpdate:
    """The query that `claim` runs."""
    if not is_sqlite():
        due = due.for_update("FOR UPDATE SKIP LOCKED")  # type: ignore[arg-type]  # the stub knows only a bool
    picked = due.cte("due", materialized=None if is_sqlite() else True)
    key: Any = model._meta.primary_key
    update = model.update(**values).where(key.in_(picked.select(picked.c[key.column_name])))
    return update.with_cte(picked).returning(model)


def one_at_a_time(key: int, lock_class: int = READER_LOCK) -> None:
    """Wait until no other transaction that asked for `key` is under way. SQLite has one writer at a time anyway.

    An advisory lock and not a row's: locking a row gives the transaction its id at once, and the event log takes its
    own id as a fence, which has to be drawn after what it read.
    """
    if not is_sqlite():
        database.execute_sql("SELECT pg_advisory_xact_lock(%s, %s)", (lock_class, key))


def lock(model: type[peewee.Model], ids: Sequence[int]) -> None:
    """Lock these rows, lowest id first, until the transaction ends; rows that refer to them can still be written.

    A statement that updates many rows takes them in the order in which it finds them, and two that find them in
    different orders wait for each other crosswise. SQLite has one writer at a time anyway.
    """
    if is_sqlite():
        return
    key: Any = model._meta.primary_key
    for batch in in_batches(sorted(ids)):
        rows = model.select(key).where(key.in_(list(batch))).order_by(key)
        list(rows.for_update("FOR NO KEY UPDATE").tuples())  # type: ignore[arg-type]  # the stub knows only a bool


def in_batches(rows: Sequence[T], size: int = MAX_ROWS) -> Iterator[Sequence[T]]:
    """`rows` in slices small enough for one transaction."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def transaction_id() -> int | None:
    """The current PostgreSQL transaction's id, given to it now if it has none yet. None on SQLite.

    Whoever stores events calls it before drawing their ids: a transaction that drew an id is then younger than any
    that has no id of its own yet, and older than the fence that a reader sets who misses the event.
    """
    if is_sqlite():
        return None
    return int(database.execute_sql("SELECT pg_current_xact_id()::text").fetchone()[0])


def storing() -> datetime:
    """`now`, and `transaction_id` given with it in one question: whoever stores events begins with both."""
    if is_sqlite():
        return now()
    row = database.execute_sql("SELECT clock_timestamp() AT TIME ZONE 'UTC', pg_current_xact_id()::text").fetchone()
    instant: datetime = row[0]
    return instant.replace(tzinfo=UTC)


class Running(NamedTuple):
    """The transactions of a PostgreSQL cluster at one moment, by their ids."""

    #: All below have ended.
    lowest: int
    #: None from here on has ended.
    beyond: int


def running(other: Any = None) -> Running | None:
    """Which transactions may be running in the cluster, ours or that of `other`.

    None on SQLite, where one writer at a time commits its ids in order.
    """
    if other is None and is_sqlite():
        return None
    query = "SELECT pg_snapshot_xmin(now)::text, pg_snapshot_xmax(now)::text FROM pg_current_snapshot() AS now"
    lowest, beyond = (other or database).execute_sql(query).fetchone()
    return Running(int(lowest), int(beyond))


@contextlib.contextmanager
def migration_lock() -> Iterator[None]:
    """Only one process at a time is inside, on one machine (SQLite) or on all (PostgreSQL)."""
    if not is_sqlite():
        with connection():
            # The other migration, or a backup that reads the table to be changed, may take as long as it likes; and a
            # migration of its own may compute for long.
            names = ("lock_timeout", "idle_in_transaction_session_timeout")
            bounds = {name: database.execute_sql(f"SHOW {name}").fetchone()[0] for name in names}
            for name in names:
                database.execute_sql(f"SET {name} = 0")
            try:
                database.execute_sql("SELECT pg_advisory_lock(%s)", (MIGRATION_LOCK,))
                yield
            finally:
                # A connection that was ended has neither, and what ended it is to be told.
                with contextlib.suppress(peewee.PeeweeException):
                    database.execute_sql("SELECT pg_advisory_unlock(%s)", (MIGRATION_LOCK,))
                    for name, bound in bounds.items():
                        database.execute_sql("SELECT set_config(%s, %s, false)", (name, bound))
        return
    # A file lock, not BEGIN IMMEDIATE: each migration wants a transaction of its own.
    with Path(f"{database.obj.database}.migrate.lock").open("w") as handle, connection():
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
