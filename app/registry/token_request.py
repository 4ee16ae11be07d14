"""A request to a token service: for which scopes, as whom, and the token in the answer.

Source: the token specification of CNCF Distribution (docs/spec/auth/token.md, oauth.md).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit

import jwt

from app.registry.auth import Challenge, Fetch, is_token
from app.registry.credential import Credential, Issued, Use
from app.registry.errors import InvalidResponse, Rejected

#: Seconds that a token lives when the service does not say (docs/spec/auth/token.md).
LIFETIME = 60.0

#: Seconds of life that are believed at most: a day.
LONGEST = 86400.0

#: A token is renewed this many seconds before it expires, or at three quarters of a short life.
EARLY = 30.0

#: How we call ourselves where a token service wants to know the program.
CLIENT_ID = "geo-registry"


def request_token(challenge: Challenge, names: Sequence[str], credential: Credential | None, fetch: Fetch) -> Issued:
    """Ask the challenge's realm for a token for these scopes, as somebody or nobody in particular.

    Raises `InvalidResponse` for an answer without one, and whatever `fetch` raises.
    """
    try:
        body = _ask(challenge, names, credential, fetch)
    except Rejected:
        # Quay's token service knows no `delete`; it and every other takes `*` for it.
        anything = [re.sub(r":delete$", ":*", name) for name in names]
        if anything == list(names):
            raise
        body = _ask(challenge, anything, credential, fetch)
    return _read(body, challenge.realm)


def own_lifetime(token: str, otherwise: float) -> float:
    """Seconds that a token gives itself, for a service that leaves `expires_in` out (Azure's does)."""
    try:
        claims = jwt.decode(token, options={"verify_signature": False})
        # Not by our clock, which may differ from the service's.
        lifetime = float(claims["exp"] - claims.get("nbf", claims.get("iat")))
    except (jwt.PyJWTError, KeyError, TypeError, ValueError, OverflowError):
        return otherwise
    return lifetime if lifetime > 0 else otherwise


def _ask(challenge: Challenge, names: Sequence[str], credential: Credential | None, fetch: Fetch) -> bytes:
    if credential is not None and credential.use is Use.REFRESH:
        form = {
            "grant_type": "refresh_token",
            "service": challenge.service,
            "scope": " ".join(names),
            "client_id": CLIENT_ID,
            "refresh_token": credential.secret,
        }
        return fetch("POST", challenge.realm, form={name: value for name, value in form.items() if value})
    headers = {"Authorization": credential.basic} if credential is not None else {}
    return fetch("GET", _url(challenge, names), headers=headers)


def _url(challenge: Challenge, names: Sequence[str]) -> str:
    query = [("service", challenge.service)] if challenge.service else []
    query += [("scope", name) for name in names]
    parts = urlsplit(challenge.realm)
    joined = "&".join(part for part in (parts.query, urlencode(query)) if part)
    return parts._replace(query=joined, fragment="").geturl()


def _read(body: bytes, realm: str) -> Issued:
    try:
        reply: dict[str, Any] = json.loads(body)
        token = reply.get("token") or reply.get("access_token")
    except (ValueError, AttributeError, RecursionError):
        reply, token = {}, None
    if not isinstance(token, str) or not is_token(token):
        raise InvalidResponse("the token service answered without a token", url=realm)
    said = reply.get("expires_in")
    # A number of hundreds of digits is one for JSON, and none for a float.
    given = min(said, LONGEST) if isinstance(said, int | float) and said > 0 else None
    lifetime = float(given) if given is not None else own_lifetime(token, LIFETIME)
    return Issued(token, lifetime, min(EARLY, lifetime / 4))
