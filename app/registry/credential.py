"""A credential: who we are, as a registry or its token service is shown it, and where the present one comes from."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from app.registry.auth import Fetch, is_token


class Use(StrEnum):
    """What can be done with the secret of a credential."""

    #: A password, or a token in the place of one: it goes with the user name, as Basic, to registry and token service.
    PASSWORD = "password"  # noqa: S105 - the name of a use
    #: An OAuth 2 access token: the registry takes it as Bearer, its token service as the password of the user name.
    ACCESS = "access"
    #: An OAuth 2 refresh token (Docker's identity token): for the token service alone, which wants it in a form.
    REFRESH = "refresh"


@dataclass(frozen=True, slots=True)
class Credential:
    """A user name and a secret. Never prints the secret."""

    username: str
    secret: str = field(repr=False)
    use: Use = Use.PASSWORD

    @property
    def basic(self) -> str:
        """The header that shows it as user and password (RFC 7617)."""
        return f"Basic {base64.b64encode(f'{self.username}:{self.secret}'.encode()).decode()}"

    @property
    def direct(self) -> str | None:
        """The header for a registry that has not said what it wants; None for what only a token service may see."""
        if self.use is Use.REFRESH:
            return None
        if self.use is Use.ACCESS and is_token(self.secret):
            return f"Bearer {self.secret}"
        return self.basic


class Credentials(Protocol):
    """Gives the credential as it is now. Shared by threads; both may raise any `RegistryError`."""

    def current(self, fetch: Fetch) -> Credential | None:
        """Return what to show, None for nobody in particular. `fetch` asks the registry's own hosts, if need be."""
        ...

    def renewed(self, rejected: Credential, fetch: Fetch) -> Credential | None:
        """Return another one after `rejected` was answered with 401, or None where there is none."""
        ...


class Fixed:
    """A credential that never changes, or None for nobody."""

    def __init__(self, credential: Credential | None) -> None:
        self._credential = credential

    def current(self, fetch: Fetch) -> Credential | None:  # noqa: ARG002
        """Return the credential."""
        return self._credential

    def renewed(self, rejected: Credential, fetch: Fetch) -> Credential | None:  # noqa: ARG002
        """Return None: there is no other."""
        return None


@dataclass(frozen=True, slots=True)
class Issued:
    """A secret that somebody gave us for a time. Never prints it."""

    secret: str = field(repr=False)
    #: Seconds that it is still good.
    lifetime: float
    #: Seconds before its end from which on there should be another.
    early: float = 0.0


class TokenShare(Protocol):
    """What several processes of one account have in common: each secret is asked for once, whoever needs it."""

    def obtain(self, name: str, issue: Callable[[], Issued], besides: str | None = None) -> Issued:
        """Return the secret under `name` that is there, or what `issue` gives, which is then there for the others.

        `besides` is a secret that was refused: it counts as not there. Raises what `issue` raises.
        """
        ...


class Alone:
    """Shares with nobody."""

    def obtain(self, name: str, issue: Callable[[], Issued], besides: str | None = None) -> Issued:  # noqa: ARG002
        """Return what `issue` gives."""
        return issue()
