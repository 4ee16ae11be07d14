"""Asking for a sync or a verification: of one repository, or of all that a filter matches."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response, jsonify

from app.api.representations import repositories as represent
from app.api.resources import parameters
from app.api.resources.guard import blueprint
from app.api.resources.repositories import find, secondary_here
from app.database import connection
from app.replication import bulk
from app.replication.narrowing import Filter
from app.replication.queries import InvalidQuery
from app.replication.replicator import Replicator
from app.settings import VerificationLevel
from app.web import slow
from app.web.context import context

Answer = tuple[Response, int]


@blueprint.post("/geo/container_repositories/<int:registry_id>/resync")
def resync(registry_id: int) -> Answer:
    """Ask for a full sync, now. 202: it is written down and a worker was woken; the state tells when it is done."""
    parameters.only()
    return _one(registry_id, lambda replicator: replicator.queue(context()))


@blueprint.post("/geo/container_repositories/<int:registry_id>/reverify")
def reverify(registry_id: int) -> Answer:
    """Ask for a verification of everything, now. 202 as above."""
    parameters.only("level")
    level = _level()
    return _one(registry_id, lambda replicator: replicator.queue_verification(context(), level))


@blueprint.post("/geo/container_repositories/resync")
def resync_many() -> Answer:
    """Ask for a full sync of all that are matched. 202 with their number, once all of them are written down."""
    parameters.only(*parameters.NARROWING, "all")
    narrow = _meant()
    with slow.marked():
        return jsonify({"count": bulk.resync(narrow, context())}), 202


@blueprint.post("/geo/container_repositories/reverify")
def reverify_many() -> Answer:
    """Ask for a verification of all that are matched. 202 as above."""
    parameters.only(*parameters.NARROWING, "all", "level")
    level, narrow = _level(), _meant()
    with slow.marked():
        return jsonify({"count": bulk.reverify(narrow, context(), level)}), 202


def _one(registry_id: int, ask: Callable[[Replicator], None]) -> Answer:
    with connection():
        find(registry_id)
        ask(Replicator(registry_id))
        shown = represent.repository(find(registry_id))
    return jsonify(shown), 202


def _meant() -> Filter:
    """What is asked for.

    Raises:
        InvalidQuery: when it is everything and does not say so, or says so of a part.
    """
    narrow, everything = parameters.narrowing(), parameters.flag("all", default=False)
    if everything == (narrow != Filter()):
        raise InvalidQuery(f"give one of {', '.join(parameters.NARROWING)} to narrow it, or all=true; not both")
    if narrow.site is not None:
        with connection():
            secondary_here(narrow.site)
    return narrow


def _level() -> VerificationLevel | None:
    levels = {level.value for level in VerificationLevel}
    level = parameters.name("level", levels.__contains__, f"one of {', '.join(VerificationLevel)}")
    return None if level is None else VerificationLevel(level)
