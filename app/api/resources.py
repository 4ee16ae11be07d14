"""Sites and container repositories over HTTP, for scripts: the admin token opens it, lists come page by page."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from flask import Blueprint, Response, abort, jsonify, request, url_for
from peewee import Model

from app.api import representations
from app.api.auth import admin_allowed, bearer
from app.api.context import context
from app.api.problems import problem
from app.api.throttle import Throttle
from app.database import connection, now
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Site
from app.replication import health, progress, queries, site_reports
from app.replication.queries import Filter, InvalidQuery, Page
from app.replication.replicator import Replicator
from app.replication.site_reports import Reported
from app.replication.status import Status, status

M = TypeVar("M", bound=Model)

blueprint = Blueprint("resources", __name__, url_prefix="/api/v4")

#: Guards a weak token against guessing. Scripts fail more often than people, and with the right token they pass.
throttle = Throttle(limit=100)

DEFAULT_PAGE = 20


@blueprint.before_request
def authenticate() -> Response | None:
    """403 while no admin token is set, 401 without it, 429 after too many wrong ones from one address."""
    expected = context().settings.admin_token
    if expected is None:
        return problem(403, "Forbidden", "The API is closed: set GEO_ADMIN_TOKEN and restart to open it.")
    wait = throttle.wait(request.remote_addr)
    if wait > 0:
        response = problem(429, "Too Many Requests", "Too many wrong tokens from this address.")
        response.headers["Retry-After"] = str(int(wait) + 1)
        return response
    given = bearer(request.headers.get("Authorization")) or request.headers.get("PRIVATE-TOKEN")
    if admin_allowed(given, expected):
        return None
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
    return response


@blueprint.errorhandler(InvalidQuery)
def invalid_query(error: InvalidQuery) -> Response:
    return problem(400, "Bad Request", f"{error}.")


@blueprint.get("/geo_sites")
def sites() -> Response:
    with connection():
        reports = site_reports.last(now())
        return jsonify([_site(row, reports) for row in queries.sites()])


@blueprint.get("/geo_sites/<int:site_id>")
def site(site_id: int) -> Response:
    with connection():
        return jsonify(_site(_find_site(site_id), site_reports.last(now())))


@blueprint.get("/geo_sites/status")
def site_statuses() -> Response:
    with connection():
        whole, instant = status(), now()
        return jsonify([_status(row, whole, instant) for row in queries.sites()])


@blueprint.get("/geo_sites/<int:site_id>/status")
def site_status(site_id: int) -> Response:
    with connection():
        return jsonify(_status(_find_site(site_id), status(), now()))


@blueprint.get("/geo/container_repositories")
def repositories() -> Response:
    narrow = Filter.parse(
        state=request.args.get("state"), site=request.args.get("site"), search=request.args.get("search")
    )
    with connection():
        if narrow.site is not None and not any(row.name == narrow.site and not row.primary for row in queries.sites()):
            raise InvalidQuery("site must be the name of a secondary site")
        page = queries.repositories(narrow, after=request.args.get("after"), limit=_per_page())
        return _listed(page, representations.repository)


@blueprint.get("/geo/container_repositories/<int:registry_id>")
def repository(registry_id: int) -> Response:
    """The tracking row with the first of its references; the `Link` header leads to the others."""
    with connection():
        row = _find_repository(registry_id)
        page = queries.references(row.id, Filter())
        shown = representations.repository(row)
        shown["references_count"] = sum(queries.reference_counts(row.id).values())
        shown["references"] = [representations.reference(reference) for reference in page.rows]
    response = jsonify(shown)
    if page.after is not None:
        target = url_for(".references", registry_id=registry_id, after=page.after, per_page=queries.MAX_PAGE)
        response.headers["Link"] = f'<{target}>; rel="next"'
    return response


@blueprint.get("/geo/container_repositories/<int:registry_id>/references")
def references(registry_id: int) -> Response:
    narrow = Filter.parse(state=request.args.get("state"), search=request.args.get("search"))
    with connection():
        _find_repository(registry_id)
        page = queries.references(registry_id, narrow, after=request.args.get("after"), limit=_per_page())
        return _listed(page, representations.reference)


@blueprint.get("/geo/container_repositories/<int:registry_id>/attempts")
def attempts(registry_id: int) -> Response:
    with connection():
        _find_repository(registry_id)
        page = queries.attempts(
            registry_id,
            reference=request.args.get("reference") or None,
            after=request.args.get("after"),
            limit=_per_page(),
        )
        return _listed(page, representations.attempt)


@blueprint.post("/geo/container_repositories/<int:registry_id>/resync")
def resync(registry_id: int) -> tuple[Response, int]:
    """Ask for a full sync, now. 202: it is written down and a worker was woken; the state tells when it is done."""
    with connection():
        _find_repository(registry_id)
        Replicator(registry_id).queue(context())
        shown = representations.repository(_find_repository(registry_id))
    return jsonify(shown), 202


@blueprint.get("/geo/quarantined_events")
def quarantined_events() -> Response:
    with connection():
        return _listed(
            queries.quarantined(after=request.args.get("after"), limit=_per_page()), representations.quarantined
        )


def _find_site(site_id: int) -> Site:
    row = next((row for row in queries.sites() if row.id == site_id), None)
    if row is None:
        abort(404, f"There is no site {site_id}.")
    return row


def _find_repository(registry_id: int) -> Registry:
    row = queries.repository(registry_id)
    if row is None:
        abort(404, f"There is no tracked container repository {registry_id}.")
    return row


def _site(row: Site, reports: Mapping[int, Reported]) -> dict[str, Any]:
    settings, reported = context().settings, reports.get(row.id) if row.remote else None
    if row.remote:
        looking = None if reported is None else reported.report.backfill
    else:
        looking = None if row.primary else progress.backfill(row)
    return representations.site(
        row,
        current=row.primary if settings.secondary is None else row.name == settings.site_name,
        links={
            "self": url_for(".site", site_id=row.id),
            "status": url_for(".site_status", site_id=row.id),
            "repair": None,
        },
        details_url=None if row.primary else url_for("admin.repositories", site=row.name),
        progress=looking,
        reported=reported,
    )


def _status(row: Site, whole: Status, instant: datetime) -> dict[str, Any]:
    links = {"self": url_for(".site_status", site_id=row.id), "site": url_for(".site", site_id=row.id)}
    counted = next((counted for counted in whole.sites if counted.name == row.name), None)
    if counted is None:
        return representations.primary_status(row, whole, instant, links)
    enabled = context().settings.replication_enabled
    judged = health.judge(counted, whole, instant, replication_enabled=enabled)
    return representations.secondary_status(
        row, counted, whole, judged, instant, replication_enabled=enabled, links=links
    )


def _per_page() -> int:
    """Rows wanted in a page; more than the most there is gives the most.

    Raises:
        InvalidQuery: unless it is a positive whole number.
    """
    text = request.args.get("per_page") or str(DEFAULT_PAGE)
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) == 0:
        raise InvalidQuery(f"per_page must be a number from 1 to {queries.MAX_PAGE}")
    return min(int(text), queries.MAX_PAGE)


def _listed(page: Page[M], represent: Callable[[M], dict[str, Any]]) -> Response:
    response = jsonify([represent(row) for row in page.rows])
    if page.after is not None:
        query = urlencode({**request.args.to_dict(), "after": page.after})
        # Relative to this address: behind a proxy we do not know the host and scheme that the caller used.
        response.headers["Link"] = f'<{quote(request.path)}?{query}>; rel="next"'
    return response
