"""geo-registry: event-driven, verified geo-replication of container registries."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from app.settings import Settings

__version__ = "0.1.0"


def create_app(settings: Settings | None = None) -> Flask:
    """The WSGI application, as gunicorn and Flask look for it; settings come from the environment unless given."""
    from app.web.application import create_app as build

    return build(settings)
