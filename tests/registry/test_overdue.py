from __future__ import annotations

import multiprocessing
import threading
import time

from app.registry.overdue import Watchman
from tests.support.wait import wait_until


def test_what_takes_too_long_is_cut_once() -> None:
    # Given something that never ends by itself
    watchman, cut = Watchman(every=0.01), threading.Event()
    calls: list[float] = []

    def end() -> None:
        calls.append(time.monotonic())
        cut.set()

    # When it is limited
    began = time.monotonic()
    with watchman.limit(0.1, end) as limit:
        assert cut.wait(10)
        assert limit.expired

    # Then it was cut at its time
    assert calls[0] - began >= 0.1
    with watchman.limit(60, end):
        pass
    assert len(calls) == 1


def test_what_ends_in_time_is_left_alone() -> None:
    watchman, cut = Watchman(every=0.01), threading.Event()
    with watchman.limit(0.05, cut.set) as limit:
        pass
    with watchman.limit(0.2, threading.Event().set) as other:
        wait_until(lambda: other.expired)
    assert not limit.expired
    assert not cut.is_set()


def test_one_that_cannot_be_cut_any_more_keeps_no_other_from_it() -> None:
    # Given two, of which one has just been closed
    watchman, cut = Watchman(every=0.01), threading.Event()

    def closed() -> None:
        raise OSError("bad file descriptor")

    # When both are late
    with watchman.limit(0.0, closed), watchman.limit(0.0, cut.set):
        # Then the other is cut all the same
        assert cut.wait(10)


def _in_a_child(watchman: Watchman, results: multiprocessing.SimpleQueue[bool]) -> None:
    watchman.forget()
    cut = threading.Event()
    with watchman.limit(0.0, cut.set):
        results.put(cut.wait(10))


def test_a_child_process_looks_after_its_own() -> None:
    # Given a parent that has something under way
    watchman, cut = Watchman(every=0.01), threading.Event()
    context = multiprocessing.get_context("fork")
    results: multiprocessing.SimpleQueue[bool] = context.SimpleQueue()
    with watchman.limit(3600, cut.set):
        child = context.Process(target=_in_a_child, args=(watchman, results))
        child.start()
        assert results.get()
        child.join()
    assert not cut.is_set()
