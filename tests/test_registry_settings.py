"""A registry's settings: where it is, and who we are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.rates import Rates
from app.settings import (
    AuthKind,
    CloudSettings,
    ProviderName,
    Settings,
)
from tests.support.variables import GOOD, problems


@pytest.mark.parametrize(
    "url",
    [
        "registry.example.com",
        "http://",
        "http://host:port",
        "http://host:99999",
        "https://user:hidden@host",
        "https://host/v2/",
        "https://host/?a=b",
        "http://[::1",
    ],
)
def test_an_address_that_cannot_be_a_registrys_is_refused(url: str) -> None:
    (problem,) = problems(GOOD | {"GEO_SECONDARY_REGISTRY_URL": url})
    assert problem.startswith("GEO_SECONDARY_REGISTRY_URL")
    assert "hidden" not in problem


@pytest.mark.parametrize("name", ["GEO_PRIMARY_REGISTRY_AUTH", "GEO_SECONDARY_REGISTRY_AUTH"])
def test_each_way_of_proving_who_we_are_needs_its_means(name: str) -> None:
    assert "GEO_REGISTRY_KEY_PATH" in problems(GOOD | {name: "token"})[0]
    assert "USERNAME" in problems(GOOD | {name: "basic", name.replace("AUTH", "USERNAME"): "geo"})[0]
    assert "PASSWORD" in problems(GOOD | {name: "bearer"})[0]


def test_one_side_may_differ_from_what_is_shared(key: str, tmp_path: Path) -> None:
    other = tmp_path / "other.key"
    other.write_text("another")
    settings = Settings.from_env(
        GOOD
        | {
            "GEO_REGISTRY_KEY_PATH": key,
            "GEO_REGISTRY_ISSUER": "shared",
            "GEO_PRIMARY_REGISTRY_KEY_PATH": str(other),
            "GEO_PRIMARY_REGISTRY_ISSUER": "own",
            "GEO_PRIMARY_REGISTRY_SERVICE": "own-service",
        }
    )
    assert settings.secondary is not None
    assert (settings.primary.key_path, settings.secondary.key_path) == (other, Path(key))
    assert (settings.primary.issuer, settings.secondary.issuer) == ("own", "shared")
    assert (settings.primary.service, settings.secondary.service) == ("own-service", "container_registry")
    assert settings.primary.auth is settings.secondary.auth is AuthKind.TOKEN


def test_registries_are_asked_politely() -> None:
    # Given nothing about it
    settings = Settings.from_env(GOOD)

    # Then that is left to the registry's provider, and there is nothing else
    assert (settings.primary.max_connections, settings.primary.ratelimit_floor) == (None, None)
    assert settings.primary.rates.unlimited

    # Given both registries with settings of their own
    settings = Settings.from_env(
        {
            **GOOD,
            "GEO_PRIMARY_REGISTRY_MAX_CONNECTIONS": "8",
            "GEO_PRIMARY_REGISTRY_RATELIMIT_FLOOR": "20",
            "GEO_PRIMARY_REGISTRY_MAX_BYTES_PER_SECOND": "50M; 08:00-18:00 mon-fri 10M",
            "GEO_SECONDARY_REGISTRY_MAX_BYTES_PER_SECOND": "1Gi",
        }
    )

    # Then each has its own
    assert (settings.primary.max_connections, settings.primary.ratelimit_floor) == (8, 20)
    assert settings.primary.rates == Rates.parse("50M; 08:00-18:00 mon-fri 10M")
    assert settings.secondary is not None
    assert settings.secondary.rates.base == 1024**3
    assert settings.secondary.max_connections is None


def test_whose_registry_it_is_can_be_said() -> None:
    # Given nothing about it, Then it is to be told by the host
    settings = Settings.from_env(GOOD)
    assert (settings.primary.provider, settings.primary.control_url) == (None, None)

    # Given what is said of one of them
    settings = Settings.from_env(
        GOOD
        | {
            "GEO_SECONDARY_REGISTRY_PROVIDER": "ghcr",
            "GEO_SECONDARY_REGISTRY_CONTROL_URL": "https://github.example.com/api/v3",
        }
    )

    # Then it holds for that one
    assert settings.secondary is not None
    assert settings.secondary.provider is ProviderName.GHCR
    assert settings.secondary.control_url == "https://github.example.com/api/v3"
    assert settings.primary.provider is None


def test_a_provider_that_nobody_knows_is_refused() -> None:
    found = problems(
        GOOD
        | {"GEO_PRIMARY_REGISTRY_PROVIDER": "amazon", "GEO_SECONDARY_REGISTRY_CONTROL_URL": "github.example.com/api/v3"}
    )
    assert any("GEO_PRIMARY_REGISTRY_PROVIDER must be one of: ecr, ecr-public, acr" in problem for problem in found)
    assert "GEO_SECONDARY_REGISTRY_CONTROL_URL must be an http:// or https:// address." in found


def test_impolite_settings_are_refused() -> None:
    found = problems(
        {
            **GOOD,
            "GEO_PRIMARY_REGISTRY_MAX_CONNECTIONS": "1",
            "GEO_PRIMARY_REGISTRY_RATELIMIT_FLOOR": "-1",
            "GEO_PRIMARY_REGISTRY_MAX_BYTES_PER_SECOND": "50M; at night 10M",
            "GEO_SECONDARY_REGISTRY_MAX_BYTES_PER_SECOND": "fast",
        }
    )
    assert len(found) == 4
    assert any("GEO_PRIMARY_REGISTRY_MAX_CONNECTIONS must be a whole number from 2" in problem for problem in found)
    assert any("GEO_SECONDARY_REGISTRY_MAX_BYTES_PER_SECOND: 'fast' is neither" in problem for problem in found)


@pytest.mark.parametrize("auth", ["ecr", "acr", "gar"])
def test_a_cloud_needs_no_user(auth: str, tmp_path: Path) -> None:
    # Given a registry of a cloud, whose credentials are the machine's own
    key = tmp_path / "key.json"
    key.write_text("{}")
    settings = Settings.from_env(
        GOOD
        | {
            "GEO_PRIMARY_REGISTRY_AUTH": auth,
            "GEO_PRIMARY_REGISTRY_AWS_REGION": "eu-west-1",
            "GEO_PRIMARY_REGISTRY_AWS_PROFILE": "other",
            "GEO_PRIMARY_REGISTRY_AZURE_CLIENT_ID": "0-1",
            "GEO_PRIMARY_REGISTRY_GOOGLE_CREDENTIALS": str(key),
        }
    )

    # Then that is all, and which of them is the primary's alone
    assert settings.primary.auth is AuthKind(auth)
    assert settings.primary.cloud == CloudSettings("eu-west-1", "other", "0-1", key)
    assert settings.secondary is not None
    assert settings.secondary.cloud == CloudSettings()


@pytest.mark.parametrize("auth", ["acr", "gar"])
def test_half_of_a_user_is_none(auth: str) -> None:
    (problem,) = problems(GOOD | {"GEO_PRIMARY_REGISTRY_AUTH": auth, "GEO_PRIMARY_REGISTRY_USERNAME": "geo"})
    assert "go together" in problem


def test_github_wants_a_user_and_a_token() -> None:
    (problem,) = problems(GOOD | {"GEO_SECONDARY_REGISTRY_AUTH": "ghcr", "GEO_SECONDARY_REGISTRY_USERNAME": "geo"})
    assert "GEO_SECONDARY_REGISTRY_PASSWORD, a personal access token" in problem


def test_dockers_file_is_found_where_docker_has_it(tmp_path: Path) -> None:
    # Given Docker's configuration in the home directory, and another
    for directory in (".docker", "other"):
        (tmp_path / directory).mkdir()
        (tmp_path / directory / "config.json").write_text("{}")
    docker = GOOD | {"GEO_PRIMARY_REGISTRY_AUTH": "docker", "HOME": str(tmp_path)}
    other = str(tmp_path / "other" / "config.json")

    # Then it is the former, unless Docker's variable or ours says otherwise; ours says `docker` by itself
    assert Settings.from_env(docker).primary.docker_config_path == tmp_path / ".docker" / "config.json"
    moved = Settings.from_env(docker | {"DOCKER_CONFIG": str(tmp_path / "other")})
    assert moved.primary.docker_config_path == Path(other)
    own = Settings.from_env(GOOD | {"GEO_PRIMARY_REGISTRY_DOCKER_CONFIG": other})
    assert (own.primary.auth, own.primary.docker_config_path) == (AuthKind.DOCKER, Path(other))
    assert own.secondary is not None
    assert (own.secondary.auth, own.secondary.docker_config_path) == (AuthKind.ANONYMOUS, None)

    # And where there is none, it is said what to do
    (problem,) = problems(docker | {"HOME": str(tmp_path / "nowhere")})
    assert "docker login" in problem
    assert "GEO_PRIMARY_REGISTRY_DOCKER_CONFIG" in problem


def test_hosts_of_tokens_are_separated_by_blanks_or_commas() -> None:
    settings = Settings.from_env(GOOD | {"GEO_PRIMARY_REGISTRY_TOKEN_HOSTS": "auth.example.net, 10.0.0.7:8443\nother"})
    assert settings.primary.token_hosts == ("auth.example.net", "10.0.0.7:8443", "other")
