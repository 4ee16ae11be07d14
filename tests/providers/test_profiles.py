"""Profiles: which one is chosen, what each says of itself, and that the documentation says the same."""

from __future__ import annotations

import re
from contextlib import closing
from typing import Any

import pytest

from app.providers import (
    GENERIC,
    PROFILES,
    Chosen,
    Creation,
    Deletion,
    Limits,
    Profile,
    Removal,
    profile_of,
    provider_of,
)
from app.providers.control import ControlPlaneMissing
from app.providers.ecr import Ecr
from app.providers.github import GitHubPackages
from app.providers.profile import megabytes
from app.registry import RegistryClient, Unsupported
from app.settings import ProviderName, RegistrySettings, Settings
from tests.docs.markdown import Page
from tests.support.variables import GOOD


def registry(url: str, **env: str) -> RegistrySettings:
    """The settings of a secondary at this address; `env` without the prefix."""
    named = {f"GEO_SECONDARY_REGISTRY_{name}": value for name, value in env.items()}
    settings = Settings.from_env(GOOD | {"GEO_SECONDARY_REGISTRY_URL": url} | named)
    assert settings.secondary is not None
    return settings.secondary


def test_every_name_has_one_profile() -> None:
    assert set(PROFILES) == set(ProviderName)
    assert all(profile.name is name for name, profile in PROFILES.items())


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("123456789012.dkr.ecr.eu-central-1.amazonaws.com", ProviderName.ECR),
        ("123456789012.dkr.ecr-fips.us-east-1.amazonaws.com", ProviderName.ECR),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", ProviderName.ECR),
        ("123456789012.dkr-ecr.us-east-1.on.aws", ProviderName.ECR),
        ("123456789012.dkr-ecr-fips.us-gov-west-1.on.aws", ProviderName.ECR),
        ("123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov", ProviderName.ECR),
        ("public.ecr.aws", ProviderName.ECR_PUBLIC),
        ("ecr-public.aws.com", ProviderName.ECR_PUBLIC),
        ("example.azurecr.io", ProviderName.ACR),
        ("example.westeurope.data.azurecr.io", ProviderName.ACR),
        ("europe-west3-docker.pkg.dev", ProviderName.GAR),
        ("ghcr.io", ProviderName.GHCR),
        ("bundle.bar", ProviderName.BUNDLE_BAR),
        ("registry-1.docker.io", ProviderName.DOCKER_HUB),
        ("QUAY.io", ProviderName.QUAY),
        ("registry.gitlab.com", ProviderName.GITLAB),
        # Who has a name like one of theirs is not one of them.
        ("ghcr.io.example.com", ProviderName.GENERIC),
        ("azurecr.io.evil.example", ProviderName.GENERIC),
        ("notquay.io", ProviderName.GENERIC),
        ("23456789012.dkr.ecr.eu-central-1.amazonaws.com", ProviderName.GENERIC),
        ("registry.example.com", ProviderName.GENERIC),
    ],
)
def test_a_profile_is_chosen_by_the_host(host: str, name: ProviderName) -> None:
    profile, chosen = profile_of(registry(f"https://{host}:443"))
    assert profile.name is name
    assert chosen is (Chosen.NOTHING if name is ProviderName.GENERIC else Chosen.HOST)


def test_what_is_set_comes_first() -> None:
    # Given a registry behind a name of somebody's own, and one that is not to be treated as what it is
    assert profile_of(registry("https://registry.example.com", PROVIDER="harbor")) == (
        PROFILES[ProviderName.HARBOR],
        Chosen.SETTING,
    )
    assert profile_of(registry("https://ghcr.io", PROVIDER="generic")) == (GENERIC, Chosen.SETTING)


@pytest.mark.parametrize("name", list(ProviderName))
def test_a_control_plane_is_there_where_the_profile_needs_one(name: ProviderName) -> None:
    # Given each provider as set
    provider = provider_of(registry("https://registry.example.com", PROVIDER=name.value))

    # Then it has the one of its own, or none; to make it asks nothing of anybody
    expected = {ProviderName.ECR: Ecr, ProviderName.ECR_PUBLIC: Ecr, ProviderName.GHCR: GitHubPackages}.get(name)
    assert (None if provider.control is None else type(provider.control)) is expected
    assert provider.profile.has_control_plane == (expected is not None)
    provider.close()


def test_who_has_no_catalog_is_not_asked_for_it() -> None:
    # Given a registry that is known to have none, at an address where nobody is
    provider = provider_of(registry("http://127.0.0.1:9", PROVIDER="docker-hub"))

    class Asked:
        def catalog(self, page_size: int = 1000, after: str | None = None) -> Any:
            raise AssertionError("it was asked")

    # When its repositories are listed, Then it says so by itself
    with pytest.raises(Unsupported, match="Docker Hub does not list its repositories"):
        provider.lister(Asked()).catalog()


