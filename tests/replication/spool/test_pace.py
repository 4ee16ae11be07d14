from __future__ import annotations

from collections.abc import Callable

from app.replication.spool.pace import FAST, MOST, Pace
from tests.support.clock import Clock

MB = 1_000_000


def settled(rate: Callable[[int], float], most: int = MOST) -> tuple[int, int]:
    """Run a transfer whose rate is what `rate` says of so many connections: how many it ends with, and the most."""
    clock = Clock(0.0)
    pace = Pace(most, clock)
    highest = 1
    for _ in range(2000):
        clock.now += 0.01
        pace.count(int(rate(pace.wanted) * 0.01))
        highest = max(highest, pace.look())
    return pace.wanted, highest


def test_a_line_that_is_slow_per_connection_gets_the_most() -> None:
    assert settled(lambda connections: 20 * MB * connections) == (MOST, MOST)


def test_a_line_that_is_full_keeps_one() -> None:
    # One more was tried, and taken back.
    assert settled(lambda _: 20 * MB) == (1, 2)


def test_a_gain_that_ends_ends_the_growth() -> None:
    assert settled(lambda connections: min(20 * MB * connections, 80 * MB)) == (4, 8)


def test_a_small_gain_is_none() -> None:
    assert settled(lambda connections: 20 * MB + 4 * MB * (connections - 1)) == (1, 2)


def test_a_fast_connection_stays_alone() -> None:
    assert settled(lambda connections: 1.1 * FAST * connections) == (1, 1)


def test_never_more_than_the_most() -> None:
    assert settled(lambda connections: 1 * MB * connections, most=3) == (3, 3)
    assert settled(lambda connections: 1 * MB * connections, most=1) == (1, 1)


def test_what_comes_while_new_connections_get_up_to_speed_is_not_measured() -> None:
    # Given connections that bring nothing at first
    clock = Clock(0.0)
    pace = Pace(clock=clock)
    changed_at, connections = 0.0, 1
    for _ in range(1000):
        clock.now += 0.01
        if pace.wanted != connections:
            changed_at, connections = clock.now, pace.wanted
        pace.count(int(0.01 * 20 * MB * connections) if clock.now - changed_at > 0.35 else 0)
        pace.look()

    assert pace.wanted == MOST


def test_a_pause_does_not_count_as_slowness() -> None:
    # Given a line that is slow per connection, and pauses of ten seconds
    clock = Clock(0.0)
    pace = Pace(clock=clock)
    for _ in range(20):
        for _ in range(200):
            clock.now += 0.01
            pace.count(int(0.01 * 20 * MB * pace.wanted))
            pace.look()
        pace.pause()
        clock.now += 10

    assert pace.wanted == MOST


def test_a_settled_pace_stays() -> None:
    clock = Clock(0.0)
    pace = Pace(clock=clock)
    pace.settle(1)
    for _ in range(1000):
        clock.now += 0.01
        pace.count(1000)
        assert pace.look() == 1
