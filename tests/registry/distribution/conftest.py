"""Distribution 2.8 and 3 with token authentication, and a client of them."""

from __future__ import annotations

import pytest

from app.registry import RegistryClient
from tests.registry.conftest import Connect, key_token
from tests.support.keys import TokenAuth
from tests.support.registries import DistributionRegistry, RegistryFactory, Version


@pytest.fixture
def registry(version: Version, registry_factory: RegistryFactory, token_auth: TokenAuth) -> DistributionRegistry:
    return registry_factory("registry", version=version, token=token_auth)


@pytest.fixture
def client(registry: DistributionRegistry, connect: Connect) -> RegistryClient:
    return connect(registry.url, key_token(registry))
