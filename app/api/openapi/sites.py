"""Operations on sites."""

from __future__ import annotations

from typing import Any

from app.api.openapi.parts import answer, for_scripts, listing, named, number_of

_SITE = [number_of("site_id", "the site, which `geo_sites` tells as `id`")]

_STATUS = {"anyOf": [named("PrimaryStatus"), named("SecondaryStatus")]}

PATHS: dict[str, dict[str, Any]] = {
    "/api/v4/geo_sites": {
        "get": for_scripts(
            "listSites", "All sites, the primary first", "sites", {200: answer("The sites.", listing(named("Site")))}
        )
    },
    "/api/v4/geo_sites/status": {
        "get": for_scripts(
            "listSiteStatuses",
            "How all sites are",
            "sites",
            {200: answer("A status for each, in the order of the sites.", listing(_STATUS))},
        )
    },
    "/api/v4/geo_sites/{site_id}": {
        "get": for_scripts(
            "getSite", "One site", "sites", {200: answer("The site.", named("Site"))}, 404, parameters=_SITE
        )
    },
    "/api/v4/geo_sites/{site_id}/status": {
        "get": for_scripts(
            "getSiteStatus",
            "How one site is",
            "sites",
            {200: answer("Its status.", _STATUS)},
            404,
            parameters=_SITE,
            description="What only the primary has is `null` in a secondary's status, and the reverse. Of a site with a"
            " deployment of its own it is what that last reported.",
        )
    },
}
