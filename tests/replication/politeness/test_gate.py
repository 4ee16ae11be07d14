"""The gate of one process: who may go, who waits, and for how long at most."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from app.registry import RateLimited, Stopped, bulk
from app.registry.connections import Deadline
from app.replication.politeness import Gate, Terms
from app.replication.politeness.gate import FLOOR_PAUSE, Pass
from tests.support.clock import Clock
from tests.support.sessions import at_once
from tests.support.wait import wait_until

MIB = 1024 * 1024


def make(maximum: int = 64, **options: Any) -> Gate:
    terms = Terms(maximum, options.pop("floor", 0), options.pop("processes", 1))
    return Gate("primary", terms, process="test", **options)


def throttled(gate: Gate, in_flight: int) -> None:
    """Have the registry answer 503 with so many requests under way, all of which then end."""
    passes = [gate.enter(0) for _ in range(in_flight)]
    passes[0].answered(503, {})
    for each in passes:
        each.release()


def waiting(gate: Gate) -> int:
    return len(gate._line._places)


class Queue:
    """Threads that wait for a gate; `order` is who was let in."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.order: list[str] = []
        self.threads = ThreadPoolExecutor(16)
        self.futures: list[Future[Pass]] = []

    def add(self, name: str, size: int | None = 0, *, slow: bool = False) -> None:
        """Have somebody ask, and wait until it waits."""
        before = waiting(self.gate)

        def ask() -> Pass:
            if slow:
                with bulk():
                    granted = self.gate.enter(size)
            else:
                granted = self.gate.enter(size)
            self.order.append(name)
            return granted

        self.futures.append(self.threads.submit(ask))
        wait_until(lambda: waiting(self.gate) > before)

    def drain(self, first: list[Pass]) -> list[str]:
        """Release one after the other, each when the one before has let somebody in; return the order."""
        held = list(first)
        released: set[int] = set()
        while held:
            known = len(self.order)
            held.pop(0).release()
            if known < len(self.futures):
                wait_until(lambda known=known: len(self.order) > known)  # type: ignore[misc]
            for number, future in enumerate(self.futures):
                if number not in released and future.done():
                    released.add(number)
                    held.append(future.result())
        self.threads.shutdown()
        return self.order


# --- the maximum ------------------------------------------------------------------------------------------------------


def test_the_maximum_is_never_exceeded() -> None:
    # Given a gate for six, and twenty threads
    gate, most, active = make(6), 0, 0
    lock = threading.Lock()

    def ask(_: int) -> None:
        nonlocal most, active
        for _ in range(50):
            permit = gate.enter(0)
            with lock:
                active += 1
                most = max(most, active)
            time.sleep(0.001)
            with lock:
                active -= 1
            permit.release()

    at_once(20, ask)
    assert most == 6
    assert gate.in_flight == 0


def test_large_blobs_have_half_of_it_and_small_things_the_rest() -> None:
    gate = make(4, patience=0.05)
    held = [gate.enter(MIB), gate.enter(None)]
    with pytest.raises(RateLimited):
        gate.enter(MIB)
    held += [gate.enter(MIB - 1), gate.enter(0)]
    with pytest.raises(RateLimited) as raised:
        gate.enter(0)
    assert raised.value.reason == "rate_limited"
    assert raised.value.temporary
    assert raised.value.retry_after
    for each in held:
        each.release()
        each.release()
    assert gate.in_flight == 0
    gate.enter(MIB).release()


def test_waiting_ends_with_the_deadline_and_with_the_process() -> None:
    ending = threading.Event()
    gate = make(2, stop=ending.is_set)
    held = [gate.enter(0), gate.enter(0)]
    began = time.monotonic()
    with Deadline(0.1) as deadline, pytest.raises(RateLimited):
        gate.enter(0, deadline)
    assert time.monotonic() - began < 5.0

    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(gate.enter, 0)
        wait_until(lambda: waiting(gate) == 1)
        ending.set()
        with pytest.raises(Stopped):
            asked.result(5)
    assert waiting(gate) == 0
    held[0].release()


def test_what_was_waited_before_counts() -> None:
    gate = make(2, patience=30.0)
    held = [gate.enter(0), gate.enter(0)]
    began = time.monotonic()
    with pytest.raises(RateLimited):
        gate.enter(0, None, 30.0)
    assert time.monotonic() - began < 5.0
    assert [each.waited for each in held] == [0.0, 0.0]


# --- the order --------------------------------------------------------------------------------------------------------


def test_small_and_urgent_things_go_first() -> None:
    # Given a full gate, and in this order: bulk, large, small
    gate = make(2)
    held = [gate.enter(0), gate.enter(0)]
    queue = Queue(gate)
    queue.add("bulk", slow=True)
    queue.add("bulk large", MIB, slow=True)
    queue.add("large", MIB)
    queue.add("small")
    queue.add("second small")

    # When one after the other ends
    order = queue.drain(held)

    # Then what somebody waits for went first, and of that the small things
    assert order[:3] == ["small", "second small", "large"]
    assert set(order[3:]) == {"bulk", "bulk large"}


