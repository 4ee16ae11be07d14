"""A token service for the demonstration's registries, so that skopeo and docker can push to them.

One user, on loopback, for as long as the demonstration runs. A real installation has its own, such as GitLab's.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from app.registry import KeyToken, Scope, is_repository

#: Who may push and pull.
USERNAME, PASSWORD = "demo", "demo"

#: Seconds that a token is good for.
LIFETIME = 300


class TokenService:
    """`GET /token?service=…&scope=repository:NAME:ACTIONS` with Basic credentials (Distribution's token protocol)."""

    def __init__(self, tokens: KeyToken, port: int) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(tokens))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="token-service", daemon=True)

    @property
    def realm(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/token"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(tokens: KeyToken) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not _known(self.headers.get("Authorization", "")):
                self._answer(401, {"details": "incorrect username or password"})
                return
            scopes = parse_qs(urlsplit(self.path).query).get("scope", [])
            token = tokens.header(_scope(scopes)).removeprefix("Bearer ")
            self._answer(200, {"token": token, "access_token": token, "expires_in": LIFETIME})

        def _answer(self, status: int, document: dict[str, Any]) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="demo"')
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library's name
            pass

    return Handler


def _known(header: str) -> bool:
    scheme, _, value = header.partition(" ")
    try:
        given = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return False
    return scheme.lower() == "basic" and hmac.compare_digest(given, f"{USERNAME}:{PASSWORD}".encode())


def _scope(scopes: list[str]) -> Scope:
    """What was asked for; the one user may do everything in every repository."""
    for scope in " ".join(scopes).split():
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        if kind == "repository" and is_repository(name):
            return Scope(name, tuple(actions.split(",")))
        if kind == "registry":
            return Scope.catalog()
    return Scope(None, ())
