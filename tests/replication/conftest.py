from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.deployment import Deployment, environment
from tests.support.registries import DistributionRegistry


@pytest.fixture
def geo(primary: DistributionRegistry, secondary: DistributionRegistry, database_url: str) -> Iterator[Deployment]:
    """A deployment between two real registries, on each kind of database."""
    deployment = Deployment.start(environment(primary, secondary, database_url))
    try:
        yield deployment
    finally:
        deployment.close()
