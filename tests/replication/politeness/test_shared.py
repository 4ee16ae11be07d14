"""Several processes and one limit: gates that know of each other through a real Valkey alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis

from app.registry import RateLimited
from app.replication.politeness import Gate, Terms
from app.replication.politeness import board as boards
from app.replication.politeness import keeper as keepers
from app.replication.politeness.board import Board, Seen, Taken
from app.replication.politeness.keeper import Keeper
from app.replication.politeness.throttle import Throttle
from app.replication.shared import Shared
from tests.support.sessions import at_once
from tests.support.valkey import Valkey
from tests.support.wait import wait_until

MIB = 1024 * 1024


class Processes:
    """Gates with connections and keepers of their own, as so many processes have them."""

    def __init__(self, valkey: Valkey, stack: ExitStack) -> None:
        self.valkey = valkey
        self.stack = stack
        self.count = 0

    def shared(self) -> Shared:
        shared = Shared(self.valkey.url)
        self.stack.callback(shared.close)
        return shared

    def board(self) -> Board:
        self.count += 1
        return Board(self.shared(), "registry.example:5000", f"process{self.count}")

    def gate(self, maximum: int = 64, **options: Any) -> Gate:
        self.count += 1
        name, shared = f"process{self.count}", self.shared()
        board = Board(shared, "registry.example:5000", name)
        gates: list[Gate] = []
        keeper = Keeper(shared, gates)
        self.stack.callback(keeper.close)
        gate = Gate("primary", Terms(maximum, 0, 2), process=name, board=board, began=keeper.start, **options)
        gates.append(gate)
        return gate

    def listening(self, maximum: int = 64, **options: Any) -> Gate:
        """One that has made a request, and listens."""
        before = self.listeners()
        gate = self.gate(maximum, **options)
        gate.enter(0).release()
        wait_until(lambda: self.listeners() > before)
        return gate

    def listeners(self) -> int:
        with self.valkey.client() as client:
            return int(dict(client.pubsub_numsub(boards.CHANNEL))[boards.CHANNEL.encode()])


@pytest.fixture
def processes(valkey: Valkey) -> Iterator[Processes]:
    with ExitStack() as stack:
        yield Processes(valkey, stack)


def throttle(gate: Gate, in_flight: int, status: int = 503, **headers: str) -> None:
    passes = [gate.enter(0) for _ in range(in_flight)]
    passes[0].answered(status, headers)
    for each in passes:
        each.release()


# --- the board --------------------------------------------------------------------------------------------------------


def test_slots_are_counted_for_all(processes: Processes) -> None:
    # Given a limit of four
    one, two = processes.board(), processes.board()
    one.change(lambda _, now: Throttle(4, now, now))

    # Then large blobs get two of them, all together four
    assert one.take("a", large=True, since=0.0) is Taken.YES
    assert two.take("b", large=True, since=0.0) is Taken.YES
    assert one.take("c", large=True, since=0.0) is Taken.FULL
    assert two.take("d", large=False, since=0.0) is Taken.YES
    assert two.take("e", large=False, since=0.0) is Taken.YES
    assert one.take("f", large=False, since=0.0) is Taken.FULL

    # And one that is given back is there again
    two.drop("e")
    assert one.take("f", large=False, since=0.0) is Taken.YES


def test_a_pause_and_the_end_of_the_limit_are_told(processes: Processes) -> None:
    board = processes.board()
    assert board.take("a", large=False, since=0.0) is Taken.FREE
    board.change(lambda _, now: Throttle(4, now, now, not_before=now + 60))
    assert board.take("a", large=False, since=0.0) is Taken.PAUSED
    board.change(lambda *_: None)
    assert board.take("a", large=False, since=0.0) is Taken.FREE


def test_who_has_waited_longer_goes_first_whatever_his_process(processes: Processes) -> None:
    # Given a limit that is used up, and two who have asked in vain
    one, two, three = processes.board(), processes.board(), processes.board()
    one.change(lambda _, now: Throttle(2, now, now))
    for slot in ("a", "b"):
        assert one.take(slot, large=False, since=0.0) is Taken.YES
    assert two.take("c", large=False, since=1.0) is Taken.FULL
    assert three.take("d", large=False, since=5.0) is Taken.FULL

    # When a slot frees
    one.drop("a")

    # Then the younger one does not get it, though it asks first
    assert two.take("c", large=False, since=1.0) is Taken.FULL
    assert one.take("e", large=False, since=0.0) is Taken.FULL
    assert three.take("d", large=False, since=5.0) is Taken.YES
    one.drop("b")
    assert two.take("c", large=False, since=1.0) is Taken.YES


def test_one_who_no_longer_asks_holds_nobody_up(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "PLACE_TTL", 0.2)
    one, two = processes.board(), processes.board()
    one.change(lambda _, now: Throttle(2, now, now))
    for slot in ("a", "b"):
        one.take(slot, large=False, since=0.0)
    assert two.take("c", large=False, since=100.0) is Taken.FULL
    one.drop("a")
    wait_until(lambda: one.take("d", large=False, since=0.0) is Taken.YES, timeout=5)


def test_the_slots_of_a_dead_process_come_back(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "SLOT_TTL", 0.3)
    one, two = processes.board(), processes.board()
    one.change(lambda _, now: Throttle(2, now, now))
    assert one.take("a", large=False, since=0.0) is Taken.YES
    assert one.take("b", large=False, since=0.0) is Taken.YES

    # While one says that it uses a slot, that is kept
    ends = time.monotonic() + 1.0
    while time.monotonic() < ends:
        one.keep(["a"], [])
        time.sleep(0.05)
    assert two.take("c", large=False, since=0.0) is Taken.YES
    assert two.take("d", large=False, since=0.0) is Taken.FULL
    wait_until(lambda: two.take("d", large=False, since=0.0) is Taken.YES, timeout=5)


def test_changes_at_the_same_time_are_all_made(processes: Processes) -> None:
    crowd = [processes.board() for _ in range(4)]
    crowd[0].change(lambda _, now: Throttle(1, now, now))

    def grow(found: Throttle | None, now: float) -> Throttle:
        assert found is not None
        return Throttle(found.limit + 1, found.lowered_at, now)

    at_once(4, lambda number: crowd[number].change(grow))
    seen = crowd[0].look()
    assert seen is not None
    assert seen.throttle is not None
    assert seen.throttle.limit == 5


# --- gates ------------------------------------------------------------------------------------------------------------


def test_all_learn_of_a_limit_at_once(processes: Processes) -> None:
    one, two = processes.listening(), processes.listening()
    throttle(one, 8)
    began = time.monotonic()
    wait_until(lambda: not two.roomy(), timeout=5)
    assert time.monotonic() - began < 2.0
    assert two.throttle is not None
    assert one.throttle == two.throttle
    assert two.throttle.limit == 4


def test_a_pause_holds_for_all_and_for_who_comes_later(processes: Processes) -> None:
    one, two = processes.listening(), processes.listening()
    throttle(one, 1, 429, **{"Retry-After": "900"})
    wait_until(lambda: not two.roomy(), timeout=5)
    for gate in (one, two, processes.gate()):
        with pytest.raises(RateLimited) as raised:
            gate.enter(0)
        assert raised.value.retry_after == pytest.approx(900, abs=5)


def test_together_they_keep_the_limit(processes: Processes) -> None:
    # Given three processes of eight threads, and a limit of five
    gates = [processes.listening() for _ in range(3)]
    throttle(gates[0], 10)
    wait_until(lambda: all(not gate.roomy() for gate in gates), timeout=5)
    lock, active, large, most, most_large, done = threading.Lock(), 0, 0, 0, 0, [0, 0, 0]

    def work(number: int) -> None:
        nonlocal active, large, most, most_large
        gate, blob = gates[number % 3], number >= 18
        for _ in range(4):
            permit = gate.enter(MIB if blob else 0)
            with lock:
                active, large = active + 1, large + blob
                most, most_large = max(most, active), max(most_large, large)
            time.sleep(0.01)
            with lock:
                active, large = active - 1, large - blob
                done[number % 3] += 1
            permit.release()

    # When all of them are busy
    at_once(24, work)

    # Then there were never more than that under way, of large blobs never more than half, and nobody was left out
    assert most == 5
    assert most_large <= 2
    assert done == [32, 32, 32]


def test_what_is_under_way_when_a_limit_begins_counts(processes: Processes) -> None:
    # Given two processes with three exchanges each
    one, two = processes.listening(patience=0.3), processes.listening()
    held = [one.enter(0) for _ in range(3)] + [two.enter(0) for _ in range(3)]

    # When a limit of two begins
    held[0].answered(503, {})
    wait_until(lambda: not two.roomy(), timeout=5)
    with processes.valkey.client() as client:
        wait_until(lambda: client.zcard(f"{processes.board().key}:small") == 6, timeout=5)

    # Then nothing goes until enough of them have ended
    for each in held[:4]:
        each.release()
    with pytest.raises(RateLimited):
        one.enter(0)
    held[4].release()
    one.enter(0).release()


def test_a_limit_that_is_over_is_over_for_all(processes: Processes) -> None:
    one, two = processes.listening(), processes.listening()
    throttle(one, 8)
    wait_until(lambda: not two.roomy(), timeout=5)
    board = processes.board()
    board.change(lambda *_: None)
    wait_until(lambda: one.roomy() and two.roomy(), timeout=5)
    permit = one.enter(0)
    permit.release()


@pytest.mark.long
def test_when_redis_dies_each_limits_itself_and_afterwards_all_know(processes: Processes, valkey: Valkey) -> None:
    # Given a limit of six for two processes
    one, two = processes.listening(patience=0.3), processes.listening(patience=0.3)
    throttle(one, 12)
    wait_until(lambda: not two.roomy(), timeout=5)

    # When Redis is killed
    valkey.kill()

    # Then requests go on, and each process keeps to its share
    for gate in (one, two):
        held = [gate.enter(0) for _ in range(3)]
        with pytest.raises(RateLimited):
            gate.enter(0)
        for each in held:
            each.release()

    # And a complaint meanwhile is not lost when Redis is back, even with nothing in it
    throttle(one, 1, 429, **{"Retry-After": "900"})
    valkey.start()
    valkey.flush()
    wait_until(lambda: two.pause > 800, timeout=20)


def test_without_redis_from_the_start_nothing_fails(processes: Processes, valkey: Valkey) -> None:
    valkey.kill()
    gate = processes.gate(4, patience=0.3)
    gate.enter(0).release()
    throttle(gate, 4)
    gate.enter(0).release()
    assert gate.throttle is not None


# --- what else may be in Redis ----------------------------------------------------------------------------------------


class SetBack(Board):
    """Reads a clock that is ahead of the real one, until it is set back."""

    ahead = 3600.0

    def _read(self, client: redis.Redis) -> tuple[Seen, bytes]:
        seen, raw = super()._read(client)
        return Seen(seen.throttle, seen.now + self.ahead), raw


@pytest.fixture
def set_back(processes: Processes) -> SetBack:
    return SetBack(processes.shared(), "registry.example:5000", "process")


@pytest.mark.parametrize("kept", [False, True])
def test_a_clock_that_is_set_back_pauses_nobody(processes: Processes, set_back: SetBack, *, kept: bool) -> None:
    # Given a registry that asked for a short pause, by a clock that is an hour ahead
    gate = Gate("primary", Terms(), process="process", board=set_back, patience=5.0)
    permit = gate.enter(0)
    permit.answered(429, {"Retry-After": "0.3"})
    permit.release()

    # When the clock is set back by a failover, to a server that has the throttle or not
    set_back.ahead = 0.0
    if not kept:
        with processes.valkey.client() as client:
            client.delete(set_back.key)

    # Then that is waited out once more at most, and without asking all the time
    asked = count(processes)
    started = time.monotonic()
    gate.enter(0).release()
    assert time.monotonic() - started < 4
    assert count(processes) - asked < 300
    assert (gate.throttle is not None) is kept


def count(processes: Processes) -> int:
    with processes.valkey.client() as client:
        return int(client.info("stats")["total_commands_processed"])


def test_slots_and_places_of_a_clock_that_was_set_back_are_free(processes: Processes) -> None:
    # Given a limit of two, and somebody dead who holds both by a clock that was ahead, and is first in line
    board = processes.board()
    board.change(lambda _, now: Throttle(2, now, now))
    with processes.valkey.client() as client:
        hour = time.time() + 3600
        client.zadd(f"{board.key}:small", {"dead:0": hour, "dead:1": hour})
        client.zadd(f"{board.key}:line", {"dead": 1.0})
        client.zadd(f"{board.key}:seen", {"dead": hour})

    # Then they are taken by the living
    assert board.take("a", large=False, since=0.0) is Taken.YES


@pytest.mark.parametrize(
    "found", [b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"limit":"many"}', b'{"limit":4,"not_before":9e99}']
)
def test_what_cannot_be_read_is_no_limit(processes: Processes, found: bytes) -> None:
    # Given something in place of the throttle
    board = processes.board()
    with processes.valkey.client() as client:
        client.set(board.key, found)

    # Then it limits nothing
    gate = Gate("primary", Terms(), process="process", board=board, patience=5.0)
    gate.enter(0).release()
    gate.look()
    assert gate.throttle is None

    # And a limit takes its place
    throttle(gate, 8)
    seen = board.look()
    assert seen is not None
    assert seen.throttle == gate.throttle is not None


def test_the_listening_thread_survives_whatever_happens(processes: Processes, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a thread whose gate fails once
    monkeypatch.setattr(keepers, "_RETRY", 0.01)
    gate = processes.listening()
    real, failed = gate.look, threading.Event()

    def look() -> None:
        if not failed.is_set():
            failed.set()
            raise TypeError("a bug")
        real()

    monkeypatch.setattr(gate, "look", look)
    with processes.valkey.client() as client:
        wait_until(lambda: client.publish(boards.CHANNEL, "") and failed.is_set())

    # Then it hears of the next limit all the same
    wait_until(lambda: processes.listeners() == 1)
    throttle(processes.gate(), 8)
    wait_until(lambda: not gate.roomy())
