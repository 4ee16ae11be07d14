"""Where sites with deployments of their own say how they are."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from app.api.problems import problem
from app.api.site_auth import calling_site
from app.replication import site_reports
from app.replication.log.feed import STATUS
from app.replication.site_reports import MIN_INTERVAL, REPORT_LIMIT, InvalidReport

blueprint = Blueprint("site_status", __name__)


@blueprint.post(STATUS)
def site_status() -> Response:
    """Keep the status that the calling site reports, a JSON object, in place of its last one.

    400 says what is wrong with it, 409 that it is of another site, 413 that it is too large, 429 that it comes within
    a second of the last; then the last one stays.
    """
    site = calling_site()
    if isinstance(site, Response):
        return _private(site)
    body = _body()
    if body is None:
        return _private(problem(413, "Content Too Large", f"A report has at most {REPORT_LIMIT} bytes."))
    try:
        report = site_reports.parse(body)
    except InvalidReport as error:
        return _private(problem(400, "Bad Request", f"{error}."))
    if report.name != site.name:
        detail = f"This is the token of the site {site.name}, and the report is of {report.name} (GEO_SITE_NAME)."
        return _private(problem(409, "Conflict", detail))
    if not site_reports.keep(site, report):
        response = problem(429, "Too Many Requests", f"The last report came less than {MIN_INTERVAL:g} s ago.")
        response.headers["Retry-After"] = "1"
        return _private(response)
    return _private(jsonify({"site": site.name}))


def _body() -> bytes | None:
    """The body; None for one that is too large, which is not read to its end."""
    if (request.content_length or 0) > REPORT_LIMIT:
        return None
    data = bytearray()
    while chunk := request.stream.read(64 * 1024):
        data += chunk
        if len(data) > REPORT_LIMIT:
            return None
    return bytes(data)


def _private(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
