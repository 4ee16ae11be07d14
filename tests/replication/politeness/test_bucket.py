"""The cap in bytes a second: by a clock of our own, and shared through a real Valkey."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest

from app.rates import Rates
from app.replication.politeness import Bucket
from app.replication.shared import Shared
from tests.support.clock import Clock
from tests.support.sessions import at_once
from tests.support.valkey import Valkey

CHUNK = 256 * 1024


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def local(text: str, clock: Clock, *, processes: int = 1, today: datetime | None = None) -> Bucket:
    began = clock.now
    start = today or datetime(2026, 3, 2, 12, tzinfo=UTC)
    return Bucket(
        Rates.parse(text),
        key="test",
        processes=processes,
        clock=clock,
        sleep=clock.sleep,
        today=lambda: start + timedelta(seconds=clock.now - began),
    )


@pytest.mark.parametrize(("rate", "processes"), [(10_000_000, 1), (10_000_000, 4), (64_000, 1), (1_000_000_000, 2)])
def test_no_more_flows_than_the_rate(rate: int, processes: int) -> None:
    # Given one of several processes
    clock = Clock()
    bucket = local(str(rate), clock, processes=processes)

    # When ten seconds' worth of bytes pass
    total = 10 * rate // processes
    passed = 0
    while passed < total:
        bucket(min(CHUNK, total - passed))
        passed += min(CHUNK, total - passed)

    # Then it took about ten seconds; the first portion comes in advance
    assert clock.now - 1000.0 == pytest.approx(10.0, rel=0.15)


def test_what_is_not_used_is_not_saved_up() -> None:
    # Given a bucket that nobody used for an hour
    clock = Clock()
    bucket = local("1M", clock)
    bucket(1000)
    clock.now += 3600.0

    # When ten seconds' worth of bytes pass
    began = clock.now
    for _ in range(100):
        bucket(100_000)

    # Then the hour is of no use
    assert clock.now - began > 9.0


def test_the_rate_follows_the_window() -> None:
    # Given a cap that begins in five seconds
    clock = Clock()
    bucket = local("12:00-13:00 100K", clock, today=datetime(2026, 3, 2, 11, 59, 55, tzinfo=UTC))

    # When bytes pass before and after
    for _ in range(100):
        bucket(CHUNK)
    assert clock.slept == []
    clock.now += 5.0
    for _ in range(10):
        bucket(100_000)
    assert clock.now - 1005.0 == pytest.approx(9.0, abs=1.5)


def test_a_process_that_has_to_end_is_not_held_up() -> None:
    stopping = threading.Event()
    stopping.set()
    bucket = Bucket(Rates.parse("64K"), key="test", stopping=stopping)
    began = time.monotonic()
    bucket(100_000_000)
    assert time.monotonic() - began < 5.0


def test_two_processes_share_the_cap(valkey: Valkey, stack: ExitStack) -> None:
    # Given two processes with four threads each, and a cap of 20 MB/s
    buckets = []
    for _ in range(2):
        shared = Shared(valkey.url)
        stack.callback(shared.close)
        buckets.append(Bucket(Rates.parse("20M"), key="test", shared=shared, processes=2))
    asked_before = _scripts(valkey)

    # When they move 40 MB together
    began = time.monotonic()

    def move(number: int) -> None:
        for _ in range(20):
            buckets[number % 2](250_000)

    at_once(8, move)
    took = time.monotonic() - began

    # Then that took what it should; a late thread makes it longer, nothing makes it shorter
    assert took > 40 / 20 * 0.8
    # And Redis was asked a few times a second only
    assert _scripts(valkey) - asked_before < 8 + 6 * took


def test_without_redis_each_process_keeps_to_its_share(valkey: Valkey, stack: ExitStack) -> None:
    # Given one process of two, in the middle of a transfer
    shared = Shared(valkey.url)
    stack.callback(shared.close)
    bucket = Bucket(Rates.parse("20M"), key="test", shared=shared, processes=2)
    bucket(1_000_000)

    # When Redis is killed
    valkey.kill()
    began = time.monotonic()
    for _ in range(20):
        bucket(1_000_000)

    # Then nothing fails, and half of the rate is what there is
    assert time.monotonic() - began > 20 / 10 * 0.7


def _scripts(valkey: Valkey) -> int:
    with valkey.client() as client:
        stats = client.info("commandstats")
        return int(stats.get("cmdstat_evalsha", {"calls": 0})["calls"])
