"""The environment as one frozen, validated value. All mistakes are told at once; secrets never print themselves."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from app import redis_address
from app.rates import InvalidRates, Rates

T = TypeVar("T")

#: Where everything lives that a single machine keeps: state, broker data, spool, session key.
STATE_DIRECTORY = Path("var")

#: Bytes that the spool may take where nothing else is said.
SPOOL_LIMIT = 20 * 1024**3

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}

#: One of several patterns; a comma within braces belongs to a regular expression (`{1,3}`), no tag has one.
_TAG_PATTERN = re.compile(r"regex:(?:\{[^}\s]*\}|[^\s,])+|[^\s,]+")

#: What a comparator of a range of versions compares with.
_OPERAND = r"[^\s,|<>=~^]+"

#: The same with `semver:` and `!`. No tag begins with an operator: what follows one belongs to the range before it.
_TAG_SCOPE_PATTERN = re.compile(
    rf"!?semver:\s*[<>=~^]*\s*{_OPERAND}(?:[\s,]*[<>=~^]+\s*{_OPERAND}|\s*\|\|\s*[<>=~^]*\s*{_OPERAND})*"
    rf"|!?regex:(?:\{{[^}}\s]*\}}|[^\s,])+|[^\s,]+"
)

#: In which everything is looked at once where nothing else is said.
RECONCILE_INTERVAL = timedelta(days=1)

#: In which everything is verified once where nothing else is said.
VERIFICATION_INTERVAL = timedelta(days=7)

#: Schemes of an address of Redis or Valkey.
REDIS = redis_address.PLAIN | redis_address.SENTINEL

_SPANS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

#: Requests at once to one registry where nothing else is said.
MAX_CONNECTIONS = 64

#: Repositories that a site may be allowed to sync at once.
MAX_CAPACITY = 100_000

#: Requests to the API in a minute where nothing else is said.
API_RATE_LIMIT = 600

#: Where Google publishes the keys of its identity tokens.
GOOGLE_KEYS_URL = "https://www.googleapis.com/oauth2/v3/certs"

#: A notification secret shorter than this is accepted (a registry may already be set up with it) but warned of.
WEAK_SECRET_LENGTH = 16


class SettingsError(Exception):
    """The environment cannot be used; `problems` lists every mistake, a line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("The settings cannot be used:\n" + "\n".join(f"  - {p}" for p in problems))
        self.problems = problems


class Role(StrEnum):
    """What this deployment is: the receiving side, the pulling side, or both in one."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    BOTH = "both"

    @property
    def receives(self) -> bool:
        return self is not Role.SECONDARY

    @property
    def replicates(self) -> bool:
        return self is not Role.PRIMARY


class Deletion(StrEnum):
    """What may be deleted on a secondary."""

    OFF = "off"
    TAGS = "tags"
    TAGS_AND_UNTAGGED = "tags+untagged"
    MIRROR = "mirror"


class VerificationLevel(StrEnum):
    """How much of a repository is proven, from the outside, to be on a secondary; each includes those before it."""

    #: Every tag stands on the right digest.
    TAGS = "tags"
    #: And every manifest below the tags is there, byte for byte.
    MANIFESTS = "manifests"
    #: And of every blob the first byte can be read, and its size is right.
    BLOBS = "blobs"
    #: And every blob hashes to its digest.
    CONTENT = "content"

    @property
    def depth(self) -> int:
        """Its place among the levels, from 0: they compare by this and not as text."""
        return list(VerificationLevel).index(self)

    def reaches(self, other: VerificationLevel) -> bool:
        """Whether it proves what `other` proves."""
        return self.depth >= other.depth


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


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A string that must not reach a log, a page or a `repr`."""

    value: str

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__


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


@dataclass(frozen=True, slots=True)
class SourceSettings:
    """Where a secondary's own deployment finds the event log of the primary's."""

    #: The primary's deployment, and our token there; both or none.
    url: str | None
    token: Secret | None
    ca_path: Path | None
    #: A standby of the primary's PostgreSQL; the log is read there if it is given.
    database_url: Secret | None


