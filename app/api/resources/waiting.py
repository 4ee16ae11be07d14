"""Waiting until an image is on a site, for a CI job that has pushed it.

A request that waits holds a thread: only a few do at once, beside the sites that wait in the feed, and the others are
told to ask again. Registries must always find a thread for their events.
"""

from __future__ import annotations

from flask import Response, jsonify

from app.api.problems import problem
from app.api.representations import repositories as represent
from app.api.resources import parameters
from app.api.resources.guard import blueprint
from app.api.resources.repositories import find, secondary_here
from app.database import connection
from app.models import Reference, Site
from app.registry import REPOSITORY_PATH, is_repository, is_tag
from app.registry.references import Digest
from app.replication import awaiting
from app.replication.awaiting import Awaited, Delay
from app.replication.queries import InvalidQuery
from app.replication.verification.governed import governed
from app.web import slots
from app.web.context import context
from app.web.slots import Slots

#: Seconds that may be waited; where a proxy gives up sooner, ask for less.
MAX_TIMEOUT = 120
DEFAULT_TIMEOUT = 25

#: Requests that wait at once, in each process: with those in the feed, and what is slow, fewer than its threads.
WAITING = 2

#: Seconds after which somebody may ask again who found no room.
ASK_AGAIN = 2

waiting = Slots(WAITING)


@blueprint.get("/geo/container_repositories/<int:registry_id>/wait")
def wait(registry_id: int) -> Response:
    """200 with the reference once the image is there; 504 says what holds it up, 409 that it will not come."""
    tag, digest, verified, timeout = _asked()
    with connection():
        row = find(registry_id)
        verified = verified and _verifies(row.site)
        awaited = Awaited(row.site, row.container_repository.path, tag, digest, verified)
    return _wait(awaited, timeout)


@blueprint.get("/geo/container_repositories/wait")
def wait_by_path() -> Response:
    """The same by path and site, also of a repository that nobody has heard of yet."""
    path = parameters.name("path", is_repository, REPOSITORY_PATH)
    if path is None:
        raise InvalidQuery("path is required: the repository's path, such as team/app")
    tag, digest, verified, timeout = _asked()
    with connection():
        site = _site(parameters.text("site"))
        verified = verified and _verifies(site)
    return _wait(Awaited(site, path, tag, digest, verified), timeout)


def _asked() -> tuple[str | None, str | None, bool, int]:
    digest = parameters.name(
        "digest", Digest.supported, "a digest: sha256:, sha384: or sha512: and its hexadecimal digits"
    )
    tag = parameters.name("tag", is_tag, "a tag")
    if digest is None and tag is None:
        raise InvalidQuery("give digest, tag, or both: what is to stand there")
    return (
        tag,
        digest,
        parameters.flag("verified", default=True),
        parameters.seconds("timeout", DEFAULT_TIMEOUT, MAX_TIMEOUT),
    )


def _site(name: str | None) -> Site:
    settings = context().settings
    if name is None and settings.secondary is None:
        raise InvalidQuery("site is required where the deployment has no secondary of its own")
    if name is None and settings.further:
        raise InvalidQuery(
            f"site is required where there are several: {', '.join(e.site_name for e in settings.every)}"
        )
    return secondary_here(name or settings.site_name)


def _verifies(site: Site) -> bool:
    """Whether what is copied there is verified at all, by its own settings or since the primary asks for it."""
    return governed(context().settings, site).verification is not None


def _wait(awaited: Awaited, timeout: int) -> Response:
    enabled = context().settings.replication_enabled
    found = awaiting.wait(awaited, 0, replication_enabled=enabled)
    if timeout and isinstance(found, Delay) and not found.vain:
        with waiting.one() as got:
            if not got:
                return _no_room()
            found = awaiting.wait(awaited, timeout, replication_enabled=enabled, alive=lambda: slots.serving())
    return _there(awaited, found) if isinstance(found, Reference) else _not_there(awaited, found)


def _there(awaited: Awaited, found: Reference) -> Response:
    return jsonify({"path": awaited.path, "site": awaited.site.name, "reference": represent.reference(found)})


def _not_there(awaited: Awaited, delay: Delay) -> Response:
    status, title = (409, "Conflict") if delay.vain else (504, "Gateway Timeout")
    return problem(
        status,
        title,
        f"{delay.why} {delay.next}",
        path=awaited.path,
        site=awaited.site.name,
        cause=delay.cause,
        why=delay.why,
        next=delay.next,
        reference=None if delay.reference is None else represent.reference(delay.reference),
    )


def _no_room() -> Response:
    response = problem(503, "Service Unavailable", f"{WAITING} requests wait here already; ask again in a moment.")
    response.headers["Retry-After"] = str(ASK_AGAIN)
    return response
