from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.registry import Stopped, bulk
from app.registry.limits import is_bulk
from app.replication.copying.lanes import LARGE, LARGE_BULK, LARGE_THREADS, SMALL_THREADS, Lanes, finish
from tests.support.wait import wait_until


@pytest.fixture
def lanes() -> Iterator[Lanes]:
    made = Lanes()
    yield made
    made.close()


def test_size_decides_the_lane(lanes: Lanes) -> None:
    assert lanes.of(LARGE - 1) is lanes.small
    assert lanes.of(LARGE) is lanes.of(None) is not lanes.small


def test_what_is_asked_as_bulk_is_bulk_in_the_lane_too(lanes: Lanes) -> None:
    assert lanes.small.submit(is_bulk).result() is False
    with bulk():
        assert lanes.small.submit(is_bulk).result() is True
    assert lanes.small.submit(is_bulk).result() is False


def test_each_gives_the_results_in_order(lanes: Lanes) -> None:
    assert lanes.each(str, [3, 1, 2]) == ["3", "1", "2"]
    assert lanes.each(str, []) == []


def test_an_error_stops_what_has_not_begun_and_waits_for_what_has(lanes: Lanes) -> None:
    # Given more work than threads, of which one fails while the others wait
    go, done = threading.Event(), []

    def work(number: int) -> None:
        if number == 0:
            threading.Timer(0.5, go.set).start()
            raise ValueError("the first")
        go.wait(10)
        done.append(number)

    with pytest.raises(ValueError, match="the first"):
        lanes.each(work, range(10 * SMALL_THREADS))

    # Then nothing runs any more: what had begun has ended, and the rest never began
    seen = len(done)
    assert 0 < seen < 5 * SMALL_THREADS
    assert lanes.small.submit(lambda: len(done)).result() == seen


def test_stalled_blobs_leave_room_for_fresh_ones(lanes: Lanes) -> None:
    # Given more bulk than there are threads, and a stalled image of eight layers
    go = threading.Event()
    large = lanes.of(LARGE)
    with bulk():
        stalled = [large.submit(go.wait, 10) for _ in range(2 * LARGE_THREADS)]
    stalled += [large.submit(go.wait, 10) for _ in range(LARGE_THREADS - LARGE_BULK - 1)]

    # Then a fresh one goes through
    assert large.submit(lambda: True).result(5)

    go.set()
    finish(stalled)


def test_closing_wakes_who_waits_for_what_never_begins(lanes: Lanes) -> None:
    # Given a copy that waits for more than there are threads
    go = threading.Event()
    futures = [lanes.small.submit(go.wait, 10) for _ in range(2 * SMALL_THREADS)]
    with ThreadPoolExecutor(2) as threads:
        copying = threads.submit(finish, futures)

        # When the process ends
        closing = threads.submit(lanes.close)
        wait_until(futures[-1].cancelled)
        go.set()

        # Then it is told
        closing.result(5)
        with pytest.raises(Stopped):
            copying.result(5)