@dataclass(frozen=True, slots=True)
class IdentitySettings:
    """What an identity token that comes with a notification must say, and where the keys are that it is signed with."""

    audience: str
    emails: tuple[str, ...]
    keys_url: str


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the processes are told from outside (docs/settings.md)."""

    database_url: Secret
    redis_url: Secret | None
    broker_url: Secret | None
    port: int
    worker_processes: int
    worker_threads: int
    role: Role
    site_name: str
    replication_enabled: bool
    primary: RegistrySettings
    secondary: RegistrySettings | None
    notification_secrets: tuple[Secret, ...]
    admin_token: Secret | None
    #: The first signs and seals, all are recognized.
    secret_keys: tuple[Secret, ...]
    repositories: tuple[str, ...]
    #: Allow and deny patterns of tags (app.replication.tag_scope).
    tags: tuple[str, ...]
    #: Repositories synced at once at most; None: as many as there are threads.
    capacity: int | None
    #: In which everything is looked at once, told of by an event or not; None: not by itself.
    reconcile_interval: timedelta | None
    deletion: Deletion
    #: Globs, and regular expressions after `regex:`, of tags that are never deleted.
    protected_tags: tuple[str, ...]
    spool_directory: Path
    #: Bytes; 0 does without a spool.
    spool_limit: int
    #: Of what a sync has brought; None: not verified.
    verification: VerificationLevel | None
    #: In which everything is verified once, and how far; None: not by itself.
    verification_interval: timedelta | None
    verification_interval_level: VerificationLevel
    #: Requests a second of verification, in each process; 0 does not limit.
    verification_rate: int
    state_directory: Path = field(default=STATE_DIRECTORY)
    #: Requests to the API from one address in a minute, in each process; 0 does not limit.
    api_rate_limit: int = API_RATE_LIMIT
    #: Where events come from in a secondary's own deployment; None where registries send them.
    source: SourceSettings | None = None
    #: Of Google's identity tokens, which prove Artifact Registry's events; None: those are refused.
    identity: IdentitySettings | None = None

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read and check the environment.

        Raises:
            SettingsError: with every problem found, each saying which variable to change.
        """
        env = _Environment(environ)
        settings = env.settings()
        if env.problems:
            raise SettingsError(env.problems)
        return settings

    def warnings(self) -> list[str]:
        """What works but should not stay as it is."""
        found = []
        if any(len(secret.value) < WEAK_SECRET_LENGTH for secret in self.notification_secrets):
            found.append(
                f"GEO_NOTIFICATION_SECRET is shorter than {WEAK_SECRET_LENGTH} characters;"
                " `geo keygen` makes a strong one."
            )
        if self.admin_token is None:
            found.append("GEO_ADMIN_TOKEN is not set: the API and the pages under /admin are closed.")
        elif len(self.admin_token.value) < WEAK_SECRET_LENGTH:
            found.append(f"GEO_ADMIN_TOKEN is shorter than {WEAK_SECRET_LENGTH} characters.")
        if self.identity is not None and self.identity.keys_url.startswith("http://"):
            found.append("GEO_NOTIFICATION_KEYS_URL is plain http: whoever is on the way can give us keys of his own.")
        if self.source is not None and (self.source.url or "").startswith("http://"):
            found.append("GEO_PRIMARY_URL is plain http: the site's token can be read on the way.")
        return found


#: Said in place of what the parser says, which quotes the part it stumbled over: often half a password.
UNREADABLE = "cannot be read: reserved characters in a user name or password must be percent-encoded"


def _readable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (parts.port or 1) > 0 and "#" not in url
    except ValueError:
        return False


