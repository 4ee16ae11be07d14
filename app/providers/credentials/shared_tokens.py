"""Tokens that the processes of a deployment have in common, through Redis: sealed, and only while they are good."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

import redis

from app.redis_client import DELETE_OURS
from app.registry import Issued
from app.sealing import Sealing

T = TypeVar("T")

#: Seconds for which one process alone asks for a token; longer than that takes, and over for one that was killed.
FLIGHT = 45

#: Seconds that another one waits for it, then asks by itself.
PATIENCE = 15.0

#: Seconds between two looks.
INTERVAL = 0.02

#: Tokens that end sooner are not worth the way.
SHORTEST = 5.0


class Asked(Protocol):
    """Redis, asked by who can do without it."""

    def ask(self, question: Callable[[redis.Redis], T], otherwise: T) -> T:
        """Return what `question` does; `otherwise` when Redis fails."""
        ...


class SharedTokens:
    """A `TokenShare` (app.registry) for one account at one registry.

    `account` tells everything that makes it this account, passwords too; it is written nowhere, and asked for each
    token, since a file may have another key in it by then. What is found there of another account, or sealed by a key
    that we do not have, is as if it were not there. Times are by Redis's clock.
    Losing Redis costs repeated requests for tokens, nothing else.
    """

    def __init__(
        self,
        shared: Asked,
        sealing: Callable[[], Sealing],
        registry: str,
        account: Callable[[], str],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._shared = shared
        # Not before it is needed: a key may have to be made, which is no business of a command that only looks.
        self._make_sealing = sealing
        self._sealing: Sealing | None = None
        self._registry = registry
        self._account = account
        self._clock = clock
        self._sleep = sleep

    def obtain(self, name: str, issue: Callable[[], Issued], besides: str | None = None) -> Issued:
        """Return what is there, what another process is about to put there, or what `issue` gives."""
        key = f"geo:token:{hashlib.sha256(f'{self._registry} {name}'.encode()).hexdigest()}"
        # Before it is issued: what the former account was given must not be kept as its successor's.
        about = f"{self._registry}\n{self._account()}\n{name}"
        deadline = self._clock() + PATIENCE
        while True:
            if (found := self._find(key, about, besides)) is not None:
                return found
            ours = secrets.token_hex(8)
            # Without Redis there is nobody to wait for.
            if self._shared.ask(lambda client, ours=ours: _took(client, key, ours), True):  # type: ignore[misc]
                break
            if self._clock() >= deadline:
                return issue()
            self._sleep(INTERVAL)
        try:
            # It may have been put there between our look and our taking the flight.
            if (found := self._find(key, about, besides)) is not None:
                return found
            issued = issue()
            self._put(key, about, issued)
            return issued
        finally:
            self._shared.ask(lambda client: client.eval(DELETE_OURS, 1, f"{key}:flight", ours), None)

    def _find(self, key: str, about: str, besides: str | None) -> Issued | None:
        def question(client: redis.Redis) -> tuple[bytes | None, int] | None:
            pipeline = client.pipeline(transaction=True)
            pipeline.get(key)
            pipeline.pttl(key)
            value, left = pipeline.execute()
            return value, left

        found = self._shared.ask(question, None)
        if found is None or found[0] is None or found[1] <= 0:
            return None
        sealed, left = found[0], found[1]
        text = self._keys().open(sealed, about)
        if text is None:
            return None
        with contextlib.suppress(ValueError, TypeError):
            secret, early = json.loads(text)
            if secret != besides and isinstance(secret, str):
                issued = Issued(secret, left / 1000, float(early))
                # One that is due for renewal is not what was asked for.
                return issued if issued.lifetime > issued.early else None
        return None

    def _put(self, key: str, about: str, issued: Issued) -> None:
        if issued.lifetime < SHORTEST:
            return
        sealed = self._keys().seal(json.dumps([issued.secret, issued.early]), about)
        self._shared.ask(lambda client: client.set(key, sealed, px=int(issued.lifetime * 1000)), None)

    def _keys(self) -> Sealing:
        if self._sealing is None:
            self._sealing = self._make_sealing()
        return self._sealing


def _took(client: redis.Redis, key: str, ours: str) -> bool:
    return bool(client.set(f"{key}:flight", ours, nx=True, ex=FLIGHT))
