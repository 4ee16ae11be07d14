"""ControlPlane: what a provider does by an API of its own, beside its registry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from app.registry import RegistryError
from app.registry.listing import CatalogPage

#: Seconds in which a control plane has to answer, all in all: it may be asked while a lease holds for little more.
ANSWER = 12.0


class ControlPlane(Protocol):
    """Of one registry. Shared by threads, and connects when it is first asked. Profiles say what it is asked for.

    Every operation raises a `RegistryError`; those of its own are `ControlPlaneError`s.
    """

    def ready(self) -> None:
        """Find out who we are there, which may take a while, so that the next call does not."""
        ...

    def require_deletion(self, repository: str) -> None:
        """Raise where nothing may be deleted, as far as that can be told without deleting anything.

        `ControlPlaneDiffers` where nothing is known of the repository.
        """
        ...

    def create(self, repository: str) -> bool:
        """Make the repository; False if it is there already."""
        ...

    def delete_tag(self, repository: str, tag: str) -> bool:
        """Delete the tag and nothing else that is tagged; False if nothing is known of it here."""
        ...

    def delete_digest(self, repository: str, digest: str) -> bool:
        """Delete the manifest with all its tags; False if nothing is known of it here.

        Raises `StillReferenced` where something else there is made of it.
        """
        ...

    def catalog(self, page_size: int = 1000, after: str | None = None) -> Iterator[CatalogPage]:
        """As `RegistryClient.catalog`."""
        ...

    def close(self) -> None:
        """Close all connections."""
        ...


class ControlPlaneError(RegistryError):
    """The control plane failed at what it was asked for."""

    default_reason = "control_plane_failed"
    advice = "check that the provider's API can be reached from here"


class ControlPlaneDenied(ControlPlaneError):
    """It knows us and does not let us."""

    default_reason = "control_plane_denied"
    advice = "check the permissions of this account with the provider"


class ControlPlaneMissing(ControlPlaneError):
    """Something is missing here without which it cannot be asked."""

    default_reason = "control_plane_missing"
    default_temporary = False
    advice = ""


class ControlPlaneDiffers(ControlPlaneError):
    """It knows nothing of what the registry itself has."""

    default_reason = "control_plane_differs"
    advice = "it may be late; else check that it is asked for the account and region of this registry"


class StillReferenced(ControlPlaneError):
    """An index names the manifest: that has to go first."""

    default_reason = "still_referenced"
    advice = "it is deleted with the next try after that index"
