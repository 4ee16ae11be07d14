"""Operations on container repositories: looking, asking for something, and waiting for it."""

from __future__ import annotations

from typing import Any

from app.api.openapi.parts import (
    DIGEST,
    FLAG,
    NAME,
    PAGING,
    PATH,
    TAG,
    Schema,
    answer,
    for_scripts,
    named,
    number_of,
    page_of,
    query,
)
from app.models import SyncState, VerificationState
from app.settings import VerificationLevel

_ID = number_of("registry_id", "the tracking row: a repository on one site")


def _states(states: type[SyncState] | type[VerificationState]) -> Schema:
    """Names, and GitLab's numbers. An empty one narrows nothing, as an empty field of a form."""
    names = [state.name.lower() for state in states]
    return {"type": "string", "enum": [*names, *(str(state.value) for state in states), ""]}


_STATE = query("state", _states(SyncState), "In this state, by name or GitLab's number, and in scope.")
_SEARCH = query("search", NAME, "With this in the path, or in the tag or digest of a reference.")
_NARROWING = [
    _STATE,
    query("verification", _states(VerificationState), "In this state of verification, and in scope."),
    query("site", NAME, "On the secondary site of this name."),
    _SEARCH,
]
_ALL = query("all", FLAG, "`true`: all of them. Needed where nothing narrows it, and refused where something does.")
_LEVEL = query(
    "level",
    {"type": "string", "enum": [level.value for level in VerificationLevel]},
    "How far; without it as far as `GEO_VERIFICATION_INTERVAL_LEVEL`.",
)

_MARKED = answer("Written down, and workers are woken. The number of repositories.", named("Marked"))
_ASKED = answer("Written down, and a worker is woken; `state` tells when it is done.", named("Repository"))

_AWAITED = [
    query("digest", DIGEST, "What is to be there. With `tag`: the tag stands on it."),
    query("tag", TAG, "What is to be there. Without `digest` whatever the last known event says of it counts."),
    query(
        "verified",
        {**FLAG, "default": True},
        "Wait until it is verified, too; without effect where `GEO_VERIFICATION` is `off`.",
    ),
    query(
        "timeout",
        {"type": "integer", "minimum": 0, "maximum": 120, "default": 25},
        "Seconds to wait. A proxy in between may give up sooner, many after 60.",
    ),
]
_ARRIVALS = {
    200: answer("It is there.", named("Arrived")),
    409: answer(
        "It will not come by itself: the site does not replicate it, is retired, or is not this deployment's.",
        {"anyOf": [named("Delay"), named("Problem")]},
        kind="application/problem+json",
    ),
    504: answer("It is not there yet, and why.", named("Delay"), kind="application/problem+json"),
}
_WAITING = "One of `digest` and `tag` must be given. 503 with `Retry-After` says that too many wait already: ask again."

_BASE = "/api/v4/geo/container_repositories"

PATHS: dict[str, dict[str, Any]] = {
    _BASE: {
        "get": for_scripts(
            "listRepositories",
            "Container repositories in the order of their paths",
            "repositories",
            {200: page_of("Repository", "A page of them.")},
            400,
            404,
            parameters=[*_NARROWING, *PAGING],
        )
    },
    f"{_BASE}/resync": {
        "post": for_scripts(
            "resyncRepositories",
            "Sync many repositories anew",
            "repositories",
            {202: _MARKED},
            400,
            404,
            409,
            415,
            parameters=[*_NARROWING, _ALL],
            description="Each is compared tag by tag with the primary, and what differs copied; what failed is tried"
            " once, whatever its retry time. Asking twice does no harm.",
        )
    },
    f"{_BASE}/reverify": {
        "post": for_scripts(
            "reverifyRepositories",
            "Verify many repositories anew",
            "repositories",
            {202: _MARKED},
            400,
            404,
            409,
            415,
            parameters=[*_NARROWING, _ALL, _LEVEL],
        )
    },
    f"{_BASE}/wait": {
        "get": for_scripts(
            "waitForImage",
            "Wait until an image is on a site",
            "repositories",
            _ARRIVALS,
            400,
            404,
            parameters=[
                query("path", PATH, "The repository's path; it need not be known yet.", required=True),
                query("site", NAME, "The secondary site's name; without it the deployment's own."),
                *_AWAITED,
            ],
            description=_WAITING,
        )
    },
    f"{_BASE}/{{registry_id}}": {
        "get": for_scripts(
            "getRepository",
            "One repository with the first hundred of its references",
            "repositories",
            {200: answer("The repository.", named("RepositoryWithReferences"), headers=["Link"])},
            404,
            parameters=[_ID],
        )
    },
    f"{_BASE}/{{registry_id}}/references": {
        "get": for_scripts(
            "listReferences",
            "Tags, and digests without one, of a repository",
            "repositories",
            {200: page_of("Reference", "A page of them, in the order of their names.")},
            400,
            404,
            parameters=[_ID, _STATE, _SEARCH, *PAGING],
        )
    },
    f"{_BASE}/{{registry_id}}/attempts": {
        "get": for_scripts(
            "listAttempts",
            "What was tried for a repository, newest first",
            "repositories",
            {200: page_of("Attempt", "A page of attempts.")},
            400,
            404,
            parameters=[
                _ID,
                query("reference", {"type": "string", "pattern": "^[^\\u0000]*$"}, "For this tag or digest alone."),
                *PAGING,
            ],
        )
    },
    f"{_BASE}/{{registry_id}}/resync": {
        "post": for_scripts(
            "resyncRepository",
            "Sync a repository anew",
            "repositories",
            {202: _ASKED},
            400,
            404,
            415,
            parameters=[_ID],
        )
    },
    f"{_BASE}/{{registry_id}}/reverify": {
        "post": for_scripts(
            "reverifyRepository",
            "Verify a repository anew",
            "repositories",
            {202: _ASKED},
            400,
            404,
            415,
            parameters=[_ID, _LEVEL],
        )
    },
    f"{_BASE}/{{registry_id}}/wait": {
        "get": for_scripts(
            "waitForReference",
            "Wait until an image of this repository is on its site",
            "repositories",
            _ARRIVALS,
            400,
            404,
            parameters=[_ID, *_AWAITED],
            description=_WAITING,
        )
    },
}
