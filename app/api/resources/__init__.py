"""Sites, container repositories and events over HTTP, for scripts: the admin token opens it."""

from __future__ import annotations

from app.api.resources import asking, events, repositories, sites, waiting  # noqa: F401 - their routes
from app.api.resources.guard import blueprint

__all__ = ["blueprint"]
