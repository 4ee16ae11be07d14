"""The pages under /admin."""

from __future__ import annotations

from typing import TypeVar

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from peewee import Model
from werkzeug.wrappers import Response

from app.admin import format as formats
from app.admin import guard
from app.api.context import context
from app.api.webhook import PATH as WEBHOOK
from app.database import connection, now
from app.models import ContainerRepositoryRegistry as Registry
from app.registry_config import InvalidRegistryConfig, distribution_yaml
from app.replication import health, queries
from app.replication.queries import Filter, Page
from app.replication.replicator import Replicator
from app.replication.status import status

M = TypeVar("M", bound=Model)

blueprint = Blueprint("admin", __name__, url_prefix="/admin", template_folder="templates", static_folder="static")
guard.register(blueprint)


@blueprint.record_once
def _filters(state: object) -> None:
    formats.register(state.app)  # type: ignore[attr-defined]


#: Rows in a page of a list.
ROWS = 25

#: Stands where the notification secret belongs: pages do not show it.
INSTEAD_OF_SECRET = "value of GEO_NOTIFICATION_SECRET"  # noqa: S105

#: Failures shown with a site.
FAILURES = 5

#: Attempts shown with a repository; its history has them all.
RECENT = 10


@blueprint.get("")
def sites() -> str:
    enabled = context().settings.replication_enabled
    with connection():
        whole, instant = status(), now()
        rows = queries.sites()
        secondaries = [
            {
                "site": row,
                "status": counted,
                "health": health.judge(counted, whole, instant, replication_enabled=enabled),
                "failing": queries.failing(row, FAILURES),
            }
            for row in rows
            for counted in whole.sites
            if counted.name == row.name
        ]
        return render_template(
            "sites.html",
            whole=whole,
            primary=next((row for row in rows if row.primary), None),
            secondaries=secondaries,
            webhook=None if whole.events or whole.repositories else _webhook_example(),
        )


@blueprint.get("/repositories")
def repositories() -> str:
    narrow = _filter()
    with connection():
        page = queries.repositories(narrow, after=request.args.get("after"), limit=ROWS)
        return render_template(
            "repositories.html",
            page=page,
            narrow=narrow,
            counts=queries.repository_counts(narrow.site),
            sites=[row for row in queries.sites() if not row.primary],
            next_page=_next(page),
        )


@blueprint.get("/repositories/<int:registry_id>")
def repository(registry_id: int) -> str:
    narrow = _filter()
    with connection():
        row = _find(registry_id)
        page = queries.references(row.id, narrow, after=request.args.get("after"), limit=ROWS)
        return render_template(
            "repository.html",
            row=row,
            page=page,
            narrow=narrow,
            counts=queries.reference_counts(row.id),
            attempts=queries.attempts(row.id, limit=RECENT),
            next_page=_next(page),
        )


@blueprint.get("/repositories/<int:registry_id>/history")
def history(registry_id: int) -> str:
    name = request.args.get("reference") or None
    with connection():
        row = _find(registry_id)
        page = queries.attempts(row.id, reference=name, after=request.args.get("after"), limit=ROWS)
        reference = None if name is None else queries.reference(row.id, name)
        if name is not None and reference is None and not page.rows:
            abort(404, "No such tag or digest was ever seen in this repository.")
        return render_template(
            "history.html", row=row, name=name, reference=reference, page=page, next_page=_next(page)
        )


@blueprint.post("/repositories/<int:registry_id>/resync")
def resync(registry_id: int) -> Response:
    with connection():
        row = _find(registry_id)
        Replicator(row.id).queue(context())
        path = row.container_repository.path
    flash(f"{path} will be compared tag by tag with the primary, and what differs copied.")
    return redirect(url_for(".repository", registry_id=registry_id), 303)


@blueprint.get("/events")
def events() -> str:
    with connection():
        page = queries.events(after=request.args.get("after"), limit=ROWS)
        return render_template("events.html", page=page, next_page=_next(page), webhook=_webhook_example())


@blueprint.get("/quarantine")
def quarantine() -> str:
    with connection():
        page = queries.quarantined(after=request.args.get("after"), limit=ROWS)
        return render_template("quarantine.html", page=page, next_page=_next(page))


@blueprint.get("/<path:anything>")
def missing(anything: str) -> str:  # noqa: ARG001 - the route gives it
    """So that a page that is not there is said on a page, not in a problem document."""
    abort(404, "There is no such page.")


def _find(registry_id: int) -> Registry:
    row = queries.repository(registry_id)
    if row is None:
        abort(404, "There is no such repository; it may have been removed.")
    return row


def _filter() -> Filter:
    return Filter.parse(**{name: request.args.get(name) for name in ("state", "site", "search")})


def _next(page: Page[M]) -> str | None:
    """The address of the page behind this one."""
    return guard.here(after=page.after) if page.after else None


def _webhook_example() -> str | None:
    """What the primary registry's configuration needs to tell us of pushes; the secret stays out of it."""
    if not context().settings.role.receives:
        return None
    try:
        return distribution_yaml(
            "primary", webhook_url=request.host_url.rstrip("/") + WEBHOOK, secret=INSTEAD_OF_SECRET
        )
    except InvalidRegistryConfig:
        return None
