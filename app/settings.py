"""The environment as one frozen, validated value. All mistakes are told at once; secrets never print themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from app import redis_address
from app.environment import UNREADABLE, Environment, readable
from app.environment import Secret as Secret
from app.environment import SettingsError as SettingsError
from app.registry_settings import MAX_CONNECTIONS as MAX_CONNECTIONS
from app.registry_settings import AuthKind as AuthKind
from app.registry_settings import CloudSettings as CloudSettings
from app.registry_settings import ProviderName as ProviderName
from app.registry_settings import RegistrySettings as RegistrySettings
from app.registry_settings import read_registry
from app.retention import KEEP_EVENTS, KEEP_HISTORY, KEEP_QUARANTINE, KEEP_UNREAD_EVENTS, Retention
from app.site_environment import REGISTRY, SITE_NAME, SiteEnvironment, is_site_name, strays, suffix

#: Where everything lives that a single machine keeps: state, broker data, spool, session key.
STATE_DIRECTORY = Path("var")

#: Bytes that the spool may take where nothing else is said.
SPOOL_LIMIT = 20 * 1024**3

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

#: Repositories that a site may be allowed to sync at once.
MAX_CAPACITY = 100_000

#: Requests to the API in a minute where nothing else is said.
API_RATE_LIMIT = 600

#: Where Google publishes the keys of its identity tokens.
GOOGLE_KEYS_URL = "https://www.googleapis.com/oauth2/v3/certs"

#: A notification secret shorter than this is accepted (a registry may already be set up with it) but warned of.
WEAK_SECRET_LENGTH = 16


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
    retention: Retention = field(default_factory=Retention)
    #: The same for each further site that this deployment replicates to; what is said above is of the first.
    further: tuple[Settings, ...] = ()

    @property
    def every(self) -> tuple[Settings, ...]:
        """The settings of each site, the first before the others."""
        return (self, *self.further)

    @property
    def queue_url(self) -> str | None:
        """Where messages go: `BROKER_URL`, else the database after that of `REDIS_URL`, whose own is for caches, since
        Dramatiq's maintenance scans all keys of the one it is in. None where neither is set."""
        if self.broker_url is not None:
            return self.broker_url.value
        return None if self.redis_url is None else redis_address.in_next_database(self.redis_url.value)

    def at(self, site_name: str) -> Settings | None:
        """The settings of the site of this name, None where the environment names no such site."""
        return next((each for each in self.every if each.site_name == site_name), None)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Read and check the environment.

        Raises:
            SettingsError: with every problem found, each saying which variable to change.
        """
        env = Environment(environ)
        settings = _read(env)
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


def _read(env: Environment) -> Settings:
    role = env.choice("GEO_ROLE", Role, Role.BOTH)
    source = _source(env, role)
    secrets = env.secrets("GEO_NOTIFICATION_SECRET")
    if role.receives and not secrets:
        env.problem(
            "GEO_NOTIFICATION_SECRET is required: the value that the registry sends in its Authorization header."
        )
    names = _site_names(env, role)
    # What is one site's is filled in below.
    settings = Settings(
        database_url=Secret(_database_url(env)),
        redis_url=env.secret_url("REDIS_URL", REDIS),
        broker_url=env.secret_url("BROKER_URL", REDIS | {"amqp", "amqps", "stub"}),
        port=env.number("PORT", 8000, 1, 65535),
        worker_processes=env.number("WORKER_PROCESSES", 2, 1, 256),
        worker_threads=env.number("WORKER_THREADS", 8, 1, 256),
        role=role,
        source=source,
        site_name=names[0],
        replication_enabled=env.boolean("GEO_REGISTRY_REPLICATION_ENABLED", default=True),
        primary=read_registry(
            env,
            "GEO_PRIMARY_REGISTRY_",
            "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL",
            by_site=source is not None and source.url is not None,
        ),
        secondary=None,
        notification_secrets=secrets,
        admin_token=env.secret("GEO_ADMIN_TOKEN"),
        secret_keys=env.secrets("GEO_SECRET_KEY"),
        repositories=(),
        tags=(),
        capacity=None,
        reconcile_interval=env.duration("GEO_RECONCILE_INTERVAL", RECONCILE_INTERVAL),
        deletion=Deletion.OFF,
        protected_tags=(),
        spool_directory=Path(env.text("GEO_SPOOL_DIR") or STATE_DIRECTORY / "spool"),
        spool_limit=env.size("GEO_SPOOL_MAX_BYTES", SPOOL_LIMIT),
        verification=_level(env, "GEO_VERIFICATION", VerificationLevel.MANIFESTS),
        verification_interval=env.duration("GEO_VERIFICATION_INTERVAL", VERIFICATION_INTERVAL),
        verification_interval_level=env.choice(
            "GEO_VERIFICATION_INTERVAL_LEVEL", VerificationLevel, VerificationLevel.BLOBS
        ),
        verification_rate=env.number("GEO_VERIFICATION_RATE", 100, 0, 100_000),
        api_rate_limit=env.number("GEO_API_RATE_LIMIT", API_RATE_LIMIT, 0, 1_000_000),
        identity=_identity(env),
        retention=Retention(
            events=env.duration("GEO_KEEP_EVENTS", KEEP_EVENTS),
            unread_events=env.duration("GEO_KEEP_UNREAD_EVENTS", KEEP_UNREAD_EVENTS),
            history=env.duration("GEO_KEEP_HISTORY", KEEP_HISTORY),
            quarantine=env.duration("GEO_KEEP_QUARANTINE", KEEP_QUARANTINE),
        ),
    )
    first, *others = (_of_site(env, settings, name, first=name == names[0]) for name in names)
    for stray in strays(env.environ, names):
        env.problem(f"{stray} is the variable of no site in GEO_SITE_NAME ({', '.join(names)}): is it misspelled?")
    return replace(first, further=tuple(others))


def _of_site(env: Environment, settings: Settings, name: str, *, first: bool) -> Settings:
    """The settings with what is this site's own."""
    own = SiteEnvironment(env.environ, name, first=first)
    narrowed = replace(
        settings,
        site_name=name,
        secondary=read_registry(own, REGISTRY, f"{REGISTRY}URL") if settings.role.replicates else None,
        repositories=own.words("GEO_REPOSITORIES"),
        tags=tuple(" ".join(each.split()) for each in _TAG_SCOPE_PATTERN.findall(own.text_or("GEO_TAGS", ""))),
        capacity=own.number("GEO_CONTAINER_REPOSITORIES_MAX_CAPACITY", 0, 0, MAX_CAPACITY) or None,
        deletion=own.choice("GEO_DELETION", Deletion, Deletion.TAGS),
        protected_tags=tuple(_TAG_PATTERN.findall(own.text_or("GEO_PROTECTED_TAGS", ""))),
    )
    for problem in own.problems:
        env.problem(problem)
    return narrowed


