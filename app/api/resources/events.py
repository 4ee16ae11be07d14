"""The event log for people's scripts, newest first, and what could not become an event."""

from __future__ import annotations

from flask import Response, abort, jsonify

from app.api.representations import events as represent
from app.api.resources import parameters
from app.api.resources.guard import blueprint
from app.api.resources.listing import listed
from app.database import connection
from app.registry import is_repository
from app.replication import queries


@blueprint.get("/geo/event_log")
def event_log() -> Response:
    """All events, or those of one repository. (`/geo/events` is the feed, which sites read in the order of the log.)"""
    path = parameters.name("path", is_repository, "a repository path, such as team/app")
    per_page, after = parameters.per_page(), parameters.text("after")
    with connection():
        repository_id = None
        if path is not None:
            row = queries.container_repository(path)
            if row is None:
                abort(404, f"No event ever named {path}.")
            repository_id = row.id
        page = queries.events(repository_id=repository_id, after=after, limit=per_page)
        return listed(page, represent.event)


@blueprint.get("/geo/event_log/<int:event_id>")
def logged_event(event_id: int) -> Response:
    with connection():
        row = queries.event(event_id)
        if row is None:
            abort(404, f"There is no event {event_id}; it may have been pruned.")
        return jsonify(represent.event(row))


@blueprint.get("/geo/quarantined_events")
def quarantined_events() -> Response:
    per_page, after = parameters.per_page(), parameters.text("after")
    with connection():
        return listed(queries.quarantined(after=after, limit=per_page), represent.quarantined)
