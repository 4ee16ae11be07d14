"""Deployments for the tests of replication.

The registries are shared by all tests of this directory, since each start costs a good part of a second: a test keeps
to repositories of its own (`repository`), and makes itself a registry if it stops one or looks at the catalog.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.support.deployment import Deployment, environment, offline_environment
from tests.support.keys import TokenAuth
from tests.support.registries import DistributionRegistry


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


@pytest.fixture
def state(database_url: str) -> Iterator[Deployment]:
    """A deployment without registries, on each kind of database: for what happens in the database alone."""
    deployment = Deployment.start(offline_environment(database_url))
    try:
        yield deployment
    finally:
        deployment.close()
