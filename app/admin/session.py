"""Sessions of people who are signed in: the key that signs their cookie, the cookie's flags, who is signed in."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import time
import uuid
from pathlib import Path

from flask import Flask, request, session
from flask.sessions import SecureCookieSessionInterface

from app.settings import Secret, Settings

log = logging.getLogger(__name__)

#: Seconds after which one signs in again, whatever one did meanwhile: pages that refresh would never end otherwise.
LIFETIME = 12 * 3600

#: The file under the state directory that holds the key if the environment does not.
KEY_FILE = "secret_key"

KEY_BYTES = 32


class _Sessions(SecureCookieSessionInterface):
    def get_cookie_secure(self, _app: Flask) -> bool:
        """Whether the browser came over TLS, to us or to the proxy before us. A lie here hurts the liar alone."""
        return request.is_secure or request.headers.get("X-Forwarded-Proto", "").split(",")[0].strip() == "https"


def configure(app: Flask, settings: Settings) -> None:
    """Set up signed cookies, of which no script and no other site's form has any use."""
    app.secret_key = settings.secret_key.value if settings.secret_key else _own_key(settings)
    app.session_interface = _Sessions()
    app.config.update(
        SESSION_COOKIE_NAME="geo_session",
        SESSION_COOKIE_PATH="/admin",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=LIFETIME,
    )


def _own_key(settings: Settings) -> str:
    try:
        return shared_key(settings.state_directory)
    except OSError as error:
        log.warning("no session key can be kept in %s (%s); set GEO_SECRET_KEY", settings.state_directory, error)
    # The same in all web processes, and as good as what it guards. Without an admin token the pages are closed.
    token = settings.admin_token.value if settings.admin_token else secrets.token_hex(KEY_BYTES)
    return hmac.new(token.encode(), b"geo-registry session key", hashlib.sha256).hexdigest()


def shared_key(directory: Path) -> str:
    """The key kept in `directory`, made if there is none; the same for all processes that ask at once.

    Raises:
        OSError: when it can be neither read nor written.
    """
    path = directory / KEY_FILE
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        draft = directory / f".{KEY_FILE}.{uuid.uuid4().hex}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
            # A link appears whole or not at all, and never takes the place of another's.
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    key = path.read_text().strip()
    if len(key) < KEY_BYTES:
        raise OSError(f"{path} holds no key; delete it, and a new one is made")
    return key


def sign_in(token: Secret, key: str) -> None:
    """Begin a session. Nothing of a former one is kept: a cookie planted before must not become a signed-in one."""
    session.clear()
    session["admin"] = _fingerprint(token, key)
    session["since"] = int(time.time())
    session.permanent = True


def signed_in(token: Secret, key: str) -> bool:
    """Whether this request's session is a signed-in one, not too old, and of the token that is set now."""
    since = session.get("since")
    recent = isinstance(since, int) and 0 <= time.time() - since < LIFETIME
    return recent and hmac.compare_digest(str(session.get("admin", "")).encode(), _fingerprint(token, key).encode())


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
