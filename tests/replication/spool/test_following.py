"""Several that want one blob at the same time: one fetches it, the others follow."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from tests.replication.spool.lab import MIB, Blob, Lab
from tests.support.processes import Process
from tests.support.wait import wait_until


def test_two_that_want_a_blob_at_once_fetch_it_once(lab: Lab) -> None:
    # Given two secondaries that lack it
    blob, third = lab.pushed(40 * MIB), lab.registry("third")
    lab.link.rate = 40e6

    # When it is copied to both at the same time, by two processes
    process = lab.process(blob, to=third)
    lab.copy(blob)
    assert process.wait() == 0

    # Then it came once
    assert lab.arrived(blob)
    assert lab.arrived(blob, third)
    assert lab.link.carried < 40 * MIB * 1.1


def test_many_threads_of_one_process_fetch_it_once(lab: Lab) -> None:
    blob, spool = lab.pushed(20 * MIB), lab.spool()
    lab.link.rate = 20e6
    others = [lab.registry(f"other-{number}") for number in range(3)]
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(lab.copy, blob, spool=spool, to=to) for to in (lab.secondary, *others)]:
            done.result()

    assert all(lab.arrived(blob, registry) for registry in (lab.secondary, *others))
    assert lab.link.carried < 20 * MIB * 1.1


def follower(lab: Lab, blob: Blob, **options: float) -> tuple[Process, threading.Thread]:
    """A process that brings a blob to another registry, and a thread here that follows it."""
    third = lab.registry("third")
    lab.link.rate = 10e6
    process = lab.process(blob, to=third)
    wait_until(lambda: lab.link.carried > 2 * MIB, 30, process.log.read_text)
    thread = threading.Thread(target=lab.copy, args=(blob,), kwargs={"spool": lab.spool(**options)})  # type: ignore[arg-type]
    thread.start()
    # It has begun its upload, and so has found the spool's writer at work.
    wait_until(lambda: list((lab.secondary.storage / "docker/registry/v2/repositories").glob("**/_uploads/*/data")))
    return process, thread


def test_who_follows_takes_over_from_a_killed_worker(lab: Lab) -> None:
    blob = lab.pushed(24 * MIB)
    process, thread = follower(lab, blob)

    # When the worker is killed
    process.kill()
    lab.link.rate = None
    thread.join(60)

    # Then the other goes on where it was
    assert lab.arrived(blob)
    assert lab.link.carried < 24 * MIB * 1.1
    assert lab.files() == [str(24 * MIB)]


def test_who_follows_does_not_wait_for_a_worker_that_stands_still(lab: Lab) -> None:
    blob = lab.pushed(24 * MIB)
    process, thread = follower(lab, blob, follow_patience=0.5)

    # When the worker is stopped where it stands
    process.pause()
    lab.link.rate = None
    thread.join(60)

    # Then the other does without it, and it can go on later
    assert lab.arrived(blob)
    process.resume()
    assert process.wait() == 0
    assert lab.files() == [str(24 * MIB)]
