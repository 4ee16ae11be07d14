"""What somebody waits for goes first: a fresh push beside everything that keeps a deployment busy."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.replication.politeness.board import Board
from app.replication.politeness.throttle import Throttle
from app.replication.shared import Shared
from tests.support import images
from tests.support.deployment import environment
from tests.support.keys import TokenAuth
from tests.support.proxy import Proxy
from tests.support.registries import DistributionRegistry, RegistryFactory
from tests.support.running import Running, endpoint, free_port
from tests.support.valkey import Valkey
from tests.support.wait import wait_until
from tests.support.wire import digest_of, push, push_blob, push_manifest, tags

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

TAGS = 5_000
GIB = 1024**3

#: Seconds after which it has not merely been slow.
LATE = 60


@dataclass(frozen=True, slots=True)
class HugeBlob(images.Blob):
    """One that is not in memory."""

    named: str = ""

    @property
    def digest(self) -> str:
        return self.named

    @property
    def descriptor(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": GIB}


class Busy:
    """A deployment that is notified by its primary, which stands behind a proxy."""

    def __init__(self, path: Path, stack: ExitStack, make: RegistryFactory, auth: TokenAuth, caches: Valkey) -> None:
        port = free_port()
        self.primary: DistributionRegistry = make("primary", token=auth, notify=[endpoint(port, ignore=True)])
        self.secondary: DistributionRegistry = make("secondary", token=auth)
        self.before_primary, self.before_secondary = (
            stack.enter_context(Proxy(each)) for each in (self.primary, self.secondary)
        )
        self.caches = caches
        home = path / "home"
        home.mkdir()
        env = environment(
            self.primary,
            self.secondary,
            f"sqlite:///{home}/geo.db",
            GEO_REGISTRY_REPLICATION_PRIMARY_API_URL=self.before_primary.url,
            GEO_SECONDARY_REGISTRY_URL=self.before_secondary.url,
            REDIS_URL=caches.url,
            BROKER_URL=caches.broker_url,
            WORKER_PROCESSES="2",
        )
        self.stack = stack
        self.geo = stack.enter_context(Running(home, env, port))

    def replicated(self, repository: str, tag: str) -> None:
        digest = push(self.primary, repository, tag, images.image())
        self.arrives(repository, tag, digest)

    def fresh(self, repository: str, tag: str) -> float:
        """Push something small and return the seconds until the secondary serves it."""
        made = images.image([images.layer(200_000)])
        digest = push(self.primary, repository, tag, made)
        began = time.monotonic()
        self.arrives(repository, tag, digest)
        return time.monotonic() - began

    def arrives(self, repository: str, tag: str, digest: str) -> None:
        wait_until(
            lambda: digest_of(self.secondary, repository, tag) == digest,
            timeout=LATE,
            message=lambda: self.geo.log_text[-4000:],
        )

    def throttle(self, proxy: Proxy, limit: int) -> None:
        """Have a limit hold that does not grow."""
        shared = Shared(self.caches.url)
        self.stack.callback(shared.close)
        board = Board(shared, proxy.url.partition("://")[2], "test")
        board.change(lambda _, now: Throttle(limit, now, now + 3600))


@pytest.fixture
def busy(tmp_path: Path, registry_factory: RegistryFactory, token_auth: TokenAuth, valkey: Valkey) -> Iterator[Busy]:
    with ExitStack() as stack:
        yield Busy(tmp_path, stack, registry_factory, token_auth, valkey)


def many_tags(registry: DistributionRegistry, repository: str, tag: str, count: int) -> None:
    """Put tags beside `tag` into the storage, on the same digest and without an event."""
    root = registry.storage / "docker/registry/v2/repositories" / repository / "_manifests/tags"
    for number in range(count):
        shutil.copytree(root / tag, root / f"old{number}")


def huge_blob(registry: DistributionRegistry, repository: str) -> images.Blob:
    """Put 1 GiB of nothing into the storage."""
    hasher, piece = hashlib.sha256(), bytes(16 * 1024 * 1024)
    for _ in range(GIB // len(piece)):
        hasher.update(piece)
    digest = f"sha256:{hasher.hexdigest()}"
    path = registry.blob_path(digest)
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(GIB)
    link = registry.storage / "docker/registry/v2/repositories" / repository / "_layers/sha256" / hasher.hexdigest()
    link.mkdir(parents=True)
    (link / "link").write_text(digest)
    return HugeBlob(b"", named=digest)


@pytest.mark.parametrize("throttled", [False, True], ids=["free", "throttled"])
def test_a_push_during_the_full_sync_of_its_repository(busy: Busy, throttled: bool) -> None:
    # Given a repository of 5,000 tags that are being synced in full
    busy.replicated("team/many", "v0")
    many_tags(busy.primary, "team/many", "v0", TAGS)
    if throttled:
        busy.throttle(busy.before_primary, 4)
        busy.throttle(busy.before_secondary, 4)
    busy.geo.geo("sync", "--all")
    wait_until(
        lambda: busy.before_secondary.count("PUT .*manifests/old") > 50,
        timeout=LATE,
        message=lambda: busy.geo.log_text[-4000:],
    )

    # When something is pushed to it
    took = busy.fresh("team/many", "fresh")

    # Then that is there while most of the others are still to come
    there = len(tags(busy.secondary, "team/many"))
    assert there < TAGS / 2
    print(f"\nfull sync of {TAGS} tags, throttled={throttled}: {took:.2f} s, when {there} were there")  # noqa: T201


@pytest.mark.parametrize("throttled", [False, True], ids=["free", "throttled"])
def test_a_push_beside_a_stalled_blob_of_its_repository(busy: Busy, throttled: bool) -> None:
    # Given an image whose layer of 1 GiB crawls
    busy.replicated("team/huge", "v0")
    if throttled:
        busy.throttle(busy.before_primary, 2)
        busy.throttle(busy.before_secondary, 2)
    blob = huge_blob(busy.primary, "team/huge")
    stalled = busy.before_primary.rule(f"GET .*/blobs/{blob.digest}", rate=100.0)
    made = images.image([blob])
    push_blob(busy.primary, "team/huge", made.blobs[0].data)
    push_manifest(busy.primary, "team/huge", "huge", made)
    assert stalled.arrived.wait(30), busy.geo.log_text[-3000:]

    # When others are pushed to the same repository
    figures = [busy.fresh("team/huge", f"fresh{number}") for number in range(3)]

    # Then they are there, and the blob is not
    assert digest_of(busy.secondary, "team/huge", "huge") is None
    seconds = ", ".join(f"{each:.2f} s" for each in figures)
    print(f"\nbeside a stalled blob, throttled={throttled}: {seconds}")  # noqa: T201
