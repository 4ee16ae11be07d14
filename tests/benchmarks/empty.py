"""What any Flask application costs: one view that does nothing, for gunicorn: `tests.benchmarks.empty:create_app()`."""

from __future__ import annotations

from flask import Flask, Response

from tests.support.running import WEBHOOK


def create_app() -> Flask:
    """Takes what the webhook takes, looks at none of it, and answers as much."""
    app = Flask(__name__)

    @app.post(WEBHOOK)
    def receive() -> Response:
        return Response('{"accepted":1,"duplicate":0,"ignored":0,"quarantined":0}\n', mimetype="application/json")

    return app
