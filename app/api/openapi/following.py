"""What the deployment of a site asks of the primary's: the feed, the repositories, tokens; and what it reports."""

from __future__ import annotations

from typing import Any

from app.api.openapi.parts import TEXT, Schema, answer, named, operation, query
from app.replication.log.feed import EVENTS, REPOSITORIES, STATUS, TOKENS

_SITE: list[dict[str, list[str]]] = [{"siteToken": []}]

_POSITION: Schema = {"type": "string", "format": "position"}
_LIMIT: Schema = {"type": "number", "minimum": 0, "maximum": 999_999, "default": 200}
_WAIT: Schema = {"type": "number", "minimum": 0, "maximum": 999_999, "default": 0}

_READING = {
    200: answer("The events that follow, and the position behind them.", named("Reading")),
    410: answer("The position leads nowhere, says `reset`: go on from the one beside it.", named("Reading")),
}


def _reading(name: str, summary: str, **more: Any) -> Schema:
    return operation(name, summary, "following", _READING, 400, 401, 413, 429, 503, security=_SITE, **more)


#: Of a site that has copied eight of ten repositories.
_REPORT: dict[str, Any] = {
    "name": "berlin",
    "url": "https://registry.berlin.example.com",
    "version": "1.0",
    "level": "healthy",
    "headline": "Copying",
    "advice": "",
    "follows": "feed",
    "enabled": True,
    "replication_enabled": True,
    "total": 10,
    "pending": 2,
    "started": 0,
    "synced": 8,
    "failed": 0,
    "references": 30,
    "references_synced": 28,
    "references_failed": 0,
    "drift": 0,
    "out_of_scope": 0,
    "references_out_of_scope": 0,
    "verification_total": 10,
    "verified": 8,
    "verification_failed": 0,
    "checksummed": 8,
    "checksum_failed": 0,
    "oldest_pending_seconds": 1.5,
    "last_synced_at": "2026-07-01T09:00:00+00:00",
    "first_failure": None,
    "first_verification_failure": None,
    "repositories": ["team/**"],
    "tags": [],
    "capacity": None,
    "deletion": "tags",
    "protected_tags": [],
    "verification": "manifests",
    "position": None,
    "backfill": None,
}


PATHS: dict[str, dict[str, Any]] = {
    EVENTS: {
        "get": _reading(
            "readFeed",
            "The events of the site's scope that follow a position",
            parameters=[
                query("after", _POSITION, "The last `position`; without it none, and where the log ends."),
                query("limit", _LIMIT, "Events in one answer; more than 1000 give 1000."),
                query("wait", _WAIT, "Seconds to wait for an event where there is none; more than 25 give 25."),
            ],
        ),
        "post": _reading(
            "readFeedByForm",
            "The same, for a position that is too long for an address",
            body={
                "content": {
                    "application/x-www-form-urlencoded": {
                        "schema": {
                            "type": "object",
                            "properties": {"after": _POSITION, "limit": _LIMIT, "wait": _WAIT},
                        }
                    }
                }
            },
        ),
    },
    REPOSITORIES: {
        "get": operation(
            "listFollowedRepositories",
            "The primary's repositories in the site's scope",
            "following",
            {200: answer("A page of them.", named("FollowedRepositories"))},
            400,
            401,
            429,
            501,
            502,
            503,
            parameters=[query("after", {"type": "string", "format": "page"}, "The `next` of the page before.")],
            security=_SITE,
        )
    },
    STATUS: {
        "post": operation(
            "reportStatus",
            "How the site is, as its own deployment counts it",
            "following",
            {200: answer("Kept in place of the last one.", named("Kept"))},
            400,
            401,
            409,
            413,
            429,
            503,
            body={
                "required": True,
                "content": {"application/json": {"schema": named("SiteReport"), "example": _REPORT}},
            },
            security=_SITE,
        )
    },
    TOKENS: {
        "get": operation(
            "getPullToken",
            "A token for pulling from the primary registry",
            "following",
            {
                200: answer("The token.", named("PullToken")),
                401: answer("No site's name and token.", named("RegistryErrors"), headers=["WWW-Authenticate"]),
                403: answer("Nothing of what was asked for is the site's.", named("RegistryErrors")),
                429: answer("Too many wrong tokens.", named("RegistryErrors"), headers=["Retry-After"]),
            },
            400,
            501,
            503,
            parameters=[
                query("service", TEXT, "The registry's name for itself; not looked at."),
                {
                    **query(
                        "scope",
                        {"type": "array", "items": {"type": "string", "pattern": "^[!-~]+$"}, "maxItems": 20},
                        "What is to be pulled, such as `repository:team/app:pull`.",
                    ),
                    "style": "form",
                    "explode": True,
                },
            ],
            description="The token endpoint of the Distribution protocol.",
            security=[{"sitePassword": []}],
        )
    },
}
