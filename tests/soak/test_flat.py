"""The judge finds what grows, and nothing else: every series is made by hand."""

from __future__ import annotations

import random

import pytest

from tests.soak.flat import Ceiling, Limit, Point, Rate, Series, judge, steepness, thinned

#: As half an hour with a look every five seconds.
TIMES = [5.0 * number for number in range(360)]


def series(values: list[float], times: list[float] = TIMES) -> Series:
    return Series("memory", "MiB", (tuple(zip(times, values, strict=True)),))


def noise(seed: int, spread: float) -> list[float]:
    rng = random.Random(seed)
    return [rng.gauss(0.0, spread) for _ in TIMES]


@pytest.mark.parametrize("seed", range(20))
def test_noise_holds(seed: int) -> None:
    # Given a process that takes 60 MiB, give or take three, and once in a while thirty more
    rng = random.Random(seed)
    values = [60.0 + each + (30.0 if rng.random() < 0.05 else 0.0) for each in noise(seed, 1.0)]

    # When / Then
    assert judge(series(values), Limit(2.0, 0.04)).holds


@pytest.mark.parametrize("seed", range(20))
def test_a_small_leak_in_the_same_noise_is_found(seed: int) -> None:
    # Given the same, and four MiB more at the end of the half hour
    rng = random.Random(seed)
    values = [
        60.0 + 4.0 * place / len(TIMES) + each + (30.0 if rng.random() < 0.05 else 0.0)
        for place, each in enumerate(noise(seed, 1.0))
    ]

    # When
    found = judge(series(values), Limit(2.0, 0.04))

    # Then
    assert not found.holds
    assert found.measured == pytest.approx(4.0, abs=0.7)


def test_what_falls_holds() -> None:
    assert judge(series([90.0 - place / 10 for place in range(360)]), Limit(1.0)).holds


def test_a_step_towards_the_end_is_found() -> None:
    # Given handles that stay where they are, but for ten that are not given back in the last minutes
    values = [40.0] * 306 + [50.0] * 54

    # When / Then: most pairs of points see nothing of it
    assert not judge(series(values), Limit(2.0)).holds


def test_a_peak_that_passes_holds() -> None:
    # Given connections that are opened while a registry refuses, and closed again
    values = [10.0] * 160 + [60.0] * 40 + [10.0] * 160

    # When / Then
    assert judge(series(values), Limit(2.0)).holds


def test_the_worst_of_several_lives_counts() -> None:
    # Given two workers, of which one leaks
    still = tuple((at, 60.0) for at in TIMES)
    leaking = tuple((at, 60.0 + at / 100) for at in TIMES)

    # When
    found = judge(Series("memory", "MiB", (still, leaking)), Limit(2.0))

    # Then
    assert not found.holds
    assert found.measured == pytest.approx(18.0, abs=0.5)


def test_a_restart_hides_no_leak() -> None:
    # Given a process that leaks, is restarted half-way and leaks again
    one = tuple((at, 60.0 + at / 100) for at in TIMES[:180])
    two = tuple((at, 60.0 + (at - TIMES[180]) / 100) for at in TIMES[180:])

    # When / Then
    assert not judge(Series("memory", "MiB", (one, two)), Limit(2.0)).holds


def test_what_a_new_process_takes_as_it_begins_is_no_leak() -> None:
    # Given one life that stays where it is, and a short one that fills its caches
    long = tuple((at, 60.0) for at in TIMES[:240])
    short = tuple((at, 30.0 + at - TIMES[240]) for at in TIMES[240:])

    # When / Then
    assert judge(Series("memory", "MiB", (long, short)), Limit(2.0)).holds


@pytest.mark.parametrize("lives", [(), (((0.0, 1.0),),)])
def test_what_cannot_be_judged_does_not_hold(lives: tuple[tuple[Point, ...], ...]) -> None:
    assert not judge(Series("memory", "MiB", lives), Limit(1e9)).holds


def test_short_lives_alone_do_not_hold() -> None:
    # Given a process that never lives for long
    lives = tuple(tuple((at, 1.0) for at in TIMES[begin : begin + 60]) for begin in range(0, 360, 60))

    # When
    found = judge(Series("memory", "MiB", lives), Limit(10.0))

    # Then
    assert found.why == "no life is long enough"


def test_rows_are_held_to_what_was_done() -> None:
    # Given a table with two rows for each push, by how much had been pushed
    pushes = [float(number) for number in range(0, 3600, 10)]
    rows = series([100.0 + 2.0 * each for each in pushes], pushes)

    # When / Then
    assert judge(rows, Rate(2.05)).holds
    assert not judge(rows, Rate(1.9)).holds
    assert judge(rows, Rate(2.05)).measured == pytest.approx(2.0)


def test_nothing_passes_a_ceiling() -> None:
    spool = series([10.0] * 359 + [65.0])

    assert judge(spool, Ceiling(65.0)).holds
    assert not judge(spool, Ceiling(64.0)).holds


def test_the_larger_of_both_limits_is_allowed() -> None:
    # Given what rises by five of a thousand and of ten
    many = series([1000.0 + 5.0 * at / TIMES[-1] for at in TIMES])
    few = series([10.0 + 5.0 * at / TIMES[-1] for at in TIMES])

    # When / Then
    assert judge(many, Limit(2.0, 0.04)).holds
    assert not judge(few, Limit(2.0, 0.04)).holds


def test_a_life_is_thinned_by_medians() -> None:
    points = thinned([(float(number), 7.0 if number % 10 else 1000.0) for number in range(1000)], 100)

    assert len(points) == 100
    assert {value for _, value in points} == {7.0}


def test_points_beside_each_other_say_nothing() -> None:
    assert steepness([(0.0, 1.0), (1.0, 9.0)], span=100.0) is None
