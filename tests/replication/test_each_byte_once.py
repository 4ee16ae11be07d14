"""A blob travels to the secondary once, and again when it turns out to be gone there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.database import connection, now
from app.models import Reference, SyncState
from app.replication import marking, work
from app.replication.assembly import assemble
from app.replication.context import Context
from tests.replication.conftest import Proxied
from tests.support import images, wire
from tests.support.deployment import Deployment, environment, sqlite_url
from tests.support.images import Image
from tests.support.keys import TokenAuth
from tests.support.proxy import Proxy
from tests.support.registries import DistributionRegistry
from tests.support.valkey import Valkey
from tests.support.wait import wait_until
from tests.support.wire import digest_of, push


def pushed(geo: Deployment, primary: DistributionRegistry, repository: str, tag: str, image: Image) -> None:
    """Push an image, and tell."""
    geo.event("push", repository, tag, push(primary, repository, tag, image))


def based_on(layer: bytes) -> Image:
    return images.image([layer, images.layer()])


def same(primary: DistributionRegistry, secondary: DistributionRegistry, repository: str, image: Image) -> bool:
    """Whether every blob of the image can be read on both sides, and is the same."""
    return all(
        wire.fetch_blob(primary, repository, blob.digest) == wire.fetch_blob(secondary, repository, blob.digest)
        for blob in image.blobs
    )


def test_a_layer_of_another_repository_is_mounted(
    proxied: Proxied, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a repository that was replicated
    geo, before_primary, before_secondary = proxied
    base = images.layer(5000)
    pushed(geo, primary, repository, "v1", based_on(base))
    geo.settle()
    before_primary.clear()

    # When another image on the same base is pushed, into another repository
    other, image = f"{repository}-other", based_on(base)
    pushed(geo, primary, other, "v1", image)
    geo.settle()

    # Then the base was not read from the primary, and is there
    assert before_primary.count(f"GET .*{image.blobs[1].digest}") == 0
    assert before_primary.count("GET .*/blobs/") == 2
    assert before_secondary.count("POST .*mount=") == 1
    assert same(primary, secondary, other, image)


def test_what_the_repository_is_known_to_hold_is_not_asked_for(
    proxied: Proxied, primary: DistributionRegistry, repository: str
) -> None:
    geo, _, before_secondary = proxied
    base = images.layer(5000)
    pushed(geo, primary, repository, "v1", based_on(base))
    geo.settle()
    before_secondary.clear()

    image = based_on(base)
    pushed(geo, primary, repository, "v2", image)
    geo.settle()

    assert before_secondary.count(image.blobs[1].digest.removeprefix("sha256:")) == 0
    assert geo.row(repository).state == SyncState.SYNCED


def test_two_repositories_that_need_a_layer_at_once_wait_for_one_transfer(
    proxied: Proxied, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given two repositories on the same base, which the primary is slow to give
    geo, before_primary, _ = proxied
    base = images.layer(5000)
    one, two = based_on(base), based_on(base)
    other = f"{repository}-other"
    pushed(geo, primary, repository, "v1", one)
    pushed(geo, primary, other, "v1", two)
    geo.mark()
    slow = before_primary.rule(f"GET .*{one.blobs[1].digest}", gate=threading.Event())
    assert slow.gate is not None

    # When two workers copy them
    with ThreadPoolExecutor(2) as workers:
        syncs = [workers.submit(work.run_due, geo.context) for _ in range(2)]
        try:
            assert slow.arrived.wait(20)
            # Then what both have of their own goes on
            own = [image.blobs[2].digest for image in (one, two)]
            wait_until(lambda: all(before_primary.count(f"GET .*{digest}") == 1 for digest in own))
            # And who waits holds nothing: a push of another image into the same repository overtakes
            for name in (repository, other):
                pushed(geo, primary, name, "small", images.image())
            geo.mark()
            wait_until(lambda: None not in [digest_of(secondary, name, "small") for name in (repository, other)])
        finally:
            slow.gate.set()
        assert sum(sync.result(20) for sync in syncs) == 2

    # And the base was read once
    assert before_primary.count(f"GET .*{one.blobs[1].digest}") == 1
    assert same(primary, secondary, repository, one)
    assert same(primary, secondary, other, two)


@pytest.fixture
def both(
    primary: DistributionRegistry, secondary: DistributionRegistry, tmp_path: Path, valkey: Valkey
) -> Iterator[tuple[Proxied, Context]]:
    """A deployment with Redis, and what a second worker process of it has."""
    with ExitStack() as stack:
        before_primary, before_secondary = (stack.enter_context(Proxy(each)) for each in (primary, secondary))
        env = environment(primary, secondary, sqlite_url(tmp_path), REDIS_URL=valkey.url)
        env["GEO_REGISTRY_REPLICATION_PRIMARY_API_URL"] = before_primary.url
        env["GEO_SECONDARY_REGISTRY_URL"] = before_secondary.url
        deployment = Deployment.start(env)
        stack.callback(deployment.close)
        second = assemble(deployment.context.settings)
        stack.callback(second.close)
        yield (deployment, before_primary, before_secondary), second


def shared_layer(
    geo: Deployment, primary: DistributionRegistry, before_primary: Proxy, repository: str
) -> tuple[Image, Image, threading.Event, threading.Event]:
    """Two repositories on one base that the primary holds back: the images, and what lets go and what has arrived."""
    base = images.layer(5000)
    one, two = based_on(base), based_on(base)
    pushed(geo, primary, repository, "v1", one)
    pushed(geo, primary, f"{repository}-other", "v1", two)
    geo.mark()
    slow = before_primary.rule(f"GET .*{one.blobs[1].digest}", gate=threading.Event())
    assert slow.gate is not None
    return one, two, slow.gate, slow.arrived


def test_two_worker_processes_carry_a_layer_once(
    both: tuple[Proxied, Context], primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    (geo, before_primary, _), second = both
    one, two, go, arrived = shared_layer(geo, primary, before_primary, repository)

    with ThreadPoolExecutor(2) as workers:
        syncs = [workers.submit(work.run_due, context) for context in (geo.context, second)]
        try:
            assert arrived.wait(20)
            own = [image.blobs[2].digest for image in (one, two)]
            wait_until(lambda: all(before_primary.count(f"GET .*{digest}") == 1 for digest in own))
        finally:
            go.set()
        assert [sync.result(20) for sync in syncs] == [1, 1]

    assert before_primary.count(f"GET .*{one.blobs[1].digest}") == 1
    assert same(primary, secondary, repository, one)
    assert same(primary, secondary, f"{repository}-other", two)


def test_redis_lost_in_the_middle_loses_nothing(
    both: tuple[Proxied, Context],
    valkey: Valkey,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
) -> None:
    # Given a layer that one process carries and another waits for
    (geo, before_primary, _), second = both
    one, two, go, arrived = shared_layer(geo, primary, before_primary, repository)

    with ThreadPoolExecutor(2) as workers:
        syncs = [workers.submit(work.run_due, context) for context in (geo.context, second)]
        try:
            assert arrived.wait(20)
            # When Redis is killed
            valkey.kill()
            # Then who waited carries it himself
            wait_until(lambda: before_primary.count(f"GET .*{one.blobs[1].digest}") == 2)
        finally:
            go.set()
        assert [sync.result(20) for sync in syncs] == [1, 1]

    assert same(primary, secondary, repository, one)
    assert same(primary, secondary, f"{repository}-other", two)


@pytest.fixture
def own_secondary(tmp_path: Path, token_auth: TokenAuth) -> Iterator[DistributionRegistry]:
    """A secondary that a test may damage, with the cache that makes it lie about what it holds."""
    with DistributionRegistry(tmp_path / "own-secondary", token=token_auth, cache=True) as registry:
        yield registry


@pytest.fixture
def own(primary: DistributionRegistry, own_secondary: DistributionRegistry, database_url: str) -> Iterator[Deployment]:
    deployment = Deployment.start(environment(primary, own_secondary, database_url))
    try:
        yield deployment
    finally:
        deployment.close()


def test_a_secondary_is_filled_again_after_its_garbage_collection(
    own: Deployment, primary: DistributionRegistry, own_secondary: DistributionRegistry, repository: str
) -> None:
    # Given a secondary that was emptied behind our back, while it runs: its cache still says it has everything
    image = images.index([based_on(images.layer(5000))])
    pushed(own, primary, repository, "v1", image)
    own.settle()
    for each in (image, *image.children):
        wire.delete_digest(own_secondary, repository, each.digest)
    own_secondary.garbage_collect()
    assert not own_secondary.blob_path(image.children[0].blobs[0].digest).exists()

    # When the repository is synced
    assert own.row(repository).replicator.sync().state == SyncState.SYNCED

    # Then every byte is there
    assert digest_of(own_secondary, repository, "v1") == image.digest
    assert same(primary, own_secondary, repository, image.children[0])


def test_a_mount_from_a_repository_that_was_garbage_collected_is_no_success(
    own: Deployment, primary: DistributionRegistry, own_secondary: DistributionRegistry, repository: str
) -> None:
    # Given a layer that the secondary had in one repository, and has only in its cache
    base = images.layer(5000)
    first = based_on(base)
    pushed(own, primary, repository, "v1", first)
    own.settle()
    wire.delete_digest(own_secondary, repository, first.digest)
    own_secondary.garbage_collect()
    assert not own_secondary.blob_path(first.blobs[1].digest).exists()

    # When another repository needs it
    second = based_on(base)
    pushed(own, primary, f"{repository}-other", "v1", second)
    own.settle()

    # Then it is there
    assert same(primary, own_secondary, f"{repository}-other", second)


def test_a_blob_that_is_gone_although_we_know_it_is_there_is_carried_again(
    own: Deployment, primary: DistributionRegistry, own_secondary: DistributionRegistry, repository: str
) -> None:
    # Given a layer that somebody deleted on the secondary a moment ago
    base = images.layer(5000)
    first = based_on(base)
    pushed(own, primary, repository, "v1", first)
    own.settle()
    wire.delete_blob(own_secondary, repository, first.blobs[1].digest)

    # When an image needs it that is pushed now
    second = based_on(base)
    pushed(own, primary, repository, "v2", second)
    own.settle()

    # Then the secondary's refusal is enough to bring it again, at once
    assert own.failure(repository) == ""
    assert same(primary, own_secondary, repository, second)


def test_a_repair_brings_back_a_manifest_that_one_nodes_cache_alone_knows(
    tmp_path: Path, token_auth: TokenAuth, primary: DistributionRegistry, sqlite_database: str, repository: str
) -> None:
    # Given a secondary of two nodes with one storage, each with the cache of the packaged configuration
    shared = {"storage": {"filesystem": {"rootdirectory": str(tmp_path / "storage")}}}
    with (
        DistributionRegistry(tmp_path / "a", version="3", token=token_auth, cache=True, config=shared) as one,
        DistributionRegistry(tmp_path / "b", version="3", token=token_auth, cache=True, config=shared) as other,
    ):
        geo = Deployment.start(environment(primary, other, sqlite_database))
        try:
            image = images.index([based_on(images.layer(5000))])
            pushed(geo, primary, repository, "v1", image)
            geo.settle()
            child = image.children[0].digest

            # When somebody deletes a child at the one, and a repair comes through the other
            wire.delete_digest(one, repository, child)
            row = geo.row(repository)
            with connection():
                Reference.update(
                    trigger="repair", state=SyncState.PENDING, generation=Reference.generation + 1
                ).execute()
                marking.awaken([row.id], since=now(), priority=marking.FRESH)
            geo.settle()
            assert geo.row(repository).state == SyncState.SYNCED

            # Then it is there for both
            assert digest_of(one, repository, child) == child
        finally:
            geo.close()
