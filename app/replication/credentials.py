"""Credentials: who we are to a registry, by its settings."""

from __future__ import annotations

import time
from collections.abc import Callable

from app.registry import Anonymous, Authenticator, Basic, KeyToken, SigningKey, StaticBearer
from app.settings import AuthKind, RegistrySettings


def authenticator(registry: RegistrySettings, clock: Callable[[], float] = time.time) -> Authenticator:
    """The registry's own account; a site that has its tokens from the primary's deployment is none of these.

    Raises:
        InvalidKey: when the key or certificate cannot be used.
    """
    if registry.auth is AuthKind.TOKEN and registry.key_path is not None:
        return key_token(registry, clock)
    if registry.auth is AuthKind.BASIC and registry.username and registry.password:
        return Basic(registry.username, registry.password.value)
    if registry.auth is AuthKind.BEARER and registry.password:
        return StaticBearer(registry.password.value)
    return Anonymous()


def key_token(
    registry: RegistrySettings,
    clock: Callable[[], float] = time.time,
    *,
    issuer: str | None = None,
    with_certificate: bool = True,
) -> KeyToken:
    """Tokens of our key for this registry, or as they would be with another issuer or without the certificate.

    Raises:
        InvalidKey: when the key or certificate cannot be used.
    """
    assert registry.key_path is not None  # the settings see to it
    key = SigningKey.load(registry.key_path, registry.certificate_path if with_certificate else None)
    return KeyToken(key, issuer or registry.issuer, registry.service, clock=clock)
