"""Workers in the tests' own process: the broker is made when `workers` is imported, so the environment comes first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from unittest import mock

import pytest
from dramatiq.brokers.stub import StubBroker

from tests.support.deployment import Deployment, environment, offline_environment
from tests.support.registries import DistributionRegistry
from tests.workers.scheduling import Wakes


@pytest.fixture(scope="session")
def stub_broker() -> StubBroker:
    """The broker that the actors are declared at: in memory."""
    with mock.patch.dict(os.environ, offline_environment("sqlite:///unused/geo.db", BROKER_URL="stub://")):
        import workers
    assert isinstance(workers.broker, StubBroker)
    return workers.broker


@pytest.fixture
def stub(stub_broker: StubBroker) -> Iterator[StubBroker]:
    """The same, empty."""
    stub_broker.flush_all()
    yield stub_broker
    stub_broker.flush_all()


@pytest.fixture
def state(database_url: str) -> Iterator[Deployment]:
    """A deployment without registries, on each kind of database."""
    deployment = Deployment.start(offline_environment(database_url))
    try:
        yield deployment
    finally:
        deployment.close()


@pytest.fixture
def geo(
    stub: StubBroker, primary: DistributionRegistry, secondary: DistributionRegistry, database_url: str
) -> Iterator[Deployment]:
    """A deployment between two real registries, and nothing in the queue."""
    deployment = Deployment.start(environment(primary, secondary, database_url))
    try:
        yield deployment
    finally:
        deployment.close()


@pytest.fixture
def wakes(state: Deployment) -> Wakes:
    wakes = Wakes()
    state.context.wake = wakes
    return wakes
