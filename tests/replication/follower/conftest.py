"""A site's own deployment, which follows a primary that a test plays."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.replication.follower.stage import environment, nothing_asked
from tests.support.deployment import Deployment


@pytest.fixture
def state(database_url: str) -> Iterator[Deployment]:
    deployment = Deployment.start(environment(database_url))
    nothing_asked()
    try:
        yield deployment
    finally:
        deployment.close()
