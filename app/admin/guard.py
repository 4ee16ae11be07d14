"""What stands before every page: signing in, forms that only our own pages can send, and headers."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from flask import Blueprint, current_app, flash, redirect, render_template, request, session, url_for
from flask import Response as FlaskResponse
from peewee import PeeweeException
from werkzeug.exceptions import BadRequest, Forbidden, HTTPException, ServiceUnavailable, TooManyRequests
from werkzeug.wrappers import Response

from app import __version__
from app.admin.session import csrf_token, csrf_valid, sign_in, signed_in
from app.database import DatabaseUnavailable
from app.replication.queries import InvalidQuery
from app.settings import Secret
from app.web.auth import admin_allowed, passes_throttle
from app.web.bodies import unproven_body
from app.web.context import context
from app.web.standing_back import changes_nothing
from app.web.throttle import Throttle

#: Guesses at the admin token.
throttle = Throttle()

#: No form of ours is larger.
MAX_FORM = 64 * 1024

#: Nothing but our own files is loaded, nothing inline is run, and no other page frames ours.
CONTENT_SECURITY_POLICY = "; ".join(
    ("default-src 'self'", "object-src 'none'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'")
)

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

#: Where one lands after signing in.
HOME = "/admin"


def register(blueprint: Blueprint) -> None:
    """Put the guard before every page of `blueprint`."""
    blueprint.before_request(_admit)
    blueprint.after_request(_protect)
    blueprint.errorhandler(HTTPException)(_http_error)
    blueprint.errorhandler(InvalidQuery)(lambda error: _error_page(BadRequest(f"{error}.")))
    for kind in (DatabaseUnavailable, PeeweeException):
        blueprint.errorhandler(kind)(_database_error)
    blueprint.context_processor(_names)
    blueprint.add_url_rule("/sign-in", "sign_in", _sign_in_page, methods=["GET"])
    blueprint.add_url_rule("/sign-in", "sign_in_post", _sign_in, methods=["POST"])
    blueprint.add_url_rule("/sign-out", "sign_out", _sign_out, methods=["POST"])


def _names() -> dict[str, Any]:
    """What every template may use."""
    token = context().settings.admin_token
    return {
        "csrf_token": csrf_token,
        "asset": asset,
        "here": here,
        "version": __version__,
        "inside": token is not None and signed_in(token, _keys()),
    }


def _admit() -> Response | str | None:
    """Let pass who is signed in; send others to sign in."""
    request.max_content_length = MAX_FORM
    if request.endpoint == "admin.static":
        return None
    token = context().settings.admin_token
    if token is None:
        raise Forbidden("The pages are closed: set GEO_ADMIN_TOKEN and restart to open them.")
    if request.endpoint in {"admin.sign_in", "admin.sign_in_post"}:
        return None
    if not signed_in(token, _keys()):
        target = here() if request.method in {"GET", "HEAD"} else HOME
        return redirect(url_for("admin.sign_in", next=None if target == HOME else target), 303)
    if request.method == "POST" and not csrf_valid(request.form.get("csrf_token")):
        raise Forbidden("The form was too old, or another page sent it. Go back, reload and try again.")
    return None


def _sign_in_page() -> Response | str:
    if signed_in(_token(), _keys()):
        return redirect(_local(request.args.get("next")), 303)
    return render_template("sign_in.html", target=_local(request.args.get("next")), problem=None)


@changes_nothing
def _sign_in() -> Response | str | tuple[str, int]:
    with unproven_body():
        form = request.form
    target = _local(form.get("next"))
    allowed = admin_allowed(form.get("token", "").strip(), _token())
    wait = throttle.wait(request.remote_addr)
    if wait > 0 and not (allowed and passes_throttle(_token())):
        raise TooManyRequests(
            f"Too many wrong tokens. Try again in {int(wait) + 1} seconds.", retry_after=int(wait) + 1
        )
    if not csrf_valid(form.get("csrf_token")):
        problem = "This page was too old, or your browser keeps no cookies. Please try again."
        return render_template("sign_in.html", target=target, problem=problem), 400
    if not allowed:
        throttle.failed(request.remote_addr)
        return render_template("sign_in.html", target=target, problem="That is not the admin token."), 401
    sign_in(_token(), _keys()[0])
    return redirect(target, 303)


@changes_nothing
def _sign_out() -> Response:
    session.clear()
    flash("You are signed out.")
    return redirect(url_for("admin.sign_in"), 303)


def _token() -> Secret:
    token = context().settings.admin_token
    assert token is not None  # `_admit` came first
    return token


def _keys() -> list[str]:
    """What cookies are signed with, and were before."""
    return [str(current_app.secret_key), *current_app.config["SECRET_KEY_FALLBACKS"]]


def here(**changes: str | None) -> str:
    """This address with some of its query changed; None drops a part. Any other page of the list is left."""
    query: dict[str, Any] = {name: value for name, value in request.args.items() if name != "after"}
    query |= changes
    kept = {name: value for name, value in query.items() if value}
    return quote(request.path) + (f"?{urlencode(kept)}" if kept else "")


def _local(target: str | None) -> str:
    """`target` if it is one of our pages, else the first of them: a link to the sign-in must not lead elsewhere."""
    parts = urlsplit(target or "")
    inside = parts.path == HOME or parts.path.startswith(f"{HOME}/")
    safe = target is not None and inside and not parts.scheme and not parts.netloc
    if not safe or "\\" in (target or "") or not (target or "").isprintable() or ".." in parts.path:
        return HOME
    return target or HOME


def _protect(response: FlaskResponse) -> FlaskResponse:
    for name, value in HEADERS.items():
        response.headers[name] = value
    if request.endpoint == "admin.static":
        # The address changes with the content (`asset`).
        response.headers["Cache-Control"] = (
            "public, max-age=31536000, immutable" if request.args.get("v") else "no-cache"
        )
    else:
        response.headers["Cache-Control"] = "no-store"
    return response


def _http_error(error: HTTPException) -> FlaskResponse:
    return _error_page(error)


def _database_error(error: Exception) -> FlaskResponse:
    current_app.logger.error("the database failed: %s", error)
    return _error_page(
        ServiceUnavailable(
            "The database cannot be used now. Is it running, and migrated with `geo migrate`?", retry_after=5
        )
    )


def _error_page(error: HTTPException) -> FlaskResponse:
    response = current_app.make_response((render_template("error.html", error=error), error.code or 500))
    for name, value in error.get_headers():
        if name.lower() not in {"content-type", "content-length"}:
            response.headers[name] = value
    return response


def asset(name: str) -> str:
    """The address of a static file, with a part that changes when the file does."""
    return url_for("admin.static", filename=name, v=_fingerprint(name))


@lru_cache(maxsize=16)
def _fingerprint(name: str) -> str:
    return hashlib.sha256((Path(__file__).parent / "static" / name).read_bytes()).hexdigest()[:12]
