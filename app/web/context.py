"""The process's context, from inside a request."""

from __future__ import annotations

from typing import cast

from flask import current_app

from app.replication.context import Context


def context() -> Context:
    return cast("Context", current_app.extensions["geo"])
