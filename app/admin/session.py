"""Sessions of people who are signed in: the key that signs their cookie, the cookie's flags, who is signed in."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence

from flask import Flask, Request, request, session
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface

from app.secret_keys import secret_keys
from app.settings import Secret, Settings

#: Seconds after which one signs in again, whatever one did meanwhile: pages that refresh would never end otherwise.
LIFETIME = 12 * 3600


class _Sessions(SecureCookieSessionInterface):
    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """The session of this request. Who sends no cookie has none to be read: deriving its key takes longer than all
        else that a small request does."""
        if self.get_cookie_name(app) not in request.cookies:
            return self.session_class()
        return super().open_session(app, request)

    def get_cookie_secure(self, _app: Flask) -> bool:
        """Whether the browser came over TLS, to us or to the proxy before us. A lie here hurts the liar alone."""
        return request.is_secure or request.headers.get("X-Forwarded-Proto", "").split(",")[0].strip() == "https"


def configure(app: Flask, settings: Settings) -> None:
    """Set up signed cookies, of which no script and no other site's form has any use."""
    app.secret_key, *former = secret_keys(settings)
    app.session_interface = _Sessions()
    app.config.update(
        SECRET_KEY_FALLBACKS=former,
        SESSION_COOKIE_NAME="geo_session",
        SESSION_COOKIE_PATH="/admin",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=LIFETIME,
    )


def sign_in(token: Secret, key: str) -> None:
    """Begin a session. Nothing of a former one is kept: a cookie planted before must not become a signed-in one."""
    session.clear()
    session["admin"] = _fingerprint(token, key)
    session["since"] = int(time.time())
    session.permanent = True


def signed_in(token: Secret, keys: Sequence[str]) -> bool:
    """Whether this request's session is a signed-in one, not too old, and of the token that is set now, by any key."""
    since = session.get("since")
    recent = isinstance(since, int) and 0 <= time.time() - since < LIFETIME
    kept = str(session.get("admin", "")).encode()
    return recent and any(hmac.compare_digest(kept, _fingerprint(token, key).encode()) for key in keys)


def _fingerprint(token: Secret, key: str) -> str:
    # Whoever finds a cookie can read it: a keyed digest tells them nothing of the token.
    return hmac.new(key.encode(), token.value.encode(), hashlib.sha256).hexdigest()


def csrf_token() -> str:
    """The session's own value that every form has to send back."""
    if "csrf" not in session:
        session["csrf"] = secrets.token_urlsafe(24)
    return str(session["csrf"])


def csrf_valid(given: str | None) -> bool:
    expected = session.get("csrf")
    return bool(expected) and hmac.compare_digest((given or "").encode(), str(expected).encode())
