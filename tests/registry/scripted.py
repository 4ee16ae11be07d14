"""A tiny real HTTP server whose answers a test writes, for what no well-behaved registry says."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, Self

from tests.support.keys import KeyPair


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it arrived."""

    method: str
    #: With the query.
    path: str
    headers: Message = field(repr=False)
    body: bytes = b""

    @property
    def authorization(self) -> str | None:
        return self.headers.get("Authorization")


class Handler(BaseHTTPRequestHandler):
    """Reads a request, notes it, and lets the script answer."""

    protocol_version = "HTTP/1.1"
    # Small writes one by one, or a trickle would not be one.
    wbufsize = 0
    disable_nagle_algorithm = True
    script: ClassVar[Callable[[Handler, Request], None]]
    seen: ClassVar[list[Request]]
    clients: ClassVar[set[tuple[str, int]]]

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def reply(self, status: int, body: bytes | dict[str, Any] | list[Any] = b"", **headers: str) -> None:
        """Answer with a Content-Length; a header named `Content_Type` is `Content-Type`."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named.setdefault("Content-Length", str(len(data)))
        for name, value in named.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def error(self, status: int, *codes: str, **headers: str) -> None:
        """Answer as the specification says errors look."""
        errors = [{"code": code, "message": code.lower().replace("_", " ")} for code in codes]
        self.reply(status, {"errors": errors}, Content_Type="application/json", **headers)

    def _any(self) -> None:
        request = Request(self.command, self.path, self.headers, self._body())
        self.seen.append(request)
        self.clients.add(self.client_address)
        type(self).script(self, request)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _any  # noqa: N815

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            # As a registry does: half a request is none.
            raise ConnectionAbortedError
        return body

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep quiet."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Threads of a stalled script end with the test run.
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep quiet: clients that break off are what the tests are about."""


class Scripted:
    """A server on a free port: `with Scripted(script) as server: ...`. `seen` are the requests in order."""

    def __init__(self, script: Callable[[Handler, Request], None], *, tls: KeyPair | None = None) -> None:
        self.seen: list[Request] = []
        #: One address for each connection that brought a request.
        self.clients: set[tuple[str, int]] = set()
        scripted = type(
            "Scripted",
            (Handler,),
            {"script": staticmethod(script), "seen": self.seen, "clients": self.clients},
        )
        self._server = _Server(("127.0.0.1", 0), scripted)
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.certificate_path, tls.key_path)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._scheme = "https" if tls else "http"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    def paths(self) -> list[str]:
        """`METHOD path` of each request."""
        return [f"{request.method} {request.path}" for request in self.seen]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
