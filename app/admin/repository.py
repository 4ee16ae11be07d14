"""The pages of one repository: its references, its history, the graph of one tag, and what can be asked of it."""

from __future__ import annotations

from flask import abort, flash, redirect, render_template, request, url_for
from werkzeug.exceptions import ServiceUnavailable
from werkzeug.wrappers import Response

from app.admin.pages import ROWS, blueprint, cursor, find, following, narrowed
from app.admin.repositories import LEVELS, level
from app.database import connection
from app.models import ContainerRepositoryRegistry as Registry
from app.models import VerificationState
from app.registry import RegistryError
from app.replication import graph as graphs
from app.replication import queries
from app.replication.replicator import Replicator
from app.replication.verification import owing
from app.web import slow
from app.web.context import context

#: Attempts shown with a repository; its history has them all.
RECENT = 10

#: Tags shown that a verification found broken.
BROKEN = 20


@blueprint.get("/repositories/<int:registry_id>")
def repository(registry_id: int) -> str:
    narrow = narrowed()
    with connection():
        row = find(registry_id)
        page = queries.references(row.id, narrow, after=cursor(), limit=ROWS)
        broken = owing.unrepaired(row.id) if row.verification_state == VerificationState.FAILED else []
        return render_template(
            "repository.html",
            row=row,
            page=page,
            narrow=narrow,
            counts=queries.reference_counts(row.id),
            last=queries.last_attempts(row.id, [reference.name for reference in page.rows]),
            drift=queries.drifting(row.id),
            broken=broken[:BROKEN],
            more_broken=len(broken) - BROKEN,
            levels=LEVELS,
            usual=context().settings.verification_interval_level,
            attempts=queries.attempts(row.id, limit=RECENT),
            next_page=following(page),
        )


@blueprint.get("/repositories/<int:registry_id>/history")
def history(registry_id: int) -> str:
    name = request.args.get("reference") or None
    with connection():
        row = find(registry_id)
        page = queries.attempts(row.id, reference=name, after=cursor(), limit=ROWS)
        reference = None if name is None else queries.reference(row.id, name)
        if name is not None and reference is None and not page.rows:
            abort(404, "No such tag or digest was ever seen in this repository.")
        return render_template(
            "history.html", row=row, name=name, reference=reference, page=page, next_page=following(page)
        )


@blueprint.get("/repositories/<int:registry_id>/graph")
def graph(registry_id: int) -> str:
    """Read from the registries while one waits; nothing of it is kept."""
    name = request.args.get("reference") or ""
    with connection():
        row = find(registry_id)
    found, problem = None, None
    try:
        with slow.alone(slow.looking, "Somebody else is having the registries looked at."):
            geo = context().of_row(registry_id)
            found = graphs.read(geo.primary, geo.secondary, row.container_repository.path, name)
    except graphs.Busy as error:
        raise ServiceUnavailable(f"{error}.", retry_after=slow.ASK_AGAIN) from None
    except (RegistryError, graphs.TooSlow) as error:
        problem = str(error)
    return render_template("graph.html", row=row, name=name, graph=found, problem=problem)


@blueprint.post("/repositories/<int:registry_id>/resync")
def resync(registry_id: int) -> Response:
    path = _found(registry_id).container_repository.path
    Replicator(registry_id).queue(context())
    flash(f"{path} will be compared tag by tag with the primary, and what differs copied.")
    return _back(registry_id)


@blueprint.post("/repositories/<int:registry_id>/reverify")
def reverify(registry_id: int) -> Response:
    wanted = level(request.form.get("level"))
    path = _found(registry_id).container_repository.path
    Replicator(registry_id).queue_verification(context(), wanted)
    flash(f"Everything of {path} will be looked for on the secondary, and what is missing copied again.")
    return _back(registry_id)


def _found(registry_id: int) -> Registry:
    with connection():
        return find(registry_id)


def _back(registry_id: int) -> Response:
    return redirect(url_for(".repository", registry_id=registry_id), 303)
