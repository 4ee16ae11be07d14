from __future__ import annotations

import pytest

from app.replication.verification.capacity import Capacity, runs


@pytest.mark.parametrize(("threads", "expected"), [(1, 1), (3, 1), (8, 2), (64, 16)])
def test_a_quarter_of_the_threads_may_verify(threads: int, expected: int) -> None:
    capacity = Capacity(threads)
    assert runs(threads) == expected
    assert [capacity.take() for _ in range(expected + 1)] == [True] * expected + [False]
    capacity.give_back()
    assert capacity.take()


def test_requests_are_spread_evenly() -> None:
    # Given ten requests a second, and a clock that goes by what is slept
    time = 100.0
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal time
        slept.append(round(seconds, 3))
        time += seconds

    capacity = Capacity(8, 10, clock=lambda: time, sleep=sleep)

    # When
    for _ in range(4):
        capacity.pace()
    assert slept == [0.1, 0.1, 0.1]

    # Then a pause is not made up for
    time += 60
    capacity.pace()
    capacity.pace()
    assert slept == [0.1, 0.1, 0.1, 0.1]


def test_without_a_rate_nobody_waits() -> None:
    def sleep(_seconds: float) -> None:
        raise AssertionError("nobody should wait")

    capacity = Capacity(8, 0, sleep=sleep)
    for _ in range(100):
        capacity.pace()
