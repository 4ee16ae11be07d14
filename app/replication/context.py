"""What replication works with in this process: the settings, the two registries, and a way to wake workers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from app.registry import Anonymous, Authenticator, Basic, KeyToken, RegistryClient, SigningKey, StaticBearer
from app.replication.lanes import Lanes
from app.replication.spool import Spool, SpoolDirectory
from app.settings import AuthKind, RegistrySettings, Settings

Observer = Callable[[str, str, str, float], None]


class Wake(Protocol):
    """Tells workers to look at the database. Losing a call costs latency, never data."""

    def events(self) -> None:
        """Somebody should advance the cursors."""

    def rows(self, count: int) -> None:
        """Up to `count` workers should claim tracking rows."""


class Nobody:
    """Wakes nobody: for tests and one-off commands; the scheduler finds what is due."""

    def events(self) -> None:
        pass

    def rows(self, count: int) -> None:
        pass


@dataclass
class Context:
    """One for each process, made at start. Holds no database connection."""

    settings: Settings
    primary: RegistryClient
    secondary: RegistryClient | None
    wake: Wake = field(default_factory=Nobody)
    #: Where large blobs pass through on the local disk; None streams them.
    spool: Spool | None = None
    #: Set when the process has to end: no new work, and what is under way is given back.
    stopping: threading.Event = field(default_factory=threading.Event)
    lanes: Lanes = field(default_factory=Lanes)

    @classmethod
    def build(cls, settings: Settings, wake: Wake | None = None, observe: Observer | None = None) -> Context:
        """Connect lazily: nothing is asked of any registry here.

        Raises:
            InvalidKey: when a key or certificate cannot be used.
        """
        secondary = settings.secondary
        return cls(
            settings=settings,
            primary=_client(settings.primary, "primary", ("pull",), observe),
            secondary=_client(secondary, "secondary", ("pull", "push", "delete"), observe) if secondary else None,
            wake=wake or Nobody(),
            spool=_spool(settings),
        )

    def destination(self) -> RegistryClient:
        """The secondary registry of this deployment.

        Raises:
            RuntimeError: in a deployment that replicates nothing (role primary).
        """
        if self.secondary is None:
            raise RuntimeError("this deployment has no secondary registry (GEO_ROLE=primary)")
        return self.secondary

    def close(self) -> None:
        self.stopping.set()
        self.lanes.close()
        self.primary.close()
        if self.secondary is not None:
            self.secondary.close()


def _spool(settings: Settings) -> Spool | None:
    if settings.spool_limit == 0:
        return None
    return Spool(SpoolDirectory(settings.spool_directory, settings.spool_limit))


def _client(
    settings: RegistrySettings, side: str, actions: tuple[str, ...], observe: Observer | None
) -> RegistryClient:
    def observed(operation: str, outcome: str, seconds: float) -> None:
        if observe is not None:
            observe(side, operation, outcome, seconds)

    return RegistryClient(
        settings.url,
        _authenticator(settings),
        ca_path=str(settings.ca_path) if settings.ca_path else None,
        actions=actions,
        observe=observed,
    )


def _authenticator(settings: RegistrySettings) -> Authenticator:
    if settings.auth is AuthKind.TOKEN and settings.key_path is not None:
        key = SigningKey.load(settings.key_path, settings.certificate_path)
        return KeyToken(key, settings.issuer, settings.service)
    if settings.auth is AuthKind.BASIC and settings.username and settings.password:
        return Basic(settings.username, settings.password.value)
    if settings.auth is AuthKind.BEARER and settings.password:
        return StaticBearer(settings.password.value)
    return Anonymous()


_current: Context | None = None


def install(context: Context) -> Context:
    """Make `context` the process's own (entry points and tests call it once)."""
    global _current
    _current = context
    return context


def current() -> Context:
    """The process's context.

    Raises:
        RuntimeError: before an entry point has installed one.
    """
    if _current is None:
        raise RuntimeError("no context is installed: start through the `geo` command or app.boot")
    return _current
