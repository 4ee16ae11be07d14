"""Fixtures of the registry client's tests: scripted servers and clients that are closed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Protocol

import pytest

from app.registry import Anonymous, Authenticator, KeyToken, RegistryClient, SigningKey
from tests.registry.scripted import Handler, Request, Scripted
from tests.support.keys import KeyPair
from tests.support.registries import DistributionRegistry

Script = Callable[[Handler, Request], None]

ALL = ("pull", "push", "delete")


class Connect(Protocol):
    def __call__(self, url: str, authenticator: Authenticator | None = None, **options: Any) -> RegistryClient: ...


class Serve(Protocol):
    def __call__(self, script: Script, *, tls: KeyPair | None = None) -> Scripted: ...


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start scripted servers that end with the test."""
    with ExitStack() as stack:

        def start(script: Script, *, tls: KeyPair | None = None) -> Scripted:
            return stack.enter_context(Scripted(script, tls=tls))

        yield start


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Make clients, anonymous and allowed everything unless said otherwise, that are closed with the test."""
    with ExitStack() as stack:

        def make(url: str, authenticator: Authenticator | None = None, **options: Any) -> RegistryClient:
            options = {"actions": ALL, "read_timeout": 10.0, **options}
            return stack.enter_context(RegistryClient(url, authenticator or Anonymous(), **options))

        yield make


def key_token(
    registry: DistributionRegistry, *, certificate: bool = True, keys: KeyPair | None = None, **options: Any
) -> KeyToken:
    """An authenticator that the registry accepts, or with `options` one that it should not."""
    assert registry.token is not None
    pair = keys or registry.token.keys
    key = SigningKey.load(pair.key_path, pair.certificate_path if certificate else None)
    named: dict[str, Any] = {"issuer": registry.token.issuer, "service": registry.token.service, **options}
    return KeyToken(key, **named)
