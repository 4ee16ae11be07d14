"""A primary without peculiarities."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.oci_registry import OciRegistry


@pytest.fixture
def one() -> Iterator[OciRegistry]:
    """The primary."""
    with OciRegistry() as registry:
        yield registry
