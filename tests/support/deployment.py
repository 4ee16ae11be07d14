"""A deployment inside the test's own process: settings, database and registries are real, no worker runs."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app import database, metrics, migrate
from app.boot import boot
from app.database import connection
from app.models import ContainerRepository, Reference, Site, SyncAttempt
from app.models import ContainerRepositoryRegistry as Registry
from app.notifications import RegistryEvent
from app.replication import claim, cursor, event_log, sites, work
from app.replication.claim import Claim
from app.replication.context import Context
from app.replication.cursor import Advance
from app.replication.event_log import Origin, Stored
from app.settings import Settings
from tests.support.registries import DistributionRegistry

SECRET = "tests-notification-secret"
ADMIN_TOKEN = "tests-admin-token-0123456789"


def environment(
    primary: DistributionRegistry, secondary: DistributionRegistry, database_url: str, **extra: str
) -> dict[str, str]:
    """The environment of a deployment between these registries, by the contract's names."""
    env = {
        "DATABASE_URL": database_url,
        "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": primary.url,
        "GEO_SECONDARY_REGISTRY_URL": secondary.url,
        "GEO_NOTIFICATION_SECRET": SECRET,
        "GEO_ADMIN_TOKEN": ADMIN_TOKEN,
    }
    if primary.token is not None:
        env["GEO_REGISTRY_KEY_PATH"] = str(primary.token.keys.key_path)
        env["GEO_REGISTRY_CERTIFICATE_PATH"] = str(primary.token.keys.certificate_path)
        env["GEO_REGISTRY_ISSUER"] = primary.token.issuer
        env["GEO_REGISTRY_SERVICE"] = primary.token.service
    return env | extra


def offline_environment(database_url: str, **extra: str) -> dict[str, str]:
    """The environment of a deployment whose registries nothing will be asked of: for the database's side alone."""
    env = {
        "DATABASE_URL": database_url,
        "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": "http://127.0.0.1:9",
        "GEO_SECONDARY_REGISTRY_URL": "http://127.0.0.1:10",
        "GEO_NOTIFICATION_SECRET": SECRET,
    }
    return env | extra


def event(
    action: str = "push",
    repository: str = "team/app",
    tag: str | None = None,
    digest: str | None = None,
    at: datetime | None = None,
    key: str | None = None,
) -> RegistryEvent:
    """An event as a dialect reads it, with an id of its own unless `key` is given."""
    return RegistryEvent(
        id=key or str(uuid.uuid4()),
        action=action,  # type: ignore[arg-type]
        repository=repository,
        tag=tag,
        digest=digest,
        occurred_at=at or datetime.now(UTC),
    )


@dataclass
class Deployment:
    """Migrated and booted; `site` is the secondary."""

    context: Context
    site: Site

    @classmethod
    def start(cls, env: Mapping[str, str]) -> Deployment:
        settings = Settings.from_env(env)
        context = boot(settings)
        # A query outside `connection()` would open one that its thread never gives back.
        database.database.obj.autoconnect = False
        migrate.migrate()
        site = sites.apply_environment(settings)
        assert site is not None
        return cls(context, site)

    def close(self) -> None:
        self.context.close()
        metrics.buffer.close()
        database.database.close_all()

    def event(
        self,
        action: str,
        repository: str,
        tag: str | None = None,
        digest: str | None = None,
        at: datetime | None = None,
        key: str | None = None,
    ) -> None:
        """Put an event into the log as the webhook does."""
        self.store(event(action, repository, tag, digest, at, key))

    def store(self, *events: RegistryEvent) -> Stored:
        """Put these events into the log as one envelope."""
        return event_log.store(events, [], Origin("distribution", 0))

    def mark(self) -> Advance:
        """Read all events, for every site, and mark what they name; sync nothing. Of `site` it is told how far."""
        with connection():
            others = [each for each in sites.enabled_secondaries() if each.id != self.site.id]
        for each in others:
            cursor.drain(each)
        return cursor.drain(self.fresh_site())

    def settle(self) -> int:
        """Read all events and sync what is due; return how many rows were synced."""
        self.mark()
        return work.run_due(self.context)

    def settle_again(self, repository: str) -> None:
        """The same, and once more when the backoff of this repository is over."""
        self.settle()
        self.retry(repository)

    def take(self) -> Claim | None:
        """Take the next row that is due, as a worker does."""
        return claim.claim_next(self.context.settings)

    def take_row(self, registry_id: int) -> Claim | None:
        """Take this row, as a person's command does."""
        return claim.claim_row(registry_id, self.context.settings)

    def fresh_site(self) -> Site:
        """The site as the database has it now."""
        with connection():
            found: Site = Site.get_by_id(self.site.id)
            return found

    def retry(self, repository: str) -> int:
        """Let the backoff of this repository be over, and sync what is due; return how many rows were synced."""
        row = self.row(repository)
        past = datetime.now(UTC) - timedelta(seconds=1)
        with connection():
            waiting = Reference.retry_at.is_null(False)
            Reference.update(retry_at=past).where((Reference.registry == row) & waiting).execute()
            Registry.update(retry_at=past).where(Registry.id == row.id).execute()
        return work.run_due(self.context)

    def due(self) -> int:
        with connection():
            return claim.count_due(1000)

    def row(self, repository: str, site: Site | None = None) -> Registry:
        """The tracking row of this repository, on `site` where that is another than the first."""
        with connection():
            row: Registry = (
                Registry.select()
                .join(ContainerRepository)
                .where((ContainerRepository.path == repository) & (Registry.site == (site or self.site)))
                .get()
            )
            return row

    def failure(self, repository: str) -> str:
        """What the row says is wrong; empty when nothing is."""
        return self.row(repository).last_sync_failure or ""

    def reference(self, repository: str, name: str) -> Reference | None:
        row = self.row(repository)
        with connection():
            found: Reference | None = Reference.get_or_none((Reference.registry == row) & (Reference.name == name))
            return found

    def references(self, repository: str) -> dict[str, Reference]:
        """All references of a repository by name."""
        row = self.row(repository)
        with connection():
            return {found.name: found for found in Reference.select().where(Reference.registry == row)}

    def attempts(self, repository: str, reference: str | None = None) -> list[SyncAttempt]:
        """What was done about a repository, or one reference in it, oldest first."""
        wanted = SyncAttempt.registry == self.row(repository)
        if reference is not None:
            wanted &= SyncAttempt.reference == reference
        with connection():
            return list(SyncAttempt.select().where(wanted).order_by(SyncAttempt.id))


def sqlite_url(path: Path) -> str:
    return f"sqlite:///{path}/geo.db"
