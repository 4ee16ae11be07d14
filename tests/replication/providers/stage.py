"""Pushes and deletions between two registries, and a control plane that notes what it is asked."""

from __future__ import annotations

from typing import Any

from app.providers import PROFILES, ControlPlaneError, Provider
from app.replication.copying.creation import Creations
from app.settings import ProviderName
from tests.support import images
from tests.support.deployment import Deployment
from tests.support.oci_registry import OciRegistry
from tests.support.wire import delete_tag, push

PROVIDER = "GEO_SECONDARY_REGISTRY_PROVIDER"


def bring(geo: Deployment, primary: OciRegistry, repository: str, tag: str, image: images.Image) -> str | None:
    """Push it, replicate it, and return the reason if that failed."""
    digest = push(primary, repository, tag, image)
    geo.event("push", repository, tag, digest)
    geo.settle()
    reference = geo.reference(repository, tag)
    assert reference is not None
    return reference.failure_reason


def gone(geo: Deployment, primary: OciRegistry, repository: str, tag: str) -> str | None:
    """Delete the tag, replicate that, and return the reason if it failed."""
    delete_tag(primary, repository, tag)
    geo.event("delete", repository, tag)
    geo.settle()
    reference = geo.reference(repository, tag)
    return None if reference is None else reference.failure_reason


class Plane:
    """A control plane that notes what it is asked."""

    def __init__(self, registry: OciRegistry | None = None, error: ControlPlaneError | None = None) -> None:
        self.registry = registry
        self.error = error
        #: Why it deletes nothing for us.
        self.denial: ControlPlaneError | None = None
        self.made: list[str] = []
        #: The digests that it was to delete.
        self.deleted: list[str] = []

    def ready(self) -> None:
        pass

    def require_deletion(self, repository: str) -> None:
        if self.denial is not None:
            raise self.denial

    def close(self) -> None:
        pass

    def create(self, repository: str) -> bool:
        if self.error is not None:
            raise self.error
        self.made.append(repository)
        return self.made.count(repository) == 1

    def delete_tag(self, repository: str, tag: str) -> bool:
        if self.error is not None:
            raise self.error
        known = self.registry.repositories.get(repository) if self.registry is not None else None
        return known is not None and known.tags.pop(tag, None) is not None

    def delete_digest(self, repository: str, digest: str) -> bool:
        self.deleted.append(digest)
        known = self.registry.repositories.get(repository) if self.registry is not None else None
        if known is None or known.manifests.pop(digest, None) is None:
            return False
        known.tags = {tag: each for tag, each in known.tags.items() if each != digest}
        return True

    def catalog(self, page_size: int = 1000, after: str | None = None) -> Any:
        raise AssertionError("nothing was to be listed")


def given(geo: Deployment, name: ProviderName, plane: Plane) -> None:
    """Have the secondary's control plane be this one."""
    geo.context.secondary_provider = Provider(PROFILES[name], control=plane)
    geo.context.creations = Creations(geo.context.secondary_provider)
