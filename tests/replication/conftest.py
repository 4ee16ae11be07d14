"""Deployments for the tests of replication.

The registries are shared by all tests of this directory, since each start costs a good part of a second: a test keeps
to repositories of its own (`repository`), and makes itself a registry if it stops one or looks at the catalog.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from app import database, migrate
from app.replication import event_log
from tests.support.amazon import amazon, amazon_server
from tests.support.deployment import Deployment, environment, offline_environment
from tests.support.face import Face, face
from tests.support.keys import TokenAuth
from tests.support.postgres import Postgres
from tests.support.proxy import Proxy
from tests.support.registries import DistributionRegistry, Registry

__all__ = ["amazon", "amazon_server"]

#: A deployment, and what stands before its primary and its secondary.
Proxied = tuple[Deployment, Proxy, Proxy]


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database to copy: migrating anew for each test would take longer than most of them."""
    path = tmp_path_factory.mktemp("template") / "geo.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgresql_template(postgres_server: Postgres) -> str:
    """The name of a migrated database to copy."""
    url = postgres_server.create_database()
    _migrate(url)
    return url.rpartition("/")[2]


def _migrate(url: str) -> None:
    database.configure(url)
    migrate.migrate()
    # A copy of a SQLite file needs all of it in the file; PostgreSQL copies no database that somebody is connected to.
    database.database.close_all()


@pytest.fixture
def sqlite_database(sqlite_template: Path, tmp_path: Path) -> str:
    """The URL of a fresh, migrated SQLite database: for what has nothing to do with the kind of database."""
    shutil.copy(sqlite_template, tmp_path / "geo.db")
    return f"sqlite:///{tmp_path / 'geo.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh, migrated database: each test runs once on each kind."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_database")
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.create_database(request.getfixturevalue("postgresql_template"))
    yield url
    if server.running:
        server.drop_database(url)


@pytest.fixture(scope="package")
def shared_primary(tmp_path_factory: pytest.TempPathFactory, token_auth: TokenAuth) -> Iterator[DistributionRegistry]:
    with DistributionRegistry(tmp_path_factory.mktemp("primary"), token=token_auth) as registry:
        yield registry


@pytest.fixture(scope="package")
def shared_secondary(tmp_path_factory: pytest.TempPathFactory, token_auth: TokenAuth) -> Iterator[DistributionRegistry]:
    with DistributionRegistry(tmp_path_factory.mktemp("secondary"), token=token_auth) as registry:
        yield registry


@pytest.fixture
def primary(shared_primary: DistributionRegistry) -> DistributionRegistry:
    """Distribution 2.8, shared."""
    return shared_primary


@pytest.fixture
def secondary(shared_secondary: DistributionRegistry) -> DistributionRegistry:
    """Another, with the same keys, shared."""
    return shared_secondary


@pytest.fixture(scope="package")
def secondary_3(tmp_path_factory: pytest.TempPathFactory, token_auth: TokenAuth) -> Iterator[DistributionRegistry]:
    """Distribution 3, which deletes by tag; shared too."""
    with DistributionRegistry(tmp_path_factory.mktemp("secondary-3"), version="3", token=token_auth) as registry:
        yield registry


@pytest.fixture
def repository() -> str:
    """A repository that no other test uses."""
    return f"team/app-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def geo(primary: DistributionRegistry, secondary: DistributionRegistry, database_url: str) -> Iterator[Deployment]:
    """A deployment between two real registries, on each kind of database."""
    deployment = Deployment.start(environment(primary, secondary, database_url))
    try:
        yield deployment
    finally:
        deployment.close()


@pytest.fixture(params=["2.8", "3"])
def either(
    request: pytest.FixtureRequest, primary: DistributionRegistry, sqlite_database: str
) -> Iterator[tuple[Deployment, DistributionRegistry]]:
    """A deployment with a secondary of each version, and that secondary."""
    name = {"2.8": "secondary", "3": "secondary_3"}[request.param]
    registry: DistributionRegistry = request.getfixturevalue(name)
    deployment = Deployment.start(environment(primary, registry, sqlite_database))
    try:
        yield deployment, registry
    finally:
        deployment.close()


class Deploy(Protocol):
    def __call__(self, primary: Registry, secondary: Registry, **env: str) -> Deployment: ...


@pytest.fixture
def deploy(sqlite_template: Path, tmp_path: Path) -> Iterator[Deploy]:
    """Start a deployment between any two registries without authentication, on SQLite; one at a time."""
    with ExitStack() as stack:

        def make(primary: Registry, secondary: Registry, **env: str) -> Deployment:
            shutil.copy(sqlite_template, tmp_path / "geo.db")
            between = offline_environment(f"sqlite:///{tmp_path / 'geo.db'}")
            between["GEO_REGISTRY_REPLICATION_PRIMARY_API_URL"] = primary.url
            between["GEO_SECONDARY_REGISTRY_URL"] = secondary.url
            deployment = Deployment.start(between | env)
            stack.callback(deployment.close)
            return deployment

        yield make


@pytest.fixture
def state(database_url: str) -> Iterator[Deployment]:
    """A deployment without registries, on each kind of database: for what happens in the database alone."""
    deployment = Deployment.start(offline_environment(database_url))
    try:
        yield deployment
    finally:
        deployment.close()


@pytest.fixture
def postgresql(postgres: Postgres) -> Iterator[Deployment]:
    """As `state`, on PostgreSQL alone: only there do ids commit out of order."""
    url = postgres.create_database()
    deployment = Deployment.start(offline_environment(url))
    # Given a known repository: two who make the same new one wait for each other, as they must.
    with database.transaction():
        event_log.repository_ids(["team/app"], database.now())
    try:
        yield deployment
    finally:
        deployment.close()
        postgres.drop_database(url)


@pytest.fixture
def proxied(primary: DistributionRegistry, secondary: DistributionRegistry, database_url: str) -> Iterator[Proxied]:
    """A deployment whose registries a test can make slow and broken, on each kind of database."""
    with ExitStack() as stack:
        before_primary, before_secondary = (stack.enter_context(Proxy(each)) for each in (primary, secondary))
        env = environment(primary, secondary, database_url)
        env["GEO_REGISTRY_REPLICATION_PRIMARY_API_URL"] = before_primary.url
        env["GEO_SECONDARY_REGISTRY_URL"] = before_secondary.url
        deployment = Deployment.start(env)
        stack.callback(deployment.close)
        yield deployment, before_primary, before_secondary


@pytest.fixture
def installation(database_url: str, tmp_path: Path) -> Iterator[Face]:
    """The web application with its site on each kind of database, and nothing behind it."""
    with face(database_url, tmp_path / "state") as started:
        yield started
