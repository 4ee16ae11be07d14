from __future__ import annotations

import pytest

from app.speed import OVER, Speed
from tests.support.clock import Clock


def test_speed_is_told_once_something_is_known() -> None:
    clock = Clock(100.0)
    speed = Speed(clock)
    assert speed.at(0) is None
    clock.now += 2
    assert speed.at(10) == 5.0


def test_what_was_long_ago_does_not_count() -> None:
    # Given ten a second for a long while
    clock = Clock(100.0)
    speed = Speed(clock)
    count = 0
    for _ in range(30):
        speed.at(count)
        clock.now, count = clock.now + 1, count + 10
    assert speed.at(count) == pytest.approx(10)

    # When nothing comes any more for as long as it is taken over
    for _ in range(int(OVER) + 1):
        clock.now += 1
        told = speed.at(count)

    # Then that is its speed, and not that nothing is known
    assert told == 0.0


def test_counting_anew_begins_anew() -> None:
    clock = Clock(100.0)
    speed = Speed(clock)
    speed.at(1000)
    clock.now += 1
    assert speed.at(5) is None
    clock.now += 1
    assert speed.at(7) == 2.0
