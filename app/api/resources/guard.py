"""What stands before every route of the API: the admin token, and how often may be asked."""

from __future__ import annotations

from flask import Blueprint, Response, g, request

from app.api.problems import problem
from app.replication.queries import InvalidQuery
from app.web.auth import admin_allowed, bearer, passes_throttle
from app.web.context import context
from app.web.rate_limit import Allowance, RateLimit
from app.web.throttle import Throttle

blueprint = Blueprint("resources", __name__, url_prefix="/api/v4")

#: Guesses at the admin token. Scripts fail more often than people.
throttle = Throttle(limit=100)

#: Keeps a script that asks without end from the database.
rate_limit = RateLimit()


@blueprint.before_request
def authenticate() -> Response | None:
    """403 while no admin token is set, 401 without it, 429 after too many wrong ones, or requests, from one address."""
    expected = context().settings.admin_token
    if expected is None:
        return problem(403, "Forbidden", "The API is closed: set GEO_ADMIN_TOKEN and restart to open it.")
    given = bearer(request.headers.get("Authorization")) or request.headers.get("PRIVATE-TOKEN")
    allowed = admin_allowed(given, expected)
    wait = throttle.wait(request.remote_addr)
    if wait > 0 and not (allowed and passes_throttle(expected)):
        return _too_many("Too many wrong tokens from this address.", wait)
    if allowed:
        return _limit()
    if given:
        throttle.failed(request.remote_addr)
    response = problem(
        401,
        "Unauthorized",
        "Send the admin token (GEO_ADMIN_TOKEN) as `Authorization: Bearer …` or `PRIVATE-TOKEN: …`.",
    )
    response.headers["WWW-Authenticate"] = 'Bearer realm="geo-registry"'
    return response


@blueprint.after_request
def protect(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    allowance: Allowance | None = g.get("allowance")
    if allowance is not None:
        allowance.tell(response)
    return response


@blueprint.errorhandler(InvalidQuery)
def invalid_query(error: InvalidQuery) -> Response:
    return problem(400, "Bad Request", f"{error}.")


def _limit() -> Response | None:
    limit = context().settings.api_rate_limit
    if not limit:
        return None
    g.allowance = rate_limit.take(request.remote_addr, limit)
    if g.allowance.allowed:
        return None
    detail = f"This address may ask {limit} times in a minute (GEO_API_RATE_LIMIT)."
    return _too_many(detail, g.allowance.reset)


def _too_many(detail: str, wait: float) -> Response:
    response = problem(429, "Too Many Requests", detail)
    response.headers["Retry-After"] = str(int(wait) + 1)
    return response
