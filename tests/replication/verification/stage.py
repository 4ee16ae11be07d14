"""What the tests of verification do again and again."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from app.database import connection
from app.models import ContainerRepositoryRegistry as Registry
from app.models import SyncState
from app.replication.verification import work
from app.replication.verification.finding import Kind
from app.replication.verification.run import Verified
from tests.support.deployment import Deployment, event
from tests.support.images import Image
from tests.support.registries import DistributionRegistry
from tests.support.wire import push


def replicated(
    geo: Deployment, primary: DistributionRegistry, repository: str, made: Mapping[str, Image]
) -> Mapping[str, str]:
    """Push these images under their tags and replicate them; return the digests by tag."""
    digests = {tag: push(primary, repository, tag, image) for tag, image in made.items()}
    geo.store(*(event(repository=repository, tag=tag, digest=digest) for tag, digest in digests.items()))
    geo.settle()
    assert geo.row(repository).last_sync_failure is None
    assert geo.row(repository).state == SyncState.SYNCED
    return digests


def verify(geo: Deployment, repository: str, level: str = "blobs") -> Verified:
    """Verify everything in the repository, here and now."""
    found: Verified = geo.row(repository).replicator.verify(level)
    return found


def run_due(geo: Deployment) -> int:
    """What a worker does for verification when it is woken, with every backoff of it over."""
    past = datetime.now(UTC) - timedelta(seconds=1)
    with connection():
        Registry.update(verification_retry_at=past).where(Registry.verification_retry_at.is_null(False)).execute()
    return work.run_due(geo.context)


def told(found: Verified) -> set[tuple[str, Kind, str, int | None]]:
    """What was found: reference, kind, digest and size of each."""
    return {(each.name, one.kind, one.digest, one.size) for each in found.named for one in each.findings}


def remove_file(registry: DistributionRegistry, digest: str) -> None:
    """Remove a blob's or manifest's file from the storage, as a broken disk or a wrong clean-up does."""
    shutil.rmtree(registry.blob_path(digest).parent)


def remove_link(registry: DistributionRegistry, repository: str, digest: str) -> None:
    """Remove the link by which the repository holds the blob; its file stays."""
    algorithm, _, encoded = digest.partition(":")
    layers = registry.storage / "docker/registry/v2/repositories" / repository / "_layers"
    shutil.rmtree(layers / algorithm / encoded)
