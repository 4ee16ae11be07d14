"""The token endpoint: pull tokens for the primary registry, for sites that have no key of it.

Source: the token specification of CNCF Distribution (docs/spec/auth/token.md).
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

from flask import Blueprint, Response, jsonify, request

from app.api.problems import problem
from app.api.site_auth import calling_site_by_password
from app.metrics import buffer
from app.models import Site
from app.registry import KeyToken, RegistryError, is_repository
from app.replication.log.feed import TOKENS
from app.replication.scope import Scope
from app.web.context import context

log = logging.getLogger(__name__)

blueprint = Blueprint("token_endpoint", __name__)

#: Scopes in one request: a registry's client names one, or two for a mount.
MAX_SCOPES = 20

_SCOPE = re.compile(r"repository(?:\([^)]*\))?:(?P<name>[^:]+):(?P<actions>[a-z,*]+)")

#: Seconds after which the registry is asked anew how it names keys: it may have been upgraded.
LEARN_AGAIN = 300.0

_learning = threading.Lock()
_learned: WeakKeyDictionary[KeyToken, float] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class Grant:
    """What a site may have of what it asked for."""

    access: Sequence[dict[str, Any]]
    #: Scopes of which it may have nothing.
    denied: Sequence[str]


@blueprint.get(TOKENS)
def token() -> Response:
    """A token for what was asked, limited to pull and to the site's scope; 403 when nothing of it is left."""
    site = calling_site_by_password()
    if isinstance(site, Response):
        return _counted(_as_registry(site), None, "refused")
    keys = context().primary_keys
    if keys is None:
        detail = "This deployment has no key of the primary registry (GEO_PRIMARY_REGISTRY_AUTH is not `token`)."
        return _counted(problem(501, "Not Implemented", detail), site, "no_key")
    asked = [scope for text in request.args.getlist("scope") for scope in text.split()]
    if len(asked) > MAX_SCOPES:
        return _counted(problem(400, "Bad Request", f"At most {MAX_SCOPES} scopes at once."), site, "denied")
    grant = grant_of(site, asked)
    if asked and not grant.access:
        log.warning("a token was denied", extra={"site": site.name, "scopes": grant.denied})
        return _counted(_denied(site, grant), site, "denied")
    _learn(keys)
    signed = keys.grant(grant.access, site.name)
    response = jsonify(
        {
            "token": signed,
            "access_token": signed,
            "expires_in": keys.lifetime,
            "issued_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
    )
    return _counted(response, site, "granted")


def grant_of(site: Site, asked: Sequence[str]) -> Grant:
    """Pull of the repositories that the site replicates, and nothing else: no push, no catalog, no other type."""
    scope = Scope(tuple(site.repositories.splitlines()))
    access: list[dict[str, Any]] = []
    denied: list[str] = []
    for text in asked:
        match = _SCOPE.fullmatch(text)
        name = match["name"] if match else ""
        pulls = match is not None and "pull" in match["actions"].split(",")
        if pulls and is_repository(name) and scope.covers(name):
            access.append({"type": "repository", "name": name, "actions": ["pull"]})
        else:
            denied.append(text)
    return Grant(access, denied)


def _learn(keys: KeyToken) -> None:
    """Find out how the registry wants the key to be named, where no certificate names it: our own client asks once."""
    if keys.certified:
        return
    with _learning:
        if time.monotonic() - _learned.get(keys, float("-inf")) < LEARN_AGAIN:
            return
        try:
            context().primary.ping()
        except RegistryError as error:
            log.warning("how the primary registry names keys could not be found out: %s", error)
        _learned[keys] = time.monotonic()


def _denied(site: Site, grant: Grant) -> Response:
    message = f"site {site.name} may only pull what it replicates; denied: {' '.join(grant.denied)[:400]}"
    response = jsonify({"errors": [{"code": "DENIED", "message": message, "detail": None}]})
    response.status_code = 403
    return response


def _as_registry(refusal: Response) -> Response:
    """The refusal as registry clients read one."""
    told = refusal.get_json()
    refusal.set_data(jsonify({"errors": [{"code": "UNAUTHORIZED", "message": told["detail"], "detail": None}]}).data)
    refusal.content_type = "application/json"
    return refusal


def _counted(response: Response, site: Site | None, outcome: str) -> Response:
    buffer.count("geo_pull_tokens_total", {"site": site.name if site else "", "outcome": outcome})
    response.headers["Cache-Control"] = "no-store"
    return response
