from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.deployment import environment
from tests.support.keys import TokenAuth
from tests.support.registries import DistributionRegistry, RegistryFactory
from tests.support.running import Running, endpoint, free_port


@dataclass(frozen=True)
class Pair:
    """Two registries and the deployment between them."""

    primary: DistributionRegistry
    secondary: DistributionRegistry
    geo: Running


DeploymentFactory = Callable[..., Pair]


@pytest.fixture
def deploy(tmp_path: Path, registry_factory: RegistryFactory, token_auth: TokenAuth) -> Iterator[DeploymentFactory]:
    """Start registries that notify, and `geo up` between them; all of it ends with the test."""
    with ExitStack() as stack:

        def start(
            *, primary: dict[str, Any] | None = None, secondary: dict[str, Any] | None = None, **env: str
        ) -> Pair:
            port = free_port()
            options = {"token": token_auth, "notify": [endpoint(port, ignore=True)], **(primary or {})}
            first = registry_factory("primary", **options)
            second = registry_factory("secondary", **{"token": token_auth, **(secondary or {})})
            home = tmp_path / "home"
            home.mkdir()
            database_url = env.pop("DATABASE_URL", f"sqlite:///{home}/var/geo.db")
            geo = Running(home, environment(first, second, database_url, **env), port)
            stack.enter_context(geo)
            return Pair(first, second, geo)

        yield start
