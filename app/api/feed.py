"""The feed: the event log and the list of repositories, for the deployments of sites that follow us.

A request that waits holds a thread, and registries must always find one for their events: only a few wait at once, and
the others are told when to ask again.
"""

from __future__ import annotations

import re
from dataclasses import replace

from flask import Blueprint, Response, jsonify, request

from app.api.problems import problem
from app.api.site_auth import calling_site
from app.database import connection
from app.metrics import buffer
from app.models import Site
from app.registry import RegistryError
from app.replication import cursor
from app.replication.catalog import CatalogRefused, NoCatalog
from app.replication.log import Reading, listing, wire
from app.replication.log.feed import EVENTS, REPOSITORIES
from app.replication.log.local import LocalLog
from app.replication.scope import Scope
from app.web import slots
from app.web.context import context
from app.web.slots import Slots

blueprint = Blueprint("feed", __name__)

#: Seconds that a request may wait for an event: less than what proxies take for a dead server.
MAX_WAIT = 25.0

#: Events in one answer.
MAX_EVENTS = 1000
DEFAULT_EVENTS = 200

#: Requests that wait at once, in each process, of its threads (app.gunicorn_conf).
WAITING = 3

#: Listings at once, in each process: each may wait for the registry's catalog.
LISTING = 1

#: Seconds after which a site may ask again that found no room to wait.
ASK_AGAIN = 1.0

waiting = Slots(WAITING)
listings = Slots(LISTING)


@blueprint.route(EVENTS, methods=["GET", "POST"])
def events() -> Response:
    """The next events of the site's scope after the position `after`, at most `limit`, waited for `wait` seconds.

    Without `after` none, and the position where the log ends. 410 with a member `reset` when the position leads
    nowhere; the position beside it is where to go on, once a backfill is asked for. A long one may come as a form.
    """
    site = calling_site()
    if isinstance(site, Response):
        return _counted(site, None, "refused")
    limit, wait = _number("limit", DEFAULT_EVENTS, MAX_EVENTS), _number("wait", 0, MAX_WAIT)
    if limit is None or wait is None:
        detail = f"`limit` and `wait` (seconds) are numbers; the most are {MAX_EVENTS} and {MAX_WAIT:g}."
        return _counted(problem(400, "Bad Request", detail), site, "bad_request")
    after = request.values.get("after") or None
    reading = _read(LocalLog(site.id, lambda: slots.serving()), after, max(1, int(limit)), wait)
    # A token may have been revoked while its request waited.
    site = calling_site()
    if isinstance(site, Response):
        return _counted(site, None, "refused")
    if after is not None and reading.reset is None:
        with connection():
            cursor.acknowledge(site, after)
    response = jsonify(wire.dump(reading))
    if reading.reset is not None:
        response.status_code = 410
        return _counted(response, site, "reset")
    return _counted(response, site, "events" if reading.events else "empty")


@blueprint.get(REPOSITORIES)
def repositories() -> Response:
    """A page of the repositories in the site's scope; `next` is the `after` of the next page, null at the end."""
    site = calling_site()
    if isinstance(site, Response):
        return site
    geo = context()
    with listings.one() as got:
        if not got:
            response = problem(503, "Service Unavailable", "Another site lists the repositories now.")
            response.headers["Retry-After"] = "1"
            return response
        try:
            scope, named = Scope(tuple(site.repositories.splitlines())), Scope(geo.settings.repositories)
            found = listing.page(scope, named, geo.registry_catalog(), request.args.get("after"))
        except listing.InvalidPage as error:
            return problem(400, "Bad Request", f"{error}.")
        except CatalogRefused as error:
            return problem(502, "Bad Gateway", f"The primary registry refuses its catalog: {error}.")
        except NoCatalog as error:
            return problem(501, "Not Implemented", f"{error}.")
        except RegistryError as error:
            return problem(502, "Bad Gateway", f"The primary registry's catalog broke off: {error}")
    return _private(jsonify({"repositories": list(found.repositories), "next": found.following}))


def _read(log: LocalLog, after: str | None, limit: int, wait: float) -> Reading:
    reading = log.read(after, limit=limit)
    if reading.events or reading.reset or reading.retry_after or after is None or not wait:
        return reading
    with waiting.one() as got:
        if got:
            return log.read(reading.position, limit=limit, wait=wait)
    return replace(reading, retry_after=ASK_AGAIN)


def _number(name: str, default: int, most: float) -> float | None:
    text = request.values.get(name) or str(default)
    return min(float(text), most) if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text) else None


def _counted(response: Response, site: Site | None, outcome: str) -> Response:
    buffer.count("geo_feed_requests_total", {"site": site.name if site else "", "outcome": outcome})
    return _private(response)


def _private(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
