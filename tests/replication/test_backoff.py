"""Backoff: the wait after a failure."""

from __future__ import annotations

from datetime import timedelta

from app.replication.backoff import Backoff


def test_the_wait_grows_to_a_cap_with_jitter() -> None:
    # Given a backoff without luck, and with all of it
    longest, shortest = Backoff(random=lambda: 1.0), Backoff(random=lambda: 0.0)

    # Then the wait doubles up to an hour, and is between half and the whole of the step
    steps = [longest.delay(count).total_seconds() for count in range(1, 14)]
    assert steps[:4] == [5, 10, 20, 40]
    assert steps[-1] == 3600
    assert steps == sorted(steps)
    assert longest.delay(10_000).total_seconds() == 3600
    assert [shortest.delay(count).total_seconds() for count in range(1, 14)] == [step / 2 for step in steps]

    # And what does not heal by itself is looked at rarely, what a registry asked for never undercut
    assert longest.delay(1, temporary=False) == timedelta(hours=6)
    assert longest.delay(1, at_least=77).total_seconds() == 77
    assert len({Backoff().delay(5) for _ in range(20)}) > 1
