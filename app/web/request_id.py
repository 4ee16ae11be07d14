"""The id of a request: the caller's own, that of his trace, or a new one; in the answer, in the log, and with all that
it leads to."""

from __future__ import annotations

from flask import Flask, Response, g, request

from app import correlation


def register(app: Flask) -> None:
    """Give every request its id before anything else looks at it, and answer with it."""

    @app.before_request
    def begin() -> None:
        headers = request.headers
        given = correlation.accepted(headers.get(correlation.HEADER))
        id_ = given or correlation.traced(headers.get(correlation.TRACE_HEADER)) or correlation.new()
        g.correlation = correlation.bind(id_)

    @app.after_request
    def answer(response: Response) -> Response:
        id_ = correlation.current()
        if id_ is not None:
            response.headers.setdefault(correlation.HEADER, id_)
        return response

    @app.teardown_request
    def end(_error: BaseException | None) -> None:
        bound = g.pop("correlation", None)
        if bound is not None:
            correlation.release(bound)
