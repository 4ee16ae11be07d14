"""A thread with a database connection of its own, which does one thing after the other as a test tells it to."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

from peewee import PeeweeException

from app.database import DatabaseUnavailable, connection, database, transaction
from tests.support.proxy import Rule

T = TypeVar("T")


class Session:
    """`with Session() as other: other.begin(); other.do(work); other.commit()`: a second process, as it were."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._stack = contextlib.ExitStack()

    def do(self, work: Callable[[], T], timeout: float = 20) -> T:
        """Run `work` there and return what it returns."""
        return self.start(work).result(timeout)

    def start(self, work: Callable[[], T]) -> Future[T]:
        """Run `work` there; it may have to wait for somebody."""
        return self._thread.submit(work)

    def begin(self) -> None:
        """Open a transaction that stays open."""
        self.do(lambda: self._stack.enter_context(transaction()))

    def commit(self) -> None:
        self.do(self._stack.close)

    def rollback(self) -> None:
        self.do(self._rollback)

    def lost(self) -> None:
        """Give up a transaction that the server has ended, and its connection."""
        with contextlib.suppress(PeeweeException, DatabaseUnavailable):
            self.rollback()

    def _rollback(self) -> None:
        with contextlib.suppress(_Undone), self._stack:
            raise _Undone

    def execute(self, sql: str) -> None:
        """Run a statement in the transaction that is open there, else in one of its own."""

        def work() -> None:
            with connection():
                database.execute_sql(sql)

        self.do(work)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.rollback()
        finally:
            self._thread.shutdown()


@contextlib.contextmanager
def at_work(work: Callable[[], T], *rules: Rule) -> Iterator[Future[T]]:
    """Have another thread do the work, which has come to each of these rules; the future has what it returns."""
    with Session() as worker:
        running = worker.start(work)
        for rule in rules:
            assert rule.arrived.wait(20), rule.pattern
        yield running


class _Undone(Exception):
    pass


@contextlib.contextmanager
def undone() -> Iterator[None]:
    """A transaction that fails at its end."""
    with contextlib.suppress(_Undone), transaction():
        yield
        raise _Undone


def at_once(number: int, work: Callable[[int], T]) -> list[T]:
    """Call `work(0)` … `work(number - 1)` in as many threads, begun together; return what they return, in order."""
    gate = threading.Barrier(number)

    def begin(place: int) -> T:
        gate.wait(20)
        return work(place)

    with ThreadPoolExecutor(number) as threads:
        return [future.result(60) for future in [threads.submit(begin, place) for place in range(number)]]
