"""Provider: whose registry this is, how we know, and what it does by an API of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from urllib.parse import urlsplit

from app.providers.control import ControlPlane
from app.providers.ecr import Ecr
from app.providers.github import GitHubPackages, api_of
from app.providers.profile import Catalog, Profile
from app.providers.profiles import GENERIC, PROFILES
from app.registry import Limiter, Unsupported
from app.registry.listing import CatalogPage
from app.settings import ProviderName, RegistrySettings


class Chosen(StrEnum):
    """How a profile was chosen, in words for people."""

    SETTING = "as set"
    HOST = "by its host"
    AUTH = "by the kind of its credentials"
    NOTHING = "nothing says which"


#: By the kind of credentials, of which these are of one provider alone.
_BY_AUTH = {
    "ecr": ProviderName.ECR,
    "acr": ProviderName.ACR,
    "gar": ProviderName.GAR,
    "ghcr": ProviderName.GHCR,
}


class Lister(Protocol):
    """Whatever lists repositories page by page, as a `RegistryClient` does."""

    def catalog(self, page_size: int = 1000, after: str | None = None) -> Iterator[CatalogPage]: ...


@dataclass(frozen=True, slots=True)
class Provider:
    """One registry's. `control` is there where the profile has it do anything."""

    profile: Profile = GENERIC
    chosen: Chosen = Chosen.NOTHING
    control: ControlPlane | None = None

    def plane(self) -> ControlPlane:
        """The control plane of a profile that has one."""
        assert self.control is not None, self.profile.name
        return self.control

    def lister(self, registry: Lister) -> Lister:
        """What lists the repositories of this registry: itself, the control plane, or what says that nothing does."""
        if self.profile.catalog is Catalog.CONTROL_PLANE:
            return self.plane()
        return _Unlisted(self.profile.title) if self.profile.catalog is Catalog.NO else registry

    def close(self) -> None:
        """Close the connections of the control plane."""
        if self.control is not None:
            self.control.close()


def provider_of(registry: RegistrySettings, limiter: Limiter | None = None) -> Provider:
    """The provider of this registry: as set, else by its host, else by the kind of its credentials.

    `limiter` permits what its control plane is asked.
    """
    profile, chosen = profile_of(registry)
    return Provider(profile, chosen, _control(profile, registry, limiter) if profile.has_control_plane else None)


def profile_of(registry: RegistrySettings) -> tuple[Profile, Chosen]:
    """The profile alone, and how it was chosen."""
    if registry.provider is not None:
        return PROFILES[registry.provider], Chosen.SETTING
    host = _host(registry)
    for profile in PROFILES.values():
        if profile.is_at(host):
            return profile, Chosen.HOST
    named = _BY_AUTH.get(registry.auth.value)
    if named is not None:
        return PROFILES[named], Chosen.AUTH
    return GENERIC, Chosen.NOTHING


def _control(profile: Profile, registry: RegistrySettings, limiter: Limiter | None) -> ControlPlane:
    if profile.name is ProviderName.GHCR:
        token = registry.password.value if registry.password else None
        ca_path = str(registry.ca_path) if registry.ca_path else None
        api = registry.control_url or api_of(_host(registry))
        return GitHubPackages(token, api=api, ca_path=ca_path, limiter=limiter)
    return Ecr(
        _host(registry),
        public=profile.name is ProviderName.ECR_PUBLIC,
        endpoint=registry.control_url,
        region=registry.cloud.aws_region,
        profile=registry.cloud.aws_profile,
        limiter=limiter,
    )


def _host(registry: RegistrySettings) -> str:
    return urlsplit(registry.url).hostname or ""


@dataclass(frozen=True, slots=True)
class _Unlisted:
    """The catalog of a registry that has none; nothing is asked."""

    title: str

    def catalog(self, page_size: int = 1000, after: str | None = None) -> Iterator[CatalogPage]:  # noqa: ARG002
        raise Unsupported(f"{self.title} does not list its repositories")
