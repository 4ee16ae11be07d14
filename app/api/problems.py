"""Errors as problem documents (RFC 9457): a status, a title, and what to do about it."""

from __future__ import annotations

import logging
from typing import Any

from flask import Flask, Response, jsonify
from peewee import PeeweeException
from werkzeug.exceptions import HTTPException

from app.database import DatabaseUnavailable

log = logging.getLogger(__name__)


def problem(status: int, title: str, detail: str = "", **members: Any) -> Response:
    """The answer; `members` are the problem's own (section 3.2)."""
    response = jsonify({"type": "about:blank", "status": status, "title": title, "detail": detail, **members})
    response.status_code = status
    response.content_type = "application/problem+json"
    return response


def register(app: Flask) -> None:
    """Answer errors of all routes this way. A database that is down is said as 503, not as a fault of ours."""

    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        response = problem(error.code or 500, error.name, error.description or "")
        for name, value in error.get_headers():
            if name.lower() not in {"content-type", "content-length"}:
                response.headers[name] = value
        return response

    @app.errorhandler(DatabaseUnavailable)
    @app.errorhandler(PeeweeException)
    def database_error(error: Exception) -> Response:
        log.error("the database failed: %s", error)
        response = problem(503, "Service Unavailable", "The database cannot be used now; is it running and migrated?")
        response.headers["Retry-After"] = "1"
        return response