class _Environment:
    """Reads variables and gathers problems instead of stopping at the first."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def settings(self) -> Settings:
        role = self.choice("GEO_ROLE", Role, Role.BOTH)
        source = self.source(role)
        deletion = self.choice("GEO_DELETION", Deletion, Deletion.TAGS)
        secrets = self.secrets("GEO_NOTIFICATION_SECRET")
        if role.receives and not secrets:
            self.problems.append(
                "GEO_NOTIFICATION_SECRET is required: the value that the registry sends in its Authorization header."
            )
        return Settings(
            database_url=Secret(self.database_url()),
            redis_url=self.secret_url("REDIS_URL", REDIS),
            broker_url=self.secret_url("BROKER_URL", REDIS | {"amqp", "amqps", "stub"}),
            port=self.number("PORT", 8000, 1, 65535),
            worker_processes=self.number("WORKER_PROCESSES", 2, 1, 256),
            worker_threads=self.number("WORKER_THREADS", 8, 1, 256),
            role=role,
            source=source,
            site_name=self.site_name(),
            replication_enabled=self.boolean("GEO_REGISTRY_REPLICATION_ENABLED", default=True),
            primary=self.registry("PRIMARY", "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL", source),
            secondary=self.registry("SECONDARY", "GEO_SECONDARY_REGISTRY_URL") if role.replicates else None,
            notification_secrets=secrets,
            admin_token=self.secret("GEO_ADMIN_TOKEN"),
            secret_keys=self.secrets("GEO_SECRET_KEY"),
            repositories=tuple(re.findall(r"[^\s,]+", self.text_or("GEO_REPOSITORIES", ""))),
            tags=tuple(" ".join(each.split()) for each in _TAG_SCOPE_PATTERN.findall(self.text_or("GEO_TAGS", ""))),
            capacity=self.number("GEO_CONTAINER_REPOSITORIES_MAX_CAPACITY", 0, 0, MAX_CAPACITY) or None,
            reconcile_interval=self.duration("GEO_RECONCILE_INTERVAL", RECONCILE_INTERVAL),
            deletion=deletion,
            protected_tags=tuple(_TAG_PATTERN.findall(self.text_or("GEO_PROTECTED_TAGS", ""))),
            spool_directory=Path(self.text("GEO_SPOOL_DIR") or STATE_DIRECTORY / "spool"),
            spool_limit=self.size("GEO_SPOOL_MAX_BYTES", SPOOL_LIMIT),
            verification=self.level("GEO_VERIFICATION", VerificationLevel.MANIFESTS),
            verification_interval=self.duration("GEO_VERIFICATION_INTERVAL", VERIFICATION_INTERVAL),
            verification_interval_level=self.choice(
                "GEO_VERIFICATION_INTERVAL_LEVEL", VerificationLevel, VerificationLevel.BLOBS
            ),
            verification_rate=self.number("GEO_VERIFICATION_RATE", 100, 0, 100_000),
            api_rate_limit=self.number("GEO_API_RATE_LIMIT", API_RATE_LIMIT, 0, 1_000_000),
            identity=self.identity(),
        )

    def identity(self) -> IdentitySettings | None:
        """Whose identity tokens are taken; audience and address only together, for either alone anybody can have."""
        audience = self.text("GEO_NOTIFICATION_AUDIENCE")
        emails = tuple(re.findall(r"[^\s,]+", self.text_or("GEO_NOTIFICATION_EMAIL", "")))
        keys_url = self.text_or("GEO_NOTIFICATION_KEYS_URL", GOOGLE_KEYS_URL)
        if not keys_url.startswith(("https://", "http://")) or not _readable(keys_url):
            self.problems.append("GEO_NOTIFICATION_KEYS_URL must be an http:// or https:// address.")
        if (audience is None) != (not emails):
            self.problems.append(
                "GEO_NOTIFICATION_AUDIENCE and GEO_NOTIFICATION_EMAIL go together: what the push subscription's token"
                " is for, and the service account that it is of."
            )
        return IdentitySettings(audience, emails, keys_url) if audience and emails else None

    def source(self, role: Role) -> SourceSettings | None:
        """Where a secondary's own deployment reads the log; nothing of it may be set elsewhere."""
        names = ("GEO_PRIMARY_URL", "GEO_SITE_TOKEN", "GEO_PRIMARY_CA_PATH", "GEO_PRIMARY_DATABASE_URL")
        if role is not Role.SECONDARY:
            given = [name for name in names if self.text(name)]
            if given:
                self.problems.append(f"{', '.join(given)}: only for GEO_ROLE=secondary, which follows another's log.")
            return None
        url, token = self.text("GEO_PRIMARY_URL"), self.secret("GEO_SITE_TOKEN")
        database_url = self.secret_url("GEO_PRIMARY_DATABASE_URL", {"postgresql", "postgres"})
        if (url is None) != (token is None) or not (url or database_url):
            self.problems.append(
                "GEO_ROLE=secondary needs GEO_PRIMARY_URL, the primary's deployment, and GEO_SITE_TOKEN, which"
                " `geo sites add NAME` gives there; or GEO_PRIMARY_DATABASE_URL, a standby of its PostgreSQL."
            )
        return SourceSettings(
            url=self.http_url("GEO_PRIMARY_URL") if url else None,
            token=token,
            ca_path=self.existing_file(self.text("GEO_PRIMARY_CA_PATH"), "GEO_PRIMARY_CA_PATH"),
            database_url=database_url,
        )

    def registry(self, side: str, url_variable: str, source: SourceSettings | None = None) -> RegistrySettings:
        prefix = f"GEO_{side}_REGISTRY_"

        def shared(name: str) -> str | None:
            return self.text(prefix + name) or self.text(f"GEO_REGISTRY_{name}")

        key = self.existing_file(shared("KEY_PATH"), f"{prefix}KEY_PATH or GEO_REGISTRY_KEY_PATH")
        certificate = self.existing_file(
            shared("CERTIFICATE_PATH"), f"{prefix}CERTIFICATE_PATH or GEO_REGISTRY_CERTIFICATE_PATH"
        )
        ours = source is not None and source.url is not None
        default = AuthKind.TOKEN if key else AuthKind.SITE if ours else AuthKind.ANONYMOUS
        docker_config = self.existing_file(self.text(prefix + "DOCKER_CONFIG"), prefix + "DOCKER_CONFIG")
        auth = self.choice(prefix + "AUTH", AuthKind, AuthKind.DOCKER if docker_config else default)
        username, password = self.text(prefix + "USERNAME"), self.secret(prefix + "PASSWORD")
        if auth is AuthKind.TOKEN and key is None:
            self.problems.append(
                f"{prefix}AUTH is `token`, which needs a key: set GEO_REGISTRY_KEY_PATH (`geo keygen` makes one)."
            )
        if auth in {AuthKind.BASIC, AuthKind.GHCR} and not (username and password):
            token = ", a personal access token (classic)" if auth is AuthKind.GHCR else ""
            self.problems.append(f"{prefix}AUTH is `{auth}`: set {prefix}USERNAME and {prefix}PASSWORD{token}.")
        if auth in {AuthKind.ACR, AuthKind.GAR} and (username is None) != (password is None):
            self.problems.append(
                f"{prefix}AUTH is `{auth}`: {prefix}USERNAME and {prefix}PASSWORD go together; without both, the"
                " credentials are those that this machine has from its cloud."
            )
        if auth is AuthKind.SITE and not ours:
            self.problems.append(f"{prefix}AUTH is `site`, which needs GEO_ROLE=secondary and GEO_PRIMARY_URL.")
        if auth is AuthKind.BEARER and not password:
            self.problems.append(f"{prefix}AUTH is `bearer`: set {prefix}PASSWORD to the token.")
        return RegistrySettings(
            url=self.http_url(url_variable),
            auth=auth,
            key_path=key,
            certificate_path=certificate,
            issuer=shared("ISSUER") or "geo-registry",
            service=shared("SERVICE") or "container_registry",
            ca_path=self.existing_file(self.text(prefix + "CA_PATH"), prefix + "CA_PATH"),
            username=username,
            password=password,
            max_connections=self.number_or_none(prefix + "MAX_CONNECTIONS", 2, 10_000),
            rates=self.rates(prefix + "MAX_BYTES_PER_SECOND"),
            ratelimit_floor=self.number_or_none(prefix + "RATELIMIT_FLOOR", 0, 1_000_000),
            provider=self.provider(prefix + "PROVIDER"),
            control_url=self.control_url(prefix + "CONTROL_URL"),
            cloud=self.cloud(prefix),
            docker_config_path=docker_config or (self.docker_config(prefix) if auth is AuthKind.DOCKER else None),
            token_hosts=tuple(re.findall(r"[^\s,]+", self.text_or(prefix + "TOKEN_HOSTS", ""))),
        )

    def cloud(self, prefix: str) -> CloudSettings:
        """What narrows the credentials that a cloud's own library finds by itself."""
        name = prefix + "GOOGLE_CREDENTIALS"
        return CloudSettings(
            aws_region=self.text(prefix + "AWS_REGION"),
            aws_profile=self.text(prefix + "AWS_PROFILE"),
            azure_client_id=self.text(prefix + "AZURE_CLIENT_ID"),
            google_credentials_path=self.existing_file(self.text(name), name),
        )

    def docker_config(self, prefix: str) -> Path | None:
        """Docker's own file: in DOCKER_CONFIG, a directory, or the home directory."""
        directory = self.text("DOCKER_CONFIG") or (f"{home}/.docker" if (home := self.text("HOME")) else None)
        path = Path(directory or ".docker") / "config.json"
        if not path.is_file():
            self.problems.append(
                f"{prefix}AUTH is `docker`, and there is no file {path}: `docker login` makes it, or set"
                f" {prefix}DOCKER_CONFIG to the one to use."
            )
        return path

    def database_url(self) -> str:
        url = self.text("DATABASE_URL") or f"sqlite:///{STATE_DIRECTORY}/geo.db"
        if not _readable(url):
            self.problems.append(f"DATABASE_URL {UNREADABLE}.")
        scheme = url.partition("://")[0]
        if scheme not in {"sqlite", "postgresql", "postgres"}:
            self.problems.append("DATABASE_URL must begin with sqlite:/// or postgresql://.")
        return url

    def site_name(self) -> str:
        name = self.text_or("GEO_SITE_NAME", "secondary")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", name) or name == "primary":
            self.problems.append("GEO_SITE_NAME must be 1 to 63 letters, digits, `.`, `_` or `-`, and not `primary`.")
        return name

    def http_url(self, name: str) -> str:
        value = self.text(name) or ""
        if not value:
            self.problems.append(
                f"{name} is required: the registry's address, such as https://registry.example.com:5050"
            )
            return ""
        try:
            parts = urlsplit(value)
            usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            usable = False
            parts = urlsplit("")
        if not usable:
            self.problems.append(f"{name} must be an http:// or https:// address.")
        elif parts.username or parts.password:
            self.problems.append(f"{name} must not hold a user name or password; there are variables for them.")
        elif parts.query or parts.fragment or parts.path.strip("/"):
            self.problems.append(f"{name} must be the registry's root, without a path or query.")
        return value.rstrip("/")

    def secret_url(self, name: str, schemes: Set[str]) -> Secret | None:
        value = self.text(name)
        if value and (problem := redis_address.problem(value)):
            self.problems.append(f"{name}: {problem}.")
        elif value and not (redis_address.is_sentinel(value) or _readable(value)):
            self.problems.append(f"{name} {UNREADABLE}.")
        elif value and value.partition("://")[0] not in schemes:
            self.problems.append(
                f"{name} must begin with one of: " + ", ".join(f"{s}://" for s in sorted(schemes)) + "."
            )
        return Secret(value) if value else None

    def existing_file(self, value: str | None, name: str) -> Path | None:
        if not value:
            return None
        path = Path(value)
        if not path.is_file():
            self.problems.append(f"{name}: there is no file {value}.")
        return path

    def secret(self, name: str) -> Secret | None:
        value = self.text(name)
        return Secret(value) if value else None

    def secrets(self, name: str) -> tuple[Secret, ...]:
        """Several, separated by commas."""
        return tuple(Secret(each.strip()) for each in self.text_or(name, "").split(",") if each.strip())

    def boolean(self, name: str, *, default: bool) -> bool:
        value = self.text_or(name, "true" if default else "false").lower()
        if value not in {"true", "false", "1", "0", "yes", "no", "on", "off"}:
            self.problems.append(f"{name} must be true or false.")
        return value in {"true", "1", "yes", "on"}

    def number(self, name: str, default: int, low: int, high: int) -> int:
        value = self.text_or(name, str(default))
        if not re.fullmatch(r"[0-9]{1,12}", value) or not low <= int(value) <= high:
            self.problems.append(f"{name} must be a whole number from {low} to {high}.")
            return default
        return int(value)

    def number_or_none(self, name: str, low: int, high: int) -> int | None:
        """None where nothing is said."""
        return None if self.text(name) is None else self.number(name, low, low, high)

    def provider(self, name: str) -> ProviderName | None:
        """None where nothing is said."""
        return None if self.text(name) is None else self.choice(name, ProviderName, ProviderName.GENERIC)

    def control_url(self, name: str) -> str | None:
        """An address, which may have a path."""
        value = self.text(name)
        if value is not None and not (value.startswith(("https://", "http://")) and _readable(value)):
            self.problems.append(f"{name} must be an http:// or https:// address.")
        return value

    def size(self, name: str, default: int) -> int:
        """A number of bytes, with or without a unit."""
        value = self.text(name)
        if value is None:
            return default
        match = re.fullmatch(r"([0-9]{1,15})\s*([KMGT]i?)?B?", value)
        if match is None:
            self.problems.append(f"{name} must be a number of bytes, with K, M, G, T, Ki, Mi, Gi or Ti if you like.")
            return default
        return int(match[1]) * _UNITS[match[2] or ""]

    def level(self, name: str, default: VerificationLevel) -> VerificationLevel | None:
        """A level of verification, or `off`."""
        if self.text(name) == "off":
            return None
        return self.choice(name, VerificationLevel, default, also=("off",))

    def duration(self, name: str, default: timedelta) -> timedelta | None:
        """A time span, or `off`."""
        value = self.text(name)
        if value is None:
            return default
        if value == "off":
            return None
        match = re.fullmatch(r"([1-9][0-9]{0,5})\s*([smhdw])", value)
        if match is None:
            self.problems.append(f"{name} must be a number with s, m, h, d or w, such as 7d, or off.")
            return default
        return timedelta(**{_SPANS[match[2]]: int(match[1])})

    def rates(self, name: str) -> Rates:
        """Bytes a second, by time."""
        try:
            return Rates.parse(self.text_or(name, ""))
        except InvalidRates as error:
            self.problems.append(f"{name}: {error}.")
            return Rates()

    def choice(self, name: str, kind: Callable[[str], T], default: T, also: tuple[str, ...] = ()) -> T:
        """A member of an enumeration; `also` is named beside its members when the value is none of them."""
        value = self.text(name)
        if value is None:
            return default
        try:
            return kind(value)
        except ValueError:
            members = ", ".join((*also, *kind))  # type: ignore[misc]  # every kind here is a StrEnum
            self.problems.append(f"{name} must be one of: {members}.")
            return default

    def text(self, name: str) -> str | None:
        """The variable without surrounding space; empty counts as unset."""
        return self._environ.get(name, "").strip() or None

    def text_or(self, name: str, default: str) -> str:
        return self.text(name) or default
