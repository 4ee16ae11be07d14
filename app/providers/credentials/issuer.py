"""An issuer: where a credential comes from that is good for a time, such as a cloud's token service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from app.registry import Credential, Fetch


@dataclass(frozen=True, slots=True)
class Granted:
    """A credential, and for how many seconds it is good, by the clock of whoever gave it."""

    credential: Credential
    lifetime: float


class Issuer(Protocol):
    """Gives a new credential each time."""

    #: What it gives, for people: "Amazon ECR's token for eu-west-1".
    what: str
    #: Whether what it gives may lie where other processes find it. What a person's password may be must not.
    shared: bool
    #: Whether the end of what it gives is known; else the lifetime is how long to go on with it before asking again.
    ends: bool

    def issue(self, fetch: Fetch) -> Granted:
        """Return a credential. `fetch` asks the registry's own host.

        Raises `NoCredentials`, which says what to change, or another `RegistryError` when the registry fails.
        """
        ...
