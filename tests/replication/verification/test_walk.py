"""What a walk remembers."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.registry import ServerError, Stopped
from app.replication.verification.finding import Finding, Findings, Kind
from app.replication.verification.walk import Memory
from tests.support import images

DIGEST = images.sha256(b"one")
FINDING = Finding(Kind.BLOB_MISSING, DIGEST, 3)


def test_a_digest_is_looked_for_once_by_all_threads() -> None:
    # Given a look that takes its time
    memory, gate, looks = Memory(), threading.Event(), []

    def look() -> Findings:
        looks.append(1)
        assert gate.wait(20)
        return (FINDING,)

    # When several ask
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(memory.once, DIGEST, look) for _ in range(4)]
        gate.set()
        found = {each.result(20) for each in asked}

    # Then one looked
    assert (found, len(looks)) == ({(FINDING,)}, 1)
    assert memory.knows(DIGEST)


def test_what_was_not_whole_is_looked_for_again_once_it_is_doubted() -> None:
    memory = Memory()
    assert memory.once(DIGEST, lambda: (FINDING,)) == (FINDING,)
    assert memory.once(DIGEST, lambda: ()) == (FINDING,)
    memory.doubt()
    assert memory.once(DIGEST, lambda: ()) == ()
    memory.doubt()
    assert memory.once(DIGEST, lambda: (FINDING,)) == ()


def test_a_failure_is_remembered_and_a_stop_is_not() -> None:
    memory = Memory()

    def fails() -> Findings:
        raise ServerError("in trouble")

    def stops() -> Findings:
        raise Stopped("the end")

    with pytest.raises(Stopped):
        memory.once(DIGEST, stops)
    with pytest.raises(ServerError):
        memory.once(DIGEST, fails)
    with pytest.raises(ServerError):
        memory.once(DIGEST, lambda: ())
    memory.doubt()
    assert memory.once(DIGEST, lambda: ()) == ()


def test_it_holds_no_more_than_it_may() -> None:
    memory = Memory(remembered=10)
    for number in range(35):
        memory.once(images.sha256(str(number).encode()), lambda: ())
    assert sum(memory.knows(images.sha256(str(number).encode())) for number in range(35)) <= 10
