"""Copies that wait for blobs that others carry hold nothing that somebody else needs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from app.replication import sync as syncs
from app.replication import work
from tests.replication.conftest import Proxied
from tests.support import images
from tests.support.deployment import Deployment
from tests.support.images import Image
from tests.support.registries import DistributionRegistry
from tests.support.wait import wait_until
from tests.support.wire import digest_of, push


@pytest.fixture
def base() -> bytes:
    return images.layer(5000)


@pytest.fixture
def gate(proxied: Proxied, base: bytes) -> Iterator[threading.Event]:
    """Holds the base layer back on the primary until it is set."""
    event = threading.Event()
    proxied[1].rule(f"GET .*{images.sha256(base)}", gate=event)
    yield event
    event.set()


def pushed(geo: Deployment, primary: DistributionRegistry, repository: str, tag: str, image: Image) -> None:
    geo.event("push", repository, tag, push(primary, repository, tag, image))


@contextmanager
def working(geo: Deployment, number: int, gate: threading.Event) -> Iterator[None]:
    """So many threads sync what is due; afterwards the gate is opened, and they come to their end."""
    with ThreadPoolExecutor(number) as pool:
        runs = [pool.submit(work.run_due, geo.context) for _ in range(number)]
        try:
            yield
        finally:
            gate.set()
        for run in runs:
            run.result(60)


@pytest.mark.long
def test_a_push_overtakes_a_crowd_that_waits_for_one_layer(
    proxied: Proxied,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
    base: bytes,
    gate: threading.Event,
) -> None:
    # Given more tags that wait for one slow layer than may wait in backfill
    geo, before_primary, _ = proxied
    crowd = [images.image([base, images.layer()]) for _ in range(syncs.PARKED + 1)]
    for number, image in enumerate(crowd):
        pushed(geo, primary, repository, f"t{number}", image)
    geo.mark()
    with working(geo, 1, gate):
        own = [image.blobs[-1].digest for image in crowd]
        wait_until(lambda: all(before_primary.count(f"GET .*{digest}") for digest in own), 60)

        # When another image is pushed, Then it is there before that layer
        pushed(geo, primary, repository, "small", images.image())
        geo.mark()
        wait_until(lambda: digest_of(secondary, repository, "small") is not None)
    assert before_primary.count(f"GET .*{images.sha256(base)}") == 1
    assert geo.failure(repository) == ""


def test_a_row_that_only_waits_gives_its_thread_to_others(
    proxied: Proxied,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
    base: bytes,
    gate: threading.Event,
) -> None:
    # Given a process of two threads, with two repositories that need the same slow layer
    geo, before_primary, _ = proxied
    images_of = {name: images.image([base, images.layer()]) for name in (repository, f"{repository}-b")}
    for name, image in images_of.items():
        pushed(geo, primary, name, "v1", image)
    geo.mark()
    with working(geo, 2, gate):
        own = [image.blobs[2].digest for image in images_of.values()]
        wait_until(lambda: all(before_primary.count(f"GET .*{digest}") == 1 for digest in own))

        # When a third repository is pushed to, Then the one that only waits gives its thread up
        pushed(geo, primary, f"{repository}-c", "hotfix", images.image())
        geo.mark()
        wait_until(lambda: digest_of(secondary, f"{repository}-c", "hotfix") is not None)

    # And it is done when the layer has landed
    def arrived() -> bool:
        geo.settle()
        return all(digest_of(secondary, name, "v1") == image.digest for name, image in images_of.items())

    wait_until(arrived)


def test_a_tag_that_moves_while_its_copy_waits_is_copied_anew(
    proxied: Proxied,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
    base: bytes,
    gate: threading.Event,
) -> None:
    # Given a repository where one tag carries the slow layer, and another waits for it
    geo, before_primary, _ = proxied
    carrier, waiter = images.image([base, images.layer()]), images.image([base, images.layer()])
    pushed(geo, primary, repository, "carrier", carrier)
    geo.mark()
    with working(geo, 1, gate):
        wait_until(lambda: before_primary.count(f"GET .*{images.sha256(base)}") == 1)
        pushed(geo, primary, repository, "latest", waiter)
        geo.mark()
        wait_until(lambda: before_primary.count(f"GET .*{waiter.blobs[2].digest}") == 1)

        # When that one moves, Then the new image is there at once
        new = images.image()
        pushed(geo, primary, repository, "latest", new)
        geo.mark()
        wait_until(lambda: digest_of(secondary, repository, "latest") == new.digest)
    # And the old one never comes
    assert digest_of(secondary, repository, "latest") == new.digest
    assert [attempt.new_digest for attempt in geo.attempts(repository, "latest")] == [new.digest]
