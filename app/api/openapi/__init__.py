"""The description of all that is answered over HTTP but the pages, as an OpenAPI 3.1 document."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from app import __version__
from app.api.openapi import events, following, probes, repositories, sites, webhook
from app.api.openapi.parts import HEADERS, REFUSALS, SECURITY
from app.api.openapi.schemas import SCHEMAS

#: Path, then method in lower case, then the operation; the paths as OpenAPI writes them.
PATHS: dict[str, dict[str, Any]] = {
    **sites.PATHS,
    **repositories.PATHS,
    **events.PATHS,
    **webhook.PATHS,
    **following.PATHS,
    **probes.PATHS,
}

_DESCRIPTION = """\
Events of registries come in, and what became of them is told. Scripts use the admin token (`GEO_ADMIN_TOKEN`), sites
with deployments of their own the token that was made for each, registries the notification secret.

Errors are problem documents (RFC 9457). Lists come page by page: the `Link` header names the next one, and its absence
the end. Times are ISO 8601 in UTC. Fields that GitLab's API has bear its names; `null` is what has no meaning here."""


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """The whole of it. Nobody changes what is returned: it is made once."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "geo-registry", "version": __version__, "description": _DESCRIPTION},
        "tags": [
            {"name": "sites", "description": "Sites, and how they are."},
            {"name": "repositories", "description": "Container repositories as a secondary has them."},
            {"name": "events", "description": "The event log, and what could not become an event."},
            {"name": "notifications", "description": "Where registries send their events."},
            {"name": "following", "description": "What the deployment of a site asks of the primary's."},
            {"name": "probes", "description": "For load balancers, Prometheus and clients of this API."},
        ],
        "paths": PATHS,
        "components": {
            "schemas": SCHEMAS,
            "responses": REFUSALS,
            "headers": HEADERS,
            "securitySchemes": SECURITY,
        },
    }
