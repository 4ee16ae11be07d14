"""A tiny HTTP server that keeps what it is sent: the receiving end of a registry's notifications."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Received:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of the envelope."""
        return list(json.loads(self.body)["events"])


class Receiver:
    """`with Receiver() as receiver: ...`: answers `status` and keeps every request."""

    def __init__(self, status: int = 200) -> None:
        #: What it answers from now on; a test may change it.
        self.status = status
        self._received: list[Received] = []
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                # Lower case, so that a test need not know how a client spells them.
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver._keep(Received(self.command, self.path, headers, body))
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                self.do_POST()

            def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def received(self) -> list[Received]:
        """The requests so far."""
        with self._lock:
            return list(self._received)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of all requests so far."""
        return [event for request in self.received for event in request.events]

    def clear(self) -> None:
        with self._lock:
            self._received.clear()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _keep(self, request: Received) -> None:
        with self._lock:
            self._received.append(request)