def test_nobody_waits_for_ever() -> None:
    # Given bulk that has waited for longer than small things are preferred
    clock = Clock()
    gate = make(2, clock=clock, patience=1000.0)
    held = [gate.enter(0), gate.enter(0)]
    queue = Queue(gate)
    queue.add("bulk", slow=True)
    clock.now += 11.0
    queue.add("small")
    assert queue.drain(held) == ["bulk", "small"]


def test_a_large_blob_that_has_no_slot_holds_nobody_up() -> None:
    gate = make(3)
    large, small = gate.enter(MIB), gate.enter(0)
    queue = Queue(gate)
    queue.add("large", MIB)
    gate.enter(0).release()
    assert queue.drain([large, small]) == ["large"]


# --- throttled --------------------------------------------------------------------------------------------------------


def test_a_complaint_lowers_the_limit_for_all_threads() -> None:
    gate = make(64, patience=0.05)
    assert gate.roomy()
    throttled(gate, 8)
    assert gate.throttle is not None
    assert gate.throttle.limit == 4
    assert not gate.roomy()
    held = [gate.enter(0) for _ in range(4)]
    with pytest.raises(RateLimited):
        gate.enter(0)
    for each in held:
        each.release()


def test_without_redis_each_process_has_its_share_of_it() -> None:
    gate = make(64, processes=4, patience=0.05)
    throttled(gate, 24)
    assert gate.throttle is not None
    assert gate.throttle.limit == 12
    held = [gate.enter(0) for _ in range(3)]
    with pytest.raises(RateLimited):
        gate.enter(0)
    assert len(held) == 3


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_stops_everybody(form: str) -> None:
    # Given a registry that asks for ten minutes
    clock = Clock()
    gate = make(clock=clock)
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=600), usegmt=True)
    gate.enter(0).answered(429, {"Retry-After": "600" if form == "seconds" else later})

    # Then nobody waits that long: the row is put off until then
    with pytest.raises(RateLimited) as raised:
        gate.enter(0)
    assert raised.value.retry_after == pytest.approx(600, abs=2)
    assert gate.pause == pytest.approx(600, abs=2)

    # And when it is over, they go on
    clock.now += 601
    gate.enter(0).release()


def test_a_short_pause_is_waited_out() -> None:
    gate = make()
    first = gate.enter(0)
    first.answered(429, {"Retry-After": "0.3"})
    first.release()
    began = time.monotonic()
    permit = gate.enter(0)
    assert time.monotonic() - began >= 0.25
    assert permit.waited >= 0.25
    permit.release()


@pytest.mark.parametrize(
    ("remaining", "headers", "pause"),
    [
        (20, {}, 0.0),
        (19, {}, FLOOR_PAUSE),
        (5, {"RateLimit-Reset": "42"}, 42.0),
    ],
)
def test_a_quota_is_not_used_up_below_the_floor(remaining: int, headers: dict[str, str], pause: float) -> None:
    kinds: list[str] = []
    gate = make(floor=20, clock=Clock(), note=kinds.append)
    permit = gate.enter(0)
    permit.answered(200, {"RateLimit-Remaining": f"{remaining};w=21600", **headers})
    assert gate.pause == pytest.approx(pause)
    assert kinds == (["floor"] if pause else [])


def test_without_a_floor_quotas_are_not_looked_at() -> None:
    gate = make()
    gate.enter(0).answered(200, {"RateLimit-Remaining": "0"})
    assert gate.roomy()


def test_it_recovers_while_all_is_well() -> None:
    # Given a lowered limit
    clock = Clock()
    gate = make(8, clock=clock)
    throttled(gate, 8)

    # When requests succeed, one a second
    for _ in range(10):
        clock.now += 1.1
        permit = gate.enter(0)
        permit.answered(200, {})
        permit.release()

    # Then there is no limit any more
    assert gate.throttle is None
    assert gate.roomy()


def test_what_happens_is_told() -> None:
    kinds: list[str] = []
    gate = make(2, note=kinds.append, patience=0.05)
    held = [gate.enter(0), gate.enter(0)]
    with pytest.raises(RateLimited):
        gate.enter(0)
    queue = Queue(make(2, note=kinds.append))
    queue.gate.enter(0)
    last = queue.gate.enter(0)
    queue.add("one")
    last.release()
    queue.futures[0].result(5).release()
    queue.threads.shutdown()
    held[0].answered(429, {"Retry-After": "9"})
    held[1].answered(503, {})
    assert kinds == ["refused", "waited", "429", "503"]


def test_the_first_request_starts_what_listens() -> None:
    started: list[int] = []
    began: Callable[[], None] = lambda: started.append(1)  # noqa: E731
    gate = make(began=began)
    assert started == []
    gate.enter(0).release()
    gate.enter(0).release()
    assert started == [1]
