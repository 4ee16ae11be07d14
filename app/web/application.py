"""The web process: the Flask application put together."""

from __future__ import annotations

import os

from flask import Flask

from app.admin import blueprint as admin
from app.admin.session import configure as configure_session
from app.api import feed, health, resources, site_status, token_endpoint, webhook
from app.api.openapi.views import blueprint as openapi
from app.api.problems import register as register_problems
from app.boot import boot
from app.logging import configure as configure_logging
from app.replication.context import Nobody, Wake
from app.settings import Settings
from app.web import request_id, standing_back


def create_app(settings: Settings | None = None, wake: Wake | None = None) -> Flask:
    """Build the application. The database, the queue and the registries may all be down; it starts all the same."""
    if settings is None:
        configure_logging()
        settings = Settings.from_env(os.environ)
    if wake is None and not settings.role.replicates:
        wake = Nobody()
    elif wake is None:
        # The broker is made when this is imported, from the environment; tests bring their own wake.
        from workers.wake import QueueWake

        wake = QueueWake(settings)
    context = boot(settings, wake)
    app = Flask(__name__, static_folder=None)
    app.extensions["geo"] = context
    # A registry follows a redirect by a GET without the body, and takes the answer for a delivery.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    request_id.register(app)
    standing_back.register(app)
    configure_session(app, settings)
    register_problems(app)
    if settings.role.receives:
        app.register_blueprint(webhook.blueprint)
        app.register_blueprint(feed.blueprint)
        app.register_blueprint(token_endpoint.blueprint)
        app.register_blueprint(site_status.blueprint)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(resources.blueprint)
    app.register_blueprint(openapi)
    app.register_blueprint(admin)
    return app
