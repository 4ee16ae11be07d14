"""Lane: threads of one process that take what somebody waits for before bulk."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, TypeVar

from app.registry import Stopped
from app.registry.limits import is_bulk

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class _Task:
    future: Future[Any]
    work: Callable[[], Any]

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            result = self.work()
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever awaits the future
            self.future.set_exception(error)
        else:
            self.future.set_result(result)

    def drop(self) -> None:
        # `wait` counts a cancelled future as ended only once it has been told of it.
        if self.future.cancel():
            self.future.set_running_or_notify_cancel()


class Lane(Executor):
    """At most `threads` threads, begun as they are needed, of which bulk may hold `bulk` (by default all).

    Work runs in the context of whoever submits it: what he asks as bulk is bulk there too, and waits until nothing
    fresh does. Within each kind it goes in order.
    """

    def __init__(self, name: str, threads: int, bulk: int | None = None) -> None:
        self._name = name
        self._most = threads
        self._most_bulk = threads if bulk is None else bulk
        self._changed = threading.Condition(threading.Lock())
        self._fresh: deque[_Task] = deque()
        self._bulk: deque[_Task] = deque()
        self._in_bulk = 0
        #: Threads that wait and have not been woken for something.
        self._idle = 0
        self._threads: list[threading.Thread] = []
        self._closed = False

    def submit(self, work: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have `work` done, in time.

        Raises:
            Stopped: after `shutdown`.
        """
        context = copy_context()
        future: Future[T] = Future()
        task = _Task(future, lambda: context.run(work, *args, **kwargs))
        bulk = is_bulk()
        with self._changed:
            if self._closed:
                raise Stopped("the process ends")
            queue = self._bulk if bulk else self._fresh
            queue.append(task)
            if not bulk or self._in_bulk < self._most_bulk:
                self._call(queue)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take nothing more; `cancel_futures` drops what has not begun, `wait` waits for the rest."""
        dropped: list[_Task] = []
        with self._changed:
            self._closed = True
            if cancel_futures:
                dropped = [*self._fresh, *self._bulk]
                self._fresh.clear()
                self._bulk.clear()
            self._idle = 0
            self._changed.notify_all()
        for task in dropped:
            task.drop()
        if wait:
            for thread in self._threads:
                thread.join()

    def _call(self, queue: deque[_Task]) -> None:
        """Have some thread come for what has just been put there. The lock is held."""
        if self._idle:
            # Counted here and not when it wakes: until then others would count on it too.
            self._idle -= 1
            self._changed.notify()
            return
        if len(self._threads) == self._most:
            return
        # Daemons: a process whose lanes nobody closed must be able to end.
        thread = threading.Thread(target=self._work, name=f"{self._name}_{len(self._threads)}", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # No thread can be had now. Those there are will come for it; without any, nobody would.
            if not self._threads:
                queue.pop()
                raise
            return
        self._threads.append(thread)

    def _work(self) -> None:
        bulk = False
        while True:
            with self._changed:
                self._in_bulk -= bulk
                while not (self._fresh or (self._bulk and self._in_bulk < self._most_bulk)):
                    if self._closed:
                        # What is left is bulk, and who is at bulk now takes it.
                        return
                    self._idle += 1
                    self._changed.wait()
                bulk = not self._fresh
                task = (self._bulk if bulk else self._fresh).popleft()
                self._in_bulk += bulk
            task.run()
            # Not kept while waiting for the next: it may hold a whole image.
            del task
