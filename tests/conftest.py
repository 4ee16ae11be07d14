"""Fixtures of real parts that every test may ask for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from app import metrics
from tests.support.keys import KeyPair, TokenAuth, make_rsa
from tests.support.moto import Moto
from tests.support.postgres import Postgres
from tests.support.registries import DistributionRegistry, RegistryFactory
from tests.support.valkey import Valkey

#: The settings of whoever runs the tests, and of their machine, are not the tests'.
FOREIGN = frozenset({"DATABASE_URL", "REDIS_URL", "BROKER_URL", "PORT", "WEB_CONCURRENCY", "SSL_CERT_FILE"})
FOREIGN |= {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE", "SSL_CERT_DIR"}
FOREIGN_PREFIXES = ("GEO_", "REGISTRY_", "PG", "WORKER_", "OTEL_")


#: Folders of tests of what people and scripts see.
FACES = [Path(__file__).parent / name for name in ("admin", "api", "cli")]


def pytest_configure(config: pytest.Config) -> None:
    for name in list(os.environ):
        if name in FOREIGN or name.startswith(FOREIGN_PREFIXES) or name.lower().endswith("_proxy"):
            del os.environ[name]


#: Tests of replication that are about what registries hold and say more than about rows.
ABOUT_REGISTRIES = frozenset(
    {
        *("check", "follower", "providers", "survey"),
        *("test_full_sync.py", "test_sync.py", "test_sync_failures.py", "test_sync_meanwhile.py", "test_drift.py"),
        *("test_deletion.py", "test_deletion_withheld.py", "test_removals.py", "test_each_byte_once.py"),
        *("test_explain.py", "test_awaiting.py", "test_remote_sites.py", "test_site_reports.py", "test_reporting.py"),
        *("test_former.py", "test_sites.py", "test_catalog.py", "test_looking.py", "test_selective_sync.py"),
    }
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What faces show, and what is about registries, is asked of functions that are tested on each kind of database by
    themselves: on PostgreSQL they are left to the long tests. Not the webhook, which stores."""
    for item in items:
        given = getattr(item, "callspec", None)
        if given is None or given.params.get("database_url") != "postgresql":
            continue
        face = any(map(item.path.is_relative_to, FACES)) and "webhook" not in item.path.as_posix()
        if face or ABOUT_REGISTRIES & {*item.path.parts}:
            item.add_marker(pytest.mark.long)


@pytest.fixture(autouse=True)
def _no_metrics_left() -> Iterator[None]:
    """End the thread that writes metrics: the next test binds another database, and SQLite crashes when a connection
    is closed under a statement."""
    yield
    metrics.buffer.close(write=False)


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """One server for the whole run; tests ask for `valkey`."""
    with Valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def valkey(valkey_server: Valkey) -> Valkey:
    """A running, empty server. A test may stop or kill it."""
    if not valkey_server.running:
        valkey_server.start()
    valkey_server.flush()
    return valkey_server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """One cluster for the whole run; tests ask for `postgres` or `database_url`."""
    with Postgres() as server:
        yield server


@pytest.fixture
def postgres(postgres_server: Postgres) -> Postgres:
    """A running cluster. A test may stop or kill it."""
    if not postgres_server.running:
        postgres_server.start()
    return postgres_server


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    """One server for the whole run; tests ask for `moto`."""
    with Moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture
def moto(moto_server: Moto) -> Moto:
    """The APIs of AWS, with nothing in them."""
    moto_server.reset()
    return moto_server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a fresh, empty database: each test runs once on each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'geo.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.create_database()
    yield url
    if server.running:
        server.drop_database(url)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyPair:
    """The key pair that both registries trust."""
    return make_rsa(tmp_path_factory.mktemp("keys"), "registry")


@pytest.fixture(scope="session")
def token_auth(keys: KeyPair) -> TokenAuth:
    """The token authentication of both registries, with the product's default issuer and service."""
    return TokenAuth(keys)


@pytest.fixture
def registry_factory(tmp_path: Path) -> Iterator[RegistryFactory]:
    """Make and start registries that end with the test: `registry_factory("name", version="3", token=auth, ...)`."""
    with ExitStack() as stack:

        def make(name: str, **options: Any) -> DistributionRegistry:
            return stack.enter_context(DistributionRegistry(tmp_path / name, **options))

        yield make


@pytest.fixture
def primary(registry_factory: RegistryFactory, token_auth: TokenAuth) -> DistributionRegistry:
    """An empty Distribution 2.8 with token authentication."""
    return registry_factory("primary", token=token_auth)


@pytest.fixture
def secondary(registry_factory: RegistryFactory, token_auth: TokenAuth) -> DistributionRegistry:
    """Another, with the same keys."""
    return registry_factory("secondary", token=token_auth)


@pytest.fixture
def key(tmp_path: Path) -> str:
    """A file that settings may take for a key."""
    path = tmp_path / "registry.key"
    path.write_text("a key")
    return str(path)
