"""The document over HTTP, without a token: it says nothing of this deployment."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from app.api.openapi import document

blueprint = Blueprint("openapi", __name__)


@blueprint.get("/openapi.json")
def openapi() -> Response:
    response = jsonify(document())
    response.headers["Cache-Control"] = "public, max-age=300"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
