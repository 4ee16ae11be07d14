"""A registry's settings: where it is, whose it is, and who we are there."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from app.environment import Environment, Secret
from app.rates import Rates

#: Requests at once to one registry where nothing else is said.
MAX_CONNECTIONS = 64


class AuthKind(StrEnum):
    """How a registry wants to be asked."""

    TOKEN = "token"  # noqa: S105 - the name of a method
    BASIC = "basic"
    BEARER = "bearer"
    ANONYMOUS = "anonymous"
    #: By the token that the primary's deployment has for this site.
    SITE = "site"
    #: Amazon ECR: by AWS's own credentials.
    ECR = "ecr"
    #: Azure Container Registry: by Azure's own credentials, or user and password.
    ACR = "acr"
    #: Google Artifact Registry: by Google's own credentials, or user and password.
    GAR = "gar"
    #: GitHub's registry: by a personal access token.
    GHCR = "ghcr"
    #: As Docker on this machine: its config.json and credential helpers.
    DOCKER = "docker"


class ProviderName(StrEnum):
    """Whose registry it is, where that is more than the specification (app.providers)."""

    ECR = "ecr"
    ECR_PUBLIC = "ecr-public"
    ACR = "acr"
    GAR = "gar"
    GHCR = "ghcr"
    BUNDLE_BAR = "bundle-bar"
    BUNDLE_BAR_PRO = "bundle-bar-pro"
    DOCKER_HUB = "docker-hub"
    HARBOR = "harbor"
    QUAY = "quay"
    ZOT = "zot"
    GITLAB = "gitlab"
    DISTRIBUTION_2 = "distribution-2"
    DISTRIBUTION_3 = "distribution-3"
    #: None of these, or nobody knows.
    GENERIC = "generic"


@dataclass(frozen=True, slots=True)
class CloudSettings:
    """Which of a cloud's own credentials are a registry's, where its environment leaves that open."""

    aws_region: str | None = None
    aws_profile: str | None = None
    azure_client_id: str | None = None
    #: A file with a service account's key, or a configuration of workload identity federation.
    google_credentials_path: Path | None = None


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """How to reach one registry and how to prove who we are there."""

    url: str
    auth: AuthKind
    key_path: Path | None
    certificate_path: Path | None
    issuer: str
    service: str
    ca_path: Path | None
    username: str | None
    password: Secret | None
    #: Requests at once: from each process, and from all together once the registry has asked us to slow down. None: as
    #: many as its provider likes.
    max_connections: int | None = None
    rates: Rates = field(default_factory=Rates)
    #: Requests of the registry's quota that are left to others; 0 does not look at it. None: as its provider needs.
    ratelimit_floor: int | None = None
    #: Whose registry it is; None: to be told by its host.
    provider: ProviderName | None = None
    #: The provider's own API beside the registry, where that is not at its usual address.
    control_url: str | None = None
    cloud: CloudSettings = field(default_factory=CloudSettings)
    #: Docker's config.json, for `docker`.
    docker_config_path: Path | None = None
    #: Hosts that may be its token service, on whatever domain and network.
    token_hosts: tuple[str, ...] = ()


def read_registry(env: Environment, prefix: str, url_variable: str, *, by_site: bool = False) -> RegistrySettings:
    """Read the variables that begin with `prefix`, and the address.

    `by_site` tells that the primary's deployment gives us tokens for it.
    """

    def shared(name: str) -> str | None:
        return env.text(prefix + name) or env.text(f"GEO_REGISTRY_{name}")

    key = env.existing_file(shared("KEY_PATH"), f"{prefix}KEY_PATH or GEO_REGISTRY_KEY_PATH")
    certificate = env.existing_file(
        shared("CERTIFICATE_PATH"), f"{prefix}CERTIFICATE_PATH or GEO_REGISTRY_CERTIFICATE_PATH"
    )
    default = AuthKind.TOKEN if key else AuthKind.SITE if by_site else AuthKind.ANONYMOUS
    docker_config = env.existing_file(env.text(prefix + "DOCKER_CONFIG"), prefix + "DOCKER_CONFIG")
    auth = env.choice(prefix + "AUTH", AuthKind, AuthKind.DOCKER if docker_config else default)
    username, password = env.text(prefix + "USERNAME"), env.secret(prefix + "PASSWORD")
    if auth is AuthKind.TOKEN and key is None:
        env.problem(f"{prefix}AUTH is `token`, which needs a key: set GEO_REGISTRY_KEY_PATH (`geo keygen` makes one).")
    if auth in {AuthKind.BASIC, AuthKind.GHCR} and not (username and password):
        token = ", a personal access token (classic)" if auth is AuthKind.GHCR else ""
        env.problem(f"{prefix}AUTH is `{auth}`: set {prefix}USERNAME and {prefix}PASSWORD{token}.")
    if auth in {AuthKind.ACR, AuthKind.GAR} and (username is None) != (password is None):
        env.problem(
            f"{prefix}AUTH is `{auth}`: {prefix}USERNAME and {prefix}PASSWORD go together; without both, the"
            " credentials are those that this machine has from its cloud."
        )
    if auth is AuthKind.SITE and not by_site:
        env.problem(f"{prefix}AUTH is `site`, which needs GEO_ROLE=secondary and GEO_PRIMARY_URL.")
    if auth is AuthKind.BEARER and not password:
        env.problem(f"{prefix}AUTH is `bearer`: set {prefix}PASSWORD to the token.")
    return RegistrySettings(
        url=env.http_url(url_variable),
        auth=auth,
        key_path=key,
        certificate_path=certificate,
        issuer=shared("ISSUER") or "geo-registry",
        service=shared("SERVICE") or "container_registry",
        ca_path=env.existing_file(env.text(prefix + "CA_PATH"), prefix + "CA_PATH"),
        username=username,
        password=password,
        max_connections=env.number_or_none(prefix + "MAX_CONNECTIONS", 2, 10_000),
        rates=env.rates(prefix + "MAX_BYTES_PER_SECOND"),
        ratelimit_floor=env.number_or_none(prefix + "RATELIMIT_FLOOR", 0, 1_000_000),
        provider=_provider(env, prefix + "PROVIDER"),
        control_url=env.address(prefix + "CONTROL_URL"),
        cloud=_cloud(env, prefix),
        docker_config_path=docker_config or (_docker_config(env, prefix) if auth is AuthKind.DOCKER else None),
        token_hosts=env.words(prefix + "TOKEN_HOSTS"),
    )


def _cloud(env: Environment, prefix: str) -> CloudSettings:
    """What narrows the credentials that a cloud's own library finds by itself."""
    name = prefix + "GOOGLE_CREDENTIALS"
    return CloudSettings(
        aws_region=env.text(prefix + "AWS_REGION"),
        aws_profile=env.text(prefix + "AWS_PROFILE"),
        azure_client_id=env.text(prefix + "AZURE_CLIENT_ID"),
        google_credentials_path=env.existing_file(env.text(name), name),
    )


def _docker_config(env: Environment, prefix: str) -> Path | None:
    """Docker's own file: in DOCKER_CONFIG, a directory, or the home directory."""
    directory = env.text("DOCKER_CONFIG") or (f"{home}/.docker" if (home := env.text("HOME")) else None)
    path = Path(directory or ".docker") / "config.json"
    if not path.is_file():
        env.problem(
            f"{prefix}AUTH is `docker`, and there is no file {path}: `docker login` makes it, or set"
            f" {prefix}DOCKER_CONFIG to the one to use."
        )
    return path


def _provider(env: Environment, name: str) -> ProviderName | None:
    """None where nothing is said."""
    return None if env.text(name) is None else env.choice(name, ProviderName, ProviderName.GENERIC)
