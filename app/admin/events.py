"""The pages of the event log and of what could not become a part of it."""

from __future__ import annotations

from flask import abort, flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from app.admin.format import number
from app.admin.pages import ROWS, blueprint, cursor, following, webhook_example
from app.database import connection
from app.models import Event
from app.replication import quarantine as quarantined
from app.replication import queries
from app.replication.quarantine import Replayed
from app.replication.queries import Page
from app.web.context import context

#: Longer than any repository's path.
MAX_PATH = 255


@blueprint.get("/events")
def events() -> str:
    path = (request.args.get("repository") or "").strip().strip("/")[: MAX_PATH + 1]
    with connection():
        known = queries.container_repository(path) if path else None
        if path and known is None:
            page: Page[Event] = Page([], None)
        else:
            page = queries.events(repository_id=known.id if known else None, after=cursor(), limit=ROWS)
        return render_template(
            "events.html",
            page=page,
            path=path,
            known=known is not None,
            next_page=following(page),
            webhook=webhook_example(),
        )


@blueprint.get("/quarantine")
def quarantine() -> str:
    with connection():
        page = queries.quarantined(after=cursor(), limit=ROWS)
        return render_template("quarantine.html", page=page, next_page=following(page))


@blueprint.post("/quarantine/<int:quarantined_id>/replay")
def replay(quarantined_id: int) -> Response:
    done = quarantined.replay(quarantined_id, context())
    if done is None:
        abort(404, "There is no such thing in quarantine any more; it may have been replayed already.")
    flash(_told(done))
    return redirect(url_for(".quarantine"), 303)


@blueprint.post("/quarantine/<int:quarantined_id>/discard")
def discard(quarantined_id: int) -> Response:
    if not quarantined.discard(quarantined_id):
        abort(404, "There is no such thing in quarantine any more.")
    flash("It is forgotten.")
    return redirect(url_for(".quarantine"), 303)


def _told(done: Replayed) -> str:
    counts = {"new": done.accepted, "known already": done.duplicate, "of no interest": done.ignored}
    said = ", ".join(f"{number(count)} {what}" for what, count in counts.items() if count)
    if done.unreadable is None:
        return f"It could be read: {said or 'there was no event in it'}. It has left the quarantine."
    reason = done.unreadable.replace("_", " ")
    return f"It still cannot be read ({reason}){f'; what could be: {said}' if said else ''}. It stays here."
