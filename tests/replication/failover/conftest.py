"""A failover between two registries of its own: a test stops them, and looks at their catalogs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from app import database
from app.boot import boot
from app.database import connection
from app.models import Site
from app.replication import brake, sites
from app.replication.backfill import mark_all
from app.settings import Settings
from tests.support import images
from tests.support.deployment import Deployment, environment
from tests.support.keys import TokenAuth
from tests.support.registries import DistributionRegistry
from tests.support.wire import digest_of, push, tags


@dataclass
class Failover:
    """`old` is the primary at first, `new` the secondary; `geo` the deployment between them, in this process."""

    old: DistributionRegistry
    new: DistributionRegistry
    database_url: str
    stack: ExitStack
    geo: Deployment

    def env(self, **extra: str) -> dict[str, str]:
        """Of before."""
        return environment(self.old, self.new, self.database_url, **extra)

    def exchanged(self, **extra: str) -> dict[str, str]:
        """Of after: the former primary is the secondary."""
        return environment(self.new, self.old, self.database_url, **extra)

    def boot(self, env: Mapping[str, str]) -> Deployment:
        """Another process's beginning: the environment is not applied."""
        self.geo.close()
        self.geo = Deployment(boot(Settings.from_env(env)), self.geo.site)
        database.database.obj.autoconnect = False
        return self.geo

    def settle(self) -> None:
        """Find everything and sync what is due."""
        with connection():
            site = Site.get(~Site.primary & ~Site.retired)
        self.geo.site = site
        mark_all(site, self.geo.context.repositories())
        self.geo.settle()

    def push(self, repository: str, *names: str) -> dict[str, str]:
        """Push an image for each tag to the former primary, and replicate it."""
        digests = {name: push(self.old, repository, name, images.image()) for name in names}
        self.settle()
        assert {name: digest_of(self.new, repository, name) for name in names} == digests
        return digests

    def held(self, registry: DistributionRegistry, repository: str) -> dict[str, str | None]:
        """By tag, what a registry has."""
        return {tag: digest_of(registry, repository, tag) for tag in tags(registry, repository)}

    def release(self) -> None:
        brake.release(self.geo.fresh_site())

    def primary(self) -> str:
        with connection():
            url: str = Site.get(Site.primary).url
            return url

    def apply(self) -> Site | None:
        return sites.apply_environment(self.geo.context.settings)


@contextmanager
def _failover(path: Path, auth: TokenAuth, url: str) -> Iterator[Failover]:
    with ExitStack() as stack:
        old, new = (stack.enter_context(DistributionRegistry(path / name, token=auth)) for name in ("old", "new"))
        made = Failover(old, new, url, stack, Deployment.start(environment(old, new, url)))
        stack.callback(lambda: made.geo.close())
        yield made


@pytest.fixture
def failover(tmp_path: Path, token_auth: TokenAuth, sqlite_database: str) -> Iterator[Failover]:
    """On SQLite."""
    with _failover(tmp_path, token_auth, sqlite_database) as made:
        yield made


@pytest.fixture
def failover_on_each(tmp_path: Path, token_auth: TokenAuth, database_url: str) -> Iterator[Failover]:
    """On each kind of database."""
    with _failover(tmp_path, token_auth, database_url) as made:
        yield made
