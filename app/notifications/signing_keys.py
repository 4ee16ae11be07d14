"""The keys that an issuer signs with, fetched from its address and kept for a while."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import jwt
import requests

from app.notifications.authentication import Refused

#: Seconds that keys are kept: as long as the issuer says, within these bounds.
MIN_AGE, DEFAULT_AGE, MAX_AGE = 60.0, 3600.0, 86400.0
#: Seconds between two looks, whatever comes: anybody can send a token with a key's id that does not exist.
PAUSE: Final = 30.0
#: Seconds after which an answer that does not come is given up.
TIMEOUT: Final = 5.0
#: What an answer may be at most, and how many keys of it are kept.
MAX_ANSWER, MAX_KEYS = 256 * 1024, 32

#: The body of an answer, and for how many seconds it is good, if it says so; raises OSError or ValueError.
Fetch: TypeAlias = Callable[[str], tuple[bytes, float | None]]


class SigningKeys:
    """Finds a key by its id. Safe to share between threads: one looks while the others wait, for `TIMEOUT` and little
    more. While the address does not answer, the keys that are known stay good for `MAX_AGE`."""

    def __init__(self, url: str, fetch: Fetch | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._fetch = fetch or fetch_keys
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: Mapping[str, Any] = {}
        self._fetched_at = self._looked_at = float("-inf")
        self._age = 0.0
        self._failed = False

    def find(self, kid: str) -> Any:
        """The key with this id.

        :raises Refused: there is no such key; `temporary` while the keys cannot be fetched.
        """
        with self._lock:
            stale = self._clock() - self._fetched_at > self._age
            if (stale or kid not in self._keys) and self._clock() - self._looked_at >= PAUSE:
                self._look()
            good = self._clock() - self._fetched_at <= MAX_AGE
            found = self._keys.get(kid) if good else None
            if found is not None:
                return found
            if self._failed:
                raise Refused("keys_unavailable", "The issuer's keys cannot be fetched now.", temporary=True)
            raise Refused("wrong_credential", "The token is signed with a key that its issuer does not have.")

    def _look(self) -> None:
        self._looked_at = self._clock()
        try:
            body, age = self._fetch(self._url)
            keys = _read(body)
        except (OSError, ValueError):
            self._failed = True
            return
        self._keys, self._failed = keys, False
        self._fetched_at = self._clock()
        self._age = min(max(DEFAULT_AGE if age is None else age, MIN_AGE), MAX_AGE)


def fetch_keys(url: str) -> tuple[bytes, float | None]:
    """Fetch a key set.

    :raises OSError: the address does not answer as it should.
    """
    with requests.Session() as session:
        # A .netrc or a proxy of the environment has no say in whom we believe.
        session.trust_env = False
        with session.get(url, timeout=TIMEOUT, stream=True, allow_redirects=False) as answer:
            if answer.status_code != requests.codes.ok:
                raise OSError(f"answered {answer.status_code}")
            body = bytearray()
            for chunk in answer.iter_content(16 * 1024):
                body += chunk
                if len(body) > MAX_ANSWER:
                    raise OSError("the answer is too large")
            match = re.search(r"max-age=([0-9]{1,9})", answer.headers.get("Cache-Control", ""))
            return bytes(body), float(match[1]) if match else None


def _read(body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body)
        keys = document["keys"] if isinstance(document, dict) else None
    except (RecursionError, KeyError):
        raise ValueError("no key set") from None
    if not isinstance(keys, list):
        raise ValueError("no key set")
    found = {}
    for each in keys[:MAX_KEYS]:
        # A key of a kind that is not known here costs none of the others.
        if isinstance(each, dict) and isinstance(each.get("kid"), str) and each.get("kty") == "RSA":
            try:
                found[each["kid"]] = jwt.PyJWK(each, algorithm="RS256")
            except (jwt.PyJWTError, ValueError, TypeError):
                continue
    if not found:
        raise ValueError("no keys")
    return found
