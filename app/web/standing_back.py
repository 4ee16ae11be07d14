"""Standing back: nothing is taken in while the schema is another version's; what is sent is sent again after 503.

Probes and pages go on; it is there that a person looks for what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Flask, current_app, request
from werkzeug.exceptions import ServiceUnavailable

from app import migrate

V = TypeVar("V", bound=Callable[..., Any])

#: What answers whatever the schema is; and whose pages do.
_ALWAYS, _PAGES = frozenset({"health", "openapi"}), "admin"

_MARK = "changes_nothing"


def register(app: Flask) -> None:
    """Ask before every request."""

    @app.before_request
    def stand_back() -> None:
        if request.blueprint in _ALWAYS or (request.blueprint == _PAGES and _only_looks()):
            return
        if wrong := migrate.watch.wrong():
            raise ServiceUnavailable(wrong, retry_after=5)


def changes_nothing(view: V) -> V:
    """Of a page: it changes nothing of the state, though it is sent."""
    setattr(view, _MARK, True)
    return view


def _only_looks() -> bool:
    view = current_app.view_functions.get(request.endpoint or "")
    return request.method in {"GET", "HEAD"} or getattr(view, _MARK, False)
