"""The limit that adapts: half as much when the registry complains, a little more while it does not."""

from __future__ import annotations

import pytest

from app.replication.politeness.throttle import (
    INTERVAL,
    LEAST,
    STEPS,
    Kind,
    Signal,
    Throttle,
    joined,
    large_share,
    lowered,
)


def signal(kind: Kind = "429", wait: float | None = 0.0, age: float = 0.05, in_flight: int = 40) -> Signal:
    return Signal(kind, wait, age, in_flight)


def test_the_first_complaint_halves_what_was_under_way() -> None:
    throttle = lowered(None, signal(in_flight=40), 100.0)
    assert throttle.limit == 20
    assert throttle.pause(100.0) == 0.0


def test_the_answers_to_what_was_sent_before_halve_nothing_more() -> None:
    # Given a limit that was just halved
    throttle = lowered(None, signal(), 100.0)

    # When the other requests of that moment are refused as well
    for late in (0.01, 0.02, 0.03):
        throttle = lowered(throttle, signal(age=0.05), 100.0 + late)

    # Then it is halved once; a request that was sent after that halves it again
    assert throttle.limit == 20
    assert lowered(throttle, signal(age=0.05), 100.2).limit == 10


def test_it_never_falls_below_what_lets_small_things_through() -> None:
    throttle = lowered(None, signal(in_flight=1), 0.0)
    for second in range(1, 10):
        throttle = lowered(throttle, signal(), float(second))
    assert throttle.limit == LEAST
    assert throttle.large == 1


def test_it_grows_by_steps_and_ends_at_the_maximum() -> None:
    # Given a limit of 2 where 64 is the most
    throttle: Throttle | None = lowered(None, signal(in_flight=4), 0.0)
    limits, now = [], 0.0

    # When all is well for long, and asked ten times a second
    while throttle is not None:
        limits.append(throttle.limit)
        now += INTERVAL / 10
        throttle = throttle.raised(now, 64)

    # Then it has grown by the same step each second
    assert sorted(set(limits)) == list(range(2, 64, 64 // STEPS))
    assert now == pytest.approx(INTERVAL * 31, abs=2 * INTERVAL)


def test_it_does_not_grow_in_a_pause() -> None:
    throttle = lowered(None, signal(wait=60.0), 0.0)
    assert throttle.raised(59.0, 64) is throttle
    grown = throttle.raised(61.0, 64)
    assert grown is not None
    assert grown.limit > throttle.limit


def test_the_longest_pause_holds() -> None:
    # Given a pause of a minute
    throttle = lowered(None, signal(wait=60.0), 0.0)

    # When another answer asks for less, and one for more
    throttle = lowered(throttle, signal(wait=1.0), 10.0)
    assert throttle.pause(10.0) == 50.0
    throttle = lowered(throttle, signal(wait=120.0), 10.0)
    assert throttle.pause(10.0) == 120.0


def test_a_429_without_a_wish_pauses_ever_longer_and_a_503_does_not() -> None:
    throttle = lowered(None, signal(wait=None), 0.0)
    pauses = [throttle.pause(0.0)]
    for second in (100.0, 200.0, 300.0, 400.0, 500.0, 600.0):
        throttle = lowered(throttle, signal(wait=None), second)
        pauses.append(throttle.pause(second))
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]

    # And a step up forgets that
    grown = throttle.raised(700.0, 64)
    assert grown is not None
    assert lowered(grown, signal(wait=None), 800.0).pause(800.0) == 1.0
    assert lowered(None, signal("503", None), 0.0).pause(0.0) == 0.0


def test_large_blobs_have_half_of_it() -> None:
    assert [large_share(limit) for limit in (1, 2, 3, 4, 64)] == [1, 1, 1, 2, 32]


def test_it_is_kept_as_text() -> None:
    throttle = lowered(None, signal("floor", 300.0), 1_700_000_000.123456)
    assert Throttle.decode(throttle.encode()) == throttle
    assert Throttle.decode(throttle.encode().encode()) == throttle


def test_a_clock_that_is_set_back_moves_the_throttle() -> None:
    # Given a pause of a minute
    throttle = Throttle(8, lowered_at=10_000.0, raised_at=9_000.0, not_before=10_060.0)

    # When the clock goes back by an hour, Then what was just now is just now, and the pause as long as it was
    settled = throttle.settled(6_400.0)
    assert (settled.lowered_at, settled.raised_at, settled.pause(6_400.0)) == (6_400.0, 5_400.0, 60.0)
    assert settled.settled(6_400.0) == settled
    assert throttle.raised(6_400.0, 64) == settled
    assert lowered(throttle, Signal("429", 1.0, 0.0, 4), 6_400.0).pause(6_400.0) == 60.0

    # And a small step changes nothing
    assert throttle.settled(9_999.0) == throttle


def test_no_pause_is_longer_than_a_registry_can_ask_for() -> None:
    assert Throttle(8, 10.0, 10.0, not_before=1e12).settled(10.0).pause(10.0) == 3600.0


def test_a_throttle_is_read_as_it_was_written() -> None:
    throttle = Throttle(8, 10.5, 9.0, not_before=70.25, strikes=2, kind="503")
    assert Throttle.decode(throttle.encode()) == throttle


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "7",
        '{"limit":8}',
        Throttle(8, 1.0, 1.0).encode().replace("8", '"8"'),
        Throttle(8, 1.0, 1.0).encode().replace("8", "0"),
        Throttle(8, 1.0, 1.0).encode().replace("8", "true"),
        Throttle(8, 1.0, 1.0).encode().replace("1.0", "NaN"),
        Throttle(8, 1.0, 1.0).encode().replace('"429"', "[]"),
    ],
)
def test_what_was_not_written_so_is_no_throttle(text: str) -> None:
    assert Throttle.decode(text) is None


def test_what_two_have_learned_apart_holds_for_both() -> None:
    one, other = Throttle(8, 10.0, 12.0, not_before=5.0), Throttle(4, 11.0, 9.0, not_before=900.0)
    both = joined(one, other)
    assert both == joined(other, one) == Throttle(4, 11.0, 12.0, not_before=900.0)
    assert joined(one, None) == joined(None, one) == one
    assert joined(None, None) is None
