"""A repository that is in sync: where most stories of replication begin."""

from __future__ import annotations

from app.models import SyncState
from tests.support import images
from tests.support.deployment import Deployment, event
from tests.support.registries import Registry
from tests.support.wire import push


def replicated(geo: Deployment, primary: Registry, repository: str, *names: str) -> dict[str, str]:
    """Push an image for each tag, replicate it, and return the digests."""
    digests = {name: push(primary, repository, name, images.image()) for name in names}
    geo.store(*(event(repository=repository, tag=name, digest=digest) for name, digest in digests.items()))
    geo.settle()
    assert geo.row(repository).state == SyncState.SYNCED
    return digests
