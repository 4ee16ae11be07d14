"""Container repositories as a secondary has them: lists, single ones, their references, and what was tried."""

from __future__ import annotations

from flask import Response, abort, jsonify, url_for

from app.api.representations import repositories as represent
from app.api.resources import parameters
from app.api.resources.guard import blueprint
from app.api.resources.listing import listed
from app.database import connection
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Site
from app.replication import queries
from app.replication.narrowing import Filter


@blueprint.get("/geo/container_repositories")
def repositories() -> Response:
    narrow, per_page, after = parameters.narrowing(), parameters.per_page(), parameters.text("after")
    with connection():
        if narrow.site is not None:
            secondary(narrow.site)
        return listed(queries.repositories(narrow, after=after, limit=per_page), represent.repository)


@blueprint.get("/geo/container_repositories/<int:registry_id>")
def repository(registry_id: int) -> Response:
    """The tracking row with the first of its references; the `Link` header leads to the others."""
    with connection():
        row = find(registry_id)
        page = queries.references(row.id, Filter())
        shown = represent.repository(row)
        shown["references_count"] = sum(queries.reference_counts(row.id).values())
        shown["references"] = [represent.reference(reference) for reference in page.rows]
    response = jsonify(shown)
    if page.after is not None:
        target = url_for(".references", registry_id=registry_id, after=page.after, per_page=queries.MAX_PAGE)
        response.headers["Link"] = f'<{target}>; rel="next"'
    return response


@blueprint.get("/geo/container_repositories/<int:registry_id>/references")
def references(registry_id: int) -> Response:
    narrow = Filter.parse(state=parameters.text("state"), search=parameters.text("search"))
    per_page, after = parameters.per_page(), parameters.text("after")
    with connection():
        find(registry_id)
        return listed(queries.references(registry_id, narrow, after=after, limit=per_page), represent.reference)


@blueprint.get("/geo/container_repositories/<int:registry_id>/attempts")
def attempts(registry_id: int) -> Response:
    reference, per_page, after = parameters.text("reference"), parameters.per_page(), parameters.text("after")
    with connection():
        find(registry_id)
        page = queries.attempts(registry_id, reference=reference or None, after=after, limit=per_page)
        return listed(page, represent.attempt)


def find(registry_id: int) -> Registry:
    """The tracking row, or the answer that there is none. Inside a connection."""
    row = queries.repository(registry_id)
    if row is None:
        abort(404, f"There is no tracked container repository {registry_id}.")
    return row


def secondary(name: str) -> Site:
    """The secondary site of this name, or the answer that there is none: an empty list would say that nothing is
    there. Inside a connection."""
    row = next((row for row in queries.sites() if row.name == name and not row.primary), None)
    if row is None:
        abort(404, "There is no secondary site of this name; `GET /api/v4/geo_sites` lists them.")
    return row


def secondary_here(name: str) -> Site:
    """The same of one that this deployment replicates to. Inside a connection."""
    row = secondary(name)
    if row.remote:
        abort(409, f"{row.name} has a deployment of its own, which alone knows what is there: ask that one.")
    return row