def _site_names(env: Environment, role: Role) -> tuple[str, ...]:
    """The sites that this deployment replicates to, the first of them the one that a single site's variables mean."""
    given = [each.strip() for each in env.text_or("GEO_SITE_NAME", "").split(",") if each.strip()]
    names = tuple(dict.fromkeys(given)) or ("secondary",)
    if not all(is_site_name(name) for name in names):
        env.problem(f"GEO_SITE_NAME must be {SITE_NAME}; several names are separated by commas.")
    if len({suffix(name) for name in names}) < len(names):
        env.problem(
            "GEO_SITE_NAME has names that differ in nothing but case or punctuation: their variables would too."
        )
    if len(names) > 1 and role is Role.SECONDARY:
        env.problem("GEO_SITE_NAME may be one name only where GEO_ROLE is `secondary`: each site has its own token.")
    return names


def _identity(env: Environment) -> IdentitySettings | None:
    """Whose identity tokens are taken; audience and address only together, for either alone anybody can have."""
    audience = env.text("GEO_NOTIFICATION_AUDIENCE")
    emails = env.words("GEO_NOTIFICATION_EMAIL")
    keys_url = env.text_or("GEO_NOTIFICATION_KEYS_URL", GOOGLE_KEYS_URL)
    if not keys_url.startswith(("https://", "http://")) or not readable(keys_url):
        env.problem("GEO_NOTIFICATION_KEYS_URL must be an http:// or https:// address.")
    if (audience is None) != (not emails):
        env.problem(
            "GEO_NOTIFICATION_AUDIENCE and GEO_NOTIFICATION_EMAIL go together: what the push subscription's token"
            " is for, and the service account that it is of."
        )
    return IdentitySettings(audience, emails, keys_url) if audience and emails else None


def _source(env: Environment, role: Role) -> SourceSettings | None:
    """Where a secondary's own deployment reads the log; nothing of it may be set elsewhere."""
    names = ("GEO_PRIMARY_URL", "GEO_SITE_TOKEN", "GEO_PRIMARY_CA_PATH", "GEO_PRIMARY_DATABASE_URL")
    if role is not Role.SECONDARY:
        given = [name for name in names if env.text(name)]
        if given:
            env.problem(f"{', '.join(given)}: only for GEO_ROLE=secondary, which follows another's log.")
        return None
    url, token = env.text("GEO_PRIMARY_URL"), env.secret("GEO_SITE_TOKEN")
    database_url = env.secret_url("GEO_PRIMARY_DATABASE_URL", {"postgresql", "postgres"})
    if (url is None) != (token is None) or not (url or database_url):
        env.problem(
            "GEO_ROLE=secondary needs GEO_PRIMARY_URL, the primary's deployment, and GEO_SITE_TOKEN, which"
            " `geo sites add NAME` gives there; or GEO_PRIMARY_DATABASE_URL, a standby of its PostgreSQL."
        )
    return SourceSettings(
        url=env.http_url("GEO_PRIMARY_URL") if url else None,
        token=token,
        ca_path=env.existing_file(env.text("GEO_PRIMARY_CA_PATH"), "GEO_PRIMARY_CA_PATH"),
        database_url=database_url,
    )


def _database_url(env: Environment) -> str:
    url = env.text("DATABASE_URL") or f"sqlite:///{STATE_DIRECTORY}/geo.db"
    if not readable(url):
        env.problem(f"DATABASE_URL {UNREADABLE}.")
    scheme = url.partition("://")[0]
    if scheme not in {"sqlite", "postgresql", "postgres"}:
        env.problem("DATABASE_URL must begin with sqlite:/// or postgresql://.")
    return url


def _level(env: Environment, name: str, default: VerificationLevel) -> VerificationLevel | None:
    """A level of verification, or `off`."""
    if env.text(name) == "off":
        return None
    return env.choice(name, VerificationLevel, default, also=("off",))
