"""Operations on the event log, as scripts read it."""

from __future__ import annotations

from typing import Any

from app.api.openapi.parts import PAGING, PATH, answer, for_scripts, named, number_of, page_of, query

PATHS: dict[str, dict[str, Any]] = {
    "/api/v4/geo/event_log": {
        "get": for_scripts(
            "listEvents",
            "The event log, newest first",
            "events",
            {200: page_of("Event", "A page of events.")},
            400,
            404,
            parameters=[query("path", PATH, "Events of this repository alone."), *PAGING],
        )
    },
    "/api/v4/geo/event_log/{event_id}": {
        "get": for_scripts(
            "getEvent",
            "One event",
            "events",
            {200: answer("The event.", named("Event"))},
            404,
            parameters=[number_of("event_id", "the event")],
        )
    },
    "/api/v4/geo/quarantined_events": {
        "get": for_scripts(
            "listQuarantinedEvents",
            "What came with the right secret and could not be read, newest first",
            "events",
            {200: page_of("QuarantinedEvent", "A page of it.")},
            400,
            parameters=PAGING,
        )
    },
}
