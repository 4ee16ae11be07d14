"""Probes and metrics, without a token."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify
from peewee import PeeweeException
from prometheus_client import CONTENT_TYPE_LATEST

from app import metrics, migrate
from app.api.problems import problem
from app.database import DatabaseUnavailable, connection
from app.replication.gauges import gauges

blueprint = Blueprint("health", __name__)


@blueprint.get("/-/health")
@blueprint.get("/-/liveness")
def live() -> Response:
    """The process answers. Nothing else is asked: restarting it would mend nothing else."""
    return jsonify({"status": "ok"})


@blueprint.get("/-/readiness")
def ready() -> Response:
    """Events can be taken in: the database is reachable and migrated. Queue and registries are not part of that."""
    try:
        wrong = str(migrate.difference())
    except (DatabaseUnavailable, PeeweeException):
        return problem(503, "Service Unavailable", "The database cannot be reached.")
    except migrate.Unmigrated as error:
        return problem(503, "Service Unavailable", f"The installation is not whole: {error}.")
    if wrong:
        return problem(503, "Service Unavailable", wrong)
    return jsonify({"status": "ok"})


@blueprint.get("/metrics")
def scrape() -> Response:
    """Everything there is to scrape, from all processes: it is all in the database."""
    metrics.buffer.flush()
    with connection():
        return Response(metrics.exposition(gauges()), content_type=CONTENT_TYPE_LATEST)
