"""Credentials: who we are to a registry, by its settings."""

from __future__ import annotations

import time
from collections.abc import Callable

from app.providers.credentials import Renewal, SharedTokens, account, issuer
from app.registry import Account, Anonymous, Authenticator, Basic, KeyToken, SigningKey, StaticBearer, TokenShare
from app.replication.shared import Shared
from app.sealing import Sealing
from app.secret_keys import secret_keys
from app.settings import AuthKind, RegistrySettings, Settings

#: What the secret keys seal the tokens for that processes have in common.
PURPOSE = "tokens"

_BY_PASSWORD = frozenset({AuthKind.BASIC, AuthKind.ACR, AuthKind.GAR, AuthKind.GHCR})


def authenticator(
    registry: RegistrySettings, clock: Callable[[], float] = time.time, share: TokenShare | None = None
) -> Authenticator:
    """The registry's own account; a site that has its tokens from the primary's deployment is none of these.

    Tokens that others give us are had in common with whoever has the same `share`.

    Raises:
        InvalidKey: when the key or certificate cannot be used.
    """
    if registry.auth is AuthKind.TOKEN and registry.key_path is not None:
        return key_token(registry, clock)
    if registry.auth is AuthKind.BEARER and registry.password:
        return StaticBearer(registry.password.value)
    source = issuer(registry)
    if source is not None:
        return Account(Renewal(source, share=share), share=share)
    if registry.auth in _BY_PASSWORD and registry.username and registry.password:
        return Basic(registry.username, registry.password.value, share=share)
    return Anonymous(share=share)


def token_share(settings: Settings, registry: RegistrySettings, shared: Shared | None) -> TokenShare | None:
    """What the processes of this deployment have in common of a registry's tokens; None without Redis."""
    if shared is None:
        return None
    return SharedTokens(
        shared,
        lambda: Sealing(secret_keys(settings), PURPOSE),
        registry=registry.url,
        account=lambda: account(registry),
    )


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
