"""Lists that come page by page: the `Link` header leads to the next one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from flask import Response, jsonify, request
from peewee import Model

from app.replication.queries import Page

M = TypeVar("M", bound=Model)


def listed(page: Page[M], represent: Callable[[M], dict[str, Any]]) -> Response:
    """The rows of a page, and where those are that follow."""
    response = jsonify([represent(row) for row in page.rows])
    if page.after is not None:
        query = urlencode({**request.args.to_dict(), "after": page.after})
        # Relative to this address: behind a proxy we do not know the host and scheme that the caller used.
        response.headers["Link"] = f'<{quote(request.path)}?{query}>; rel="next"'
    return response
