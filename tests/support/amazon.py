"""Fixtures of Amazon's API, by moto's server. A `conftest.py` imports them for its directory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.aws import somebody
from tests.support.moto import Moto


@pytest.fixture(scope="session")
def amazon_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that answers as Amazon's services do, ECR among them."""
    with Moto(tmp_path_factory.mktemp("amazon")) as server:
        yield server.url


@pytest.fixture
def amazon(amazon_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same, with the environment of somebody who has an account."""
    somebody(monkeypatch, "eu-central-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_ECR", amazon_server)
    return amazon_server
