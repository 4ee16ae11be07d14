"""Who may call as a site: its own deployment, by the token that `geo sites token` made."""

from __future__ import annotations

import base64
import binascii

from flask import Response, request

from app.api.problems import problem
from app.models import Site
from app.replication import site_tokens
from app.web.auth import bearer
from app.web.throttle import Throttle

#: How often an address may be told what is wrong with its token. The right one passes all the same: it cannot be
#: guessed, and behind a proxy all sites have the address of whoever sends wrong ones.
throttle = Throttle(limit=60)


def calling_site() -> Site | Response:
    """The site whose token came as `Bearer`, or the answer to whoever has none."""
    token = bearer(request.headers.get("Authorization"))
    return _site(token, None, 'Bearer realm="geo-registry"')


def calling_site_by_password() -> Site | Response:
    """The site whose name and token came as user and password of `Basic`, or the answer to whoever has none."""
    name, token = _basic(request.headers.get("Authorization"))
    return _site(token, name, 'Basic realm="geo-registry"')


def _site(token: str | None, name: str | None, challenge: str) -> Site | Response:
    site = site_tokens.site_of(token)
    if site is not None and name in {None, site.name}:
        return site
    wait = throttle.wait(request.remote_addr)
    if wait > 0:
        response = problem(429, "Too Many Requests", "Too many wrong site tokens from this address.")
        response.headers["Retry-After"] = str(int(wait) + 1)
        return response
    throttle.failed(request.remote_addr)
    detail = "This is not the token of a site: `geo sites add` or `geo sites token NAME` makes one."
    if site is not None:
        detail = f"The token is that of the site {site.name}, which must also be the user name (GEO_SITE_NAME)."
    response = problem(401, "Unauthorized", detail)
    response.headers["WWW-Authenticate"] = challenge
    return response


def _basic(header: str | None) -> tuple[str | None, str | None]:
    scheme, _, value = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return None, None
    try:
        name, colon, token = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None, None
    # An empty name must not pass for none at all.
    return (name, token) if colon else (None, None)
