"""Renewal: one credential that is issued anew in time, once, however many threads and processes need it."""

from __future__ import annotations

import copy
import json
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from app.logging import conceal_recent
from app.providers.credentials.issuer import Issuer
from app.registry import Credential, Fetch, Issued, RegistryError, TokenShare, Use

log = logging.getLogger(__name__)

#: Of its life, after which a credential is renewed.
HALF = 0.5

#: Seconds between two renewals at least: near its end, half of what is left is nothing.
LEAST = 30.0

#: Seconds before its end from which on a credential is not used any more.
MARGIN = 5.0

#: Seconds after a failure before the next try, at first and at most; each is twice the one before.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0

#: Seconds for which a new credential is not replaced because a registry refused it: it is not its age then.
NEW = 30.0


@dataclass(frozen=True, slots=True)
class Standing:
    """How it is with a credential, for people."""

    what: str
    #: Seconds that it is still good, and until the next one is asked for.
    lifetime: float
    renewed_in: float
    #: Whether it ends then; else it is only looked at anew.
    ends: bool = True


@dataclass(frozen=True, slots=True)
class _Kept:
    """A credential, and instants by our clock."""

    credential: Credential
    since: float
    renew_at: float
    ends_at: float


class Renewal:
    """The `Credentials` (app.registry) of an issuer. Shared by threads.

    At half of its life somebody asks for a new one while the others go on with the old; while that fails, the old one
    is used as long as it is good. Without a good one, all wait for the one who asks. There is one attempt at a time,
    and after a failure a growing pause in which everybody is told of the same failure.
    """

    def __init__(
        self, issuer: Issuer, *, share: TokenShare | None = None, clock: Callable[[], float] | None = None
    ) -> None:
        self._issuer = issuer
        self._share = share if issuer.shared else None
        self._clock = clock or _since_boot
        self._kept: _Kept | None = None
        self._renewing = threading.Lock()
        self._failures = 0
        self._failure: RegistryError | None = None
        self._retry_at = float("-inf")

    def current(self, fetch: Fetch) -> Credential:
        """Return the credential, a new one where it is time; raises what the issuer raised last."""
        kept, now = self._kept, self._clock()
        if kept is not None and now < kept.renew_at:
            return kept.credential
        # Who has a good one does not wait for another thread's renewal.
        if not self._renewing.acquire(blocking=kept is None or now >= kept.ends_at):
            assert kept is not None
            return kept.credential
        try:
            return self._renew(None, fetch)
        finally:
            self._renewing.release()

    def renewed(self, rejected: Credential, fetch: Fetch) -> Credential | None:
        """Return another one; None where the refused one is new, for then another would be refused too, or where the
        issuer gives the same again."""
        with self._renewing:
            kept = self._kept
            if kept is not None and kept.credential == rejected and self._clock() < kept.since + NEW:
                return None
            other = self._renew(rejected, fetch)
        return None if other == rejected else other

    def standing(self) -> Standing | None:
        """How it is with the present credential; None while there is none."""
        kept, now = self._kept, self._clock()
        if kept is None:
            return None
        return Standing(self._issuer.what, kept.ends_at - now, max(kept.renew_at - now, 0.0), self._issuer.ends)

    @property
    def what(self) -> str:
        """What the issuer gives, for people."""
        return self._issuer.what

    def _renew(self, rejected: Credential | None, fetch: Fetch) -> Credential:
        now, kept = self._clock(), self._kept
        if kept is not None and kept.credential == rejected:
            kept = None
        if kept is not None and now < kept.renew_at:
            return kept.credential  # another thread has renewed it
        good = kept is not None and now < kept.ends_at
        if now < self._retry_at and self._failure is not None:
            if kept is not None and good:
                return kept.credential
            raise copy.copy(self._failure)
        try:
            fresh = self._obtain(rejected, fetch)
        except RegistryError as error:
            self._failed(error, good=good)
            if kept is not None and good:
                return kept.credential
            raise
        self._failures, self._failure, self._retry_at = 0, None, float("-inf")
        self._kept = fresh
        return fresh.credential

    def _failed(self, error: RegistryError, *, good: bool) -> None:
        self._failures += 1
        pause = min(FIRST_PAUSE * 2.0 ** min(self._failures - 1, 16), LONGEST_PAUSE)
        self._retry_at = self._clock() + pause
        self._failure = error
        if good and self._failures == 1:
            log.warning("credentials could not be renewed; the former are used while they are good: %s", error)

    def _obtain(self, rejected: Credential | None, fetch: Fetch) -> _Kept:
        made = False

        def issue() -> Issued:
            nonlocal made
            made = True
            granted = self._issuer.issue(fetch)
            return Issued(_written(granted.credential), granted.lifetime, granted.lifetime * (1 - HALF))

        if self._share is None:
            issued = issue()
        else:
            besides = None if rejected is None else _written(rejected)
            issued = self._share.obtain("credential", issue, besides)
        credential = _read(issued.secret)
        conceal_recent({credential.secret, credential.basic.partition(" ")[2]})
        now = self._clock()
        ends_at = now + max(issued.lifetime - min(MARGIN, issued.lifetime / 4), 0.0)
        renew_at = min(now + max(issued.lifetime - issued.early, min(LEAST, issued.lifetime / 2)), ends_at)
        # One of another process may be old, whatever we know of it.
        return _Kept(credential, now if made else float("-inf"), renew_at, ends_at)


def _since_boot() -> float:
    # Where it is known, a clock that goes on while the machine sleeps: what we have ends meanwhile.
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def _written(credential: Credential) -> str:
    return json.dumps([credential.username, credential.secret, credential.use.value])


def _read(text: str) -> Credential:
    username, secret, use = json.loads(text)
    return Credential(username, secret, Use(use))
