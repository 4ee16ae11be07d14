"""Probes, metrics, and this document: without a token."""

from __future__ import annotations

from typing import Any

from app.api.openapi.parts import TEXT, Schema, answer, named, operation


def _alive(name: str) -> dict[str, Any]:
    return {
        "get": operation(name, "The process answers", "probes", {200: answer("It does.", named("Ok"))}),
    }


_DOCUMENT: Schema = {"type": "object", "required": ["openapi", "info", "paths"]}

PATHS: dict[str, dict[str, Any]] = {
    "/-/health": _alive("health"),
    "/-/liveness": _alive("liveness"),
    "/-/readiness": {
        "get": operation("readiness", "Events can be taken in", "probes", {200: answer("They can.", named("Ok"))}, 503)
    },
    "/metrics": {
        "get": operation(
            "metrics",
            "Everything there is to scrape, from all processes",
            "probes",
            {200: answer("In Prometheus' text format.", TEXT, kind="text/plain")},
            503,
        )
    },
    "/openapi.json": {
        "get": operation("openapi", "This document", "probes", {200: answer("It.", _DOCUMENT)}),
    },
}
