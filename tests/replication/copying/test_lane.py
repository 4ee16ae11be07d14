from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ALL_COMPLETED, Future, wait

import pytest

from app.registry import Stopped, bulk
from app.replication.copying.lane import Lane
from tests.support.wait import wait_until


@pytest.fixture
def go() -> Iterator[threading.Event]:
    """Lets what the test has stalled go on."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def lane(go: threading.Event) -> Iterator[Lane]:
    made = Lane("lane", 4, 2)
    yield made
    go.set()
    made.shutdown()


def as_bulk(lane: Lane, work: Callable[[], object]) -> Future[object]:
    with bulk():
        return lane.submit(work)


def stall(lane: Lane, go: threading.Event, number: int, *, in_bulk: bool = False) -> list[Future[object]]:
    """Have so many wait for `go`; return when those that may begin have."""
    begun = []

    def work() -> None:
        begun.append(1)
        assert go.wait(10)

    futures: list[Future[object]] = [as_bulk(lane, work) if in_bulk else lane.submit(work) for _ in range(number)]
    wait_until(lambda: len(begun) == min(number, 2 if in_bulk else 4))
    return futures


def test_bulk_leaves_threads_to_what_is_fresh(lane: Lane, go: threading.Event) -> None:
    # Given much more stalled bulk than there are threads
    stalled = stall(lane, go, 40, in_bulk=True)

    # Then what is fresh is done at once, and again
    for number in range(10):
        assert lane.submit(lambda number=number: number).result(5) == number
    assert sum(each.running() for each in stalled) == 2


def test_what_is_fresh_goes_before_bulk(lane: Lane, go: threading.Event) -> None:
    # Given no thread, and somebody who came first with bulk
    stalled = stall(lane, go, 4)
    done: list[str] = []
    late = [as_bulk(lane, lambda: done.append("bulk"))]
    late += [lane.submit(lambda: done.append("fresh")) for _ in range(5)]

    # When there are threads again
    go.set()
    wait(stalled + late, 10)

    # Then bulk was no thread's first choice
    assert sorted(done) == ["bulk"] + ["fresh"] * 5
    assert done[0] == "fresh"


def test_bulk_gets_all_threads_where_nothing_else_is_said(go: threading.Event) -> None:
    lane = Lane("lane", 3)
    begun = threading.Barrier(4)
    futures = [as_bulk(lane, begun.wait) for _ in range(3)]
    begun.wait(10)
    wait(futures, 10)
    lane.shutdown()


def test_all_that_was_asked_is_done_by_no_more_threads_than_said(lane: Lane) -> None:
    names: set[str] = set()

    def work(number: int) -> int:
        names.add(threading.current_thread().name)
        return number

    futures = [lane.submit(work, number) for number in range(200)]
    with bulk():
        futures += [lane.submit(work, number) for number in range(200, 400)]
    assert [future.result(10) for future in futures] == list(range(400))
    assert names <= {f"lane_{number}" for number in range(4)}


def test_an_error_is_whose_future_it_is(lane: Lane) -> None:
    def fail() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        lane.submit(fail).result(5)
    assert lane.submit(lambda: 1).result(5) == 1


def test_the_end_wakes_who_waits_for_what_has_not_begun(lane: Lane, go: threading.Event) -> None:
    # Given more than can begin, both fresh and bulk
    futures = stall(lane, go, 6) + [as_bulk(lane, go.wait) for _ in range(3)]

    # When the lane ends
    lane.shutdown(wait=False, cancel_futures=True)

    # Then who waits for all learns of it, once those under way have ended
    go.set()
    ended, left = wait(futures, 10, return_when=ALL_COMPLETED)
    assert not left
    assert sum(each.cancelled() for each in ended) == 5
    with pytest.raises(Stopped):
        lane.submit(lambda: None)


def test_the_end_may_let_what_was_asked_be_done(lane: Lane, go: threading.Event) -> None:
    futures = stall(lane, go, 9, in_bulk=True) + [lane.submit(go.wait) for _ in range(5)]
    go.set()
    lane.shutdown()
    assert all(each.done() and not each.cancelled() for each in futures)


def test_a_process_out_of_threads_refuses_what_nobody_would_do(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a process that can have no thread
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            lane.submit(lambda: None)

    # Then it goes on once it can, and with those that it has after that
    assert lane.submit(lambda: 1).result(5) == 1
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert [lane.submit(lambda: 2).result(5) for _ in range(3)] == [2, 2, 2]
