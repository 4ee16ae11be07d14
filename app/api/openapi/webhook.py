"""Where registries send their events."""

from __future__ import annotations

from typing import Any

from app.api.openapi.parts import TEXT, Schema, answer, named, operation, query
from app.api.senders import PARAMETER
from app.notifications import DIALECTS, WEBHOOK_PATH

#: Whatever comes: what cannot be read is kept and shown, for a registry would send it again and again.
_ENVELOPE: Schema = {
    "description": "An envelope of events as the registry sends it; at most 16 MiB of it are read.",
    "content": {
        "application/vnd.docker.distribution.events.v1+json": {
            "schema": {},
            "example": {
                "events": [
                    {
                        "id": "320678d8-ca14-430f-8bb6-4ca139cd83f7",
                        "timestamp": "2026-07-01T09:00:00Z",
                        "action": "push",
                        "target": {
                            "mediaType": "application/vnd.oci.image.manifest.v1+json",
                            "digest": "sha256:" + "0" * 64,
                            "repository": "team/app",
                            "tag": "v1",
                        },
                    }
                ]
            },
        },
        "application/json": {"schema": {}},
    },
}


_DIALECT: Schema = {
    "name": "dialect",
    "in": "path",
    "required": True,
    "description": f"Whose events they are: {', '.join(sorted(DIALECTS))}. Those of any other are quarantined. Most"
    " vendors prove themselves by the notification secret in the header, `ghcr` by `X-Hub-Signature-256` of the body,"
    " `gar` by an identity token of Google's as bearer.",
    "schema": TEXT,
}

_SECRET: Schema = query(
    PARAMETER, TEXT, "The notification secret, of `docker-hub` and `quay` alone: they can send no header."
)


def _receiving(name: str, summary: str, parameters: list[Schema]) -> dict[str, Any]:
    return {
        "post": operation(
            name,
            summary,
            "notifications",
            {200: answer("Taken in, and what became of it.", named("Received"))},
            401,
            408,
            413,
            503,
            parameters=parameters,
            body=_ENVELOPE,
            security=[{"notificationSecret": []}],
            description="With the right secret nothing is refused but while the database cannot be written: what cannot"
            " be read is quarantined.",
        )
    }


PATHS: dict[str, dict[str, Any]] = {
    WEBHOOK_PATH: _receiving("receiveEvents", "Events of a registry of the Distribution kind", []),
    f"{WEBHOOK_PATH}/{{dialect}}": _receiving(
        "receiveEventsInDialect",
        "Events in another dialect",
        [_DIALECT, _SECRET],
    ),
}
