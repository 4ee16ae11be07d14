"""Fixtures of what is tried against a deployment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.admin import guard as pages_guard
from app.api import site_auth
from app.api.resources import guard as api_guard
from app.web.rate_limit import RateLimit
from app.web.throttle import Throttle
from tests.registry.scripted import Scripted
from tests.support.deployment import Deployment, offline_environment
from tests.support.oci_registry import OciRegistry

Between = Callable[..., Deployment]


@pytest.fixture(autouse=True)
def fresh_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test asked does not count for the next."""
    monkeypatch.setattr(pages_guard, "throttle", Throttle())
    monkeypatch.setattr(api_guard, "throttle", Throttle(limit=100))
    monkeypatch.setattr(api_guard, "rate_limit", RateLimit())
    monkeypatch.setattr(site_auth, "throttle", Throttle(limit=60))


@pytest.fixture
def source() -> Iterator[OciRegistry]:
    """A primary that takes whatever it is given."""
    with OciRegistry(sparse=True, missing_blobs=True) as registry:
        yield registry


@pytest.fixture
def target() -> Iterator[OciRegistry]:
    with OciRegistry(sparse=True, missing_blobs=True) as registry:
        yield registry


@pytest.fixture
def between(source: OciRegistry, target: OciRegistry, tmp_path: Path) -> Iterator[Between]:
    """Start a deployment between the two, on SQLite."""
    with ExitStack() as stack:

        def start(**env: str) -> Deployment:
            given = offline_environment(f"sqlite:///{tmp_path / 'geo.db'}")
            given["GEO_REGISTRY_REPLICATION_PRIMARY_API_URL"] = source.url
            given["GEO_SECONDARY_REGISTRY_URL"] = target.url
            deployment = Deployment.start(given | env)
            stack.callback(deployment.close)
            return deployment

        yield start


@pytest.fixture
def canary() -> Iterator[Scripted]:
    """A server that nobody has any reason to ask; `seen` says who did."""
    with Scripted(lambda handler, _: handler.reply(200, b"{}")) as server:
        yield server
