"""Sites, and how they are."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flask import Response, abort, jsonify, url_for

from app.api.representations import sites as represent
from app.api.resources.guard import blueprint
from app.database import connection, now
from app.models import Site
from app.replication import health, progress, queries, site_reports
from app.replication.running import SHOWN, running
from app.replication.site_reports import Reported
from app.replication.status import Status, status
from app.web.context import context


@blueprint.get("/geo_sites")
def sites() -> Response:
    with connection():
        reports = site_reports.last(now())
        return jsonify([_site(row, reports) for row in queries.sites()])


@blueprint.get("/geo_sites/<int:site_id>")
def site(site_id: int) -> Response:
    with connection():
        return jsonify(_site(_find(site_id), site_reports.last(now())))


@blueprint.get("/geo_sites/status")
def site_statuses() -> Response:
    with connection():
        whole, instant = status(), now()
        return jsonify([_status(row, whole, instant) for row in queries.sites() if not row.retired])


@blueprint.get("/geo_sites/<int:site_id>/status")
def site_status(site_id: int) -> Response:
    with connection():
        return jsonify(_status(_find(site_id), status(), now()))


def _find(site_id: int) -> Site:
    row = next((row for row in queries.sites() if row.id == site_id), None)
    if row is None:
        abort(404, f"There is no site {site_id}.")
    return row


def _site(row: Site, reports: Mapping[int, Reported]) -> dict[str, Any]:
    settings, reported = context().settings, reports.get(row.id) if row.remote else None
    if row.remote:
        looking = None if reported is None else reported.report.backfill
    else:
        looking = None if row.primary else progress.backfill(row)
    return represent.site(
        row,
        current=row.primary if settings.secondary is None else settings.at(row.name) is not None,
        links={
            "self": url_for(".site", site_id=row.id),
            "status": url_for(".site_status", site_id=row.id),
            # GitLab makes a site's OAuth application anew by it; here there is none.
            "repair": None,
        },
        details_url=None if row.primary else url_for("admin.repositories", site=row.name),
        progress=looking,
        reported=reported,
    )


def _status(row: Site, whole: Status, instant: datetime) -> dict[str, Any]:
    links = {"self": url_for(".site_status", site_id=row.id), "site": url_for(".site", site_id=row.id)}
    counted = next((counted for counted in whole.sites if counted.name == row.name), None)
    if row.primary:
        return represent.primary_status(row, whole, instant, links)
    if counted is None:
        abort(404, f"{row.name} is retired: nothing is counted for it.")
    enabled = context().settings.replication_enabled
    judged = health.judge(counted, whole, instant, replication_enabled=enabled)
    under_way = None
    if not row.remote:
        under_way = running(row, SHOWN, context().movements) if counted.started else []
    return represent.secondary_status(
        row, counted, whole, judged, instant, replication_enabled=enabled, links=links, under_way=under_way
    )
