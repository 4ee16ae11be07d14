"""An image on its way to the secondary, whose layer the primary gives as a test says."""

from __future__ import annotations

from typing import Any

from tests.replication.conftest import Proxied
from tests.support import images
from tests.support.proxy import Rule
from tests.support.registries import DistributionRegistry
from tests.support.wire import push


def coming(
    proxied: Proxied, primary: DistributionRegistry, repository: str, size: int, *, tag: str = "v1", **how: Any
) -> Rule:
    """Push an image with a layer of so many bytes, and let the deployment know; `how` is that of the proxy's rule."""
    geo, before_primary, _ = proxied
    made = images.image([images.layer(size)])
    push(primary, repository, tag, made)
    slow = before_primary.rule(f"GET .*{made.blobs[-1].digest}", **how)
    geo.event("push", repository, tag, made.digest)
    return slow