def test_a_registry_with_a_catalog_lists_by_itself() -> None:
    provider = provider_of(registry("http://127.0.0.1:9", PROVIDER="harbor"))
    client = object.__new__(RegistryClient)
    assert provider.lister(client) is client


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Deletion(Removal.TRIED, Removal.NONE),
        lambda: Deletion(Removal.THROWAWAY, Removal.NONE),
        lambda: Deletion(digest=Removal.THROWAWAY),
        lambda: Deletion(Removal.THROWAWAY_OR_CONTROL_PLANE, Removal.REGISTRY),
        lambda: Profile(ProviderName.HARBOR, "x", creation=Creation.BY_HAND),
        lambda: Profile(ProviderName.HARBOR, "x", to_make="a project"),
    ],
)
def test_what_cannot_be_is_refused(wrong: Any) -> None:
    with pytest.raises(ValueError):
        wrong()


def test_what_has_to_be_made_is_named() -> None:
    assert PROFILES[ProviderName.HARBOR].must_make("team/app/web") == "the project team"
    google = PROFILES[ProviderName.GAR].must_make("project/images/app")
    assert google.startswith("the repository images of format Docker in the project project (gcloud ")
    assert PROFILES[ProviderName.ZOT].must_make("team/app") == ""


def test_what_a_registry_lacks_is_said() -> None:
    assert list(GENERIC.lacking()) == []
    assert list(PROFILES[ProviderName.GHCR].lacking()) == [
        "no catalog",
        "deletes by its control plane",
        "no referrers API",
        "no uploads in chunks",
        "a blob of 10 GiB at most",
    ]
    assert "an artifact of 5 MB at most" in list(PROFILES[ProviderName.BUNDLE_BAR].lacking())
    assert "larger blobs than 16 MiB in chunks" in list(PROFILES[ProviderName.ACR].lacking())
    assert "does not delete tags" in list(PROFILES[ProviderName.DOCKER_HUB].lacking())
    assert "deletes by its control plane" in list(PROFILES[ProviderName.ECR].lacking())
    assert "lists repositories to administrators only" in list(PROFILES[ProviderName.GITLAB].lacking())


@pytest.mark.parametrize(
    ("size", "said"), [(5 * 10**6, "5 MB"), (4 * 2**20, "4 MiB"), (10 * 2**30, "10 GiB"), (1234567, "1.2 MB")]
)
def test_sizes_are_said_as_providers_say_them(size: int, said: str) -> None:
    assert megabytes(size) == said


def test_limits_are_those_of_the_page() -> None:
    limits = {name: profile.limits for name, profile in PROFILES.items() if profile.limits != Limits()}
    assert set(limits) == {
        *(ProviderName.ECR, ProviderName.ECR_PUBLIC, ProviderName.GHCR),
        *(ProviderName.BUNDLE_BAR, ProviderName.BUNDLE_BAR_PRO),
        *(ProviderName.DISTRIBUTION_2, ProviderName.DISTRIBUTION_3),
    }


def test_the_page_says_what_the_profiles_say() -> None:
    # Given the table of the page
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|(.+)\|$", Page.read("docs/providers.md").text, re.MULTILINE)
    told = {name: tuple(cell.strip() for cell in cells.split("|")) for name, cells in rows}

    # Then it has every provider, with what its profile has
    assert told.keys() == {name.value for name in ProviderName}
    for name, (title, _, creation, tag, digest, catalog) in told.items():
        profile = PROFILES[ProviderName(name)]
        assert title == profile.title
        way = profile.deletion
        assert (creation, tag, digest, catalog) == (
            profile.creation.value,
            way.tag.value,
            way.digest.value,
            profile.catalog.value,
        ), name


def test_the_page_names_what_is_asked_at_once() -> None:
    text = " ".join(Page.read("docs/providers.md").text.split())
    for number in {profile.connections for profile in PROFILES.values()} - {None}:
        assert f" {number} for " in text


def test_a_token_of_another_github_is_not_shown_to_githubs_own_api() -> None:
    # Given a registry of an Enterprise Server, and nothing that says where its API is
    account = {"AUTH": "ghcr", "USERNAME": "octocat", "PASSWORD": "ghp_tests", "PROVIDER": "ghcr"}
    with (
        closing(provider_of(registry("https://containers.github.example.com", **account))) as provider,
        # When something is deleted there, Then it is said what to set
        pytest.raises(ControlPlaneMissing, match="_CONTROL_URL"),
    ):
        provider.plane().delete_digest("octocat/app", f"sha256:{'0' * 64}")
