"""Registries for the tests of formats: open to everyone, and shared by all tests of this directory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.oci_registry import OciRegistry
from tests.support.registries import DistributionRegistry

#: What takes layers that are to be had from such addresses.
URLS_ALLOWED = {"validation": {"manifests": {"urls": {"allow": ["^https://"]}}}}


@pytest.fixture(scope="package")
def distribution_2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DistributionRegistry]:
    """Distribution 2.8 that takes all it can: schema 1, and layers that live elsewhere."""
    path = tmp_path_factory.mktemp("distribution-2")
    with DistributionRegistry(path, schema1=True, config=URLS_ALLOWED) as registry:
        yield registry


@pytest.fixture(scope="package")
def another_2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DistributionRegistry]:
    """Another one."""
    path = tmp_path_factory.mktemp("another-2")
    with DistributionRegistry(path, schema1=True, config=URLS_ALLOWED) as registry:
        yield registry


@pytest.fixture(scope="package")
def plain_2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DistributionRegistry]:
    """Distribution 2.8 as it comes."""
    with DistributionRegistry(tmp_path_factory.mktemp("plain-2")) as registry:
        yield registry


@pytest.fixture(scope="package")
def distribution_3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DistributionRegistry]:
    """Distribution 3 that takes layers that live elsewhere."""
    with DistributionRegistry(tmp_path_factory.mktemp("distribution-3"), version="3", config=URLS_ALLOWED) as registry:
        yield registry


@pytest.fixture
def lenient() -> Iterator[OciRegistry]:
    """An OCI 1.1 registry that takes indexes whose children it does not hold."""
    with OciRegistry(sparse=True) as registry:
        yield registry


@pytest.fixture
def another_lenient() -> Iterator[OciRegistry]:
    """Another one."""
    with OciRegistry(sparse=True) as registry:
        yield registry
