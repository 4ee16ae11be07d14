from __future__ import annotations

import hashlib
import http.client
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.line import Line

BODY = os.urandom(3_000_000)


@pytest.fixture
def server() -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            body = BODY if self.path == "/large" else b"small"
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
    thread.start()
    yield int(httpd.server_address[1])
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def _get(connection: http.client.HTTPConnection, path: str) -> tuple[float, bytes]:
    began = time.monotonic()
    connection.request("GET", path)
    body = connection.getresponse().read()
    return time.monotonic() - began, body


def test_a_connection_and_each_request_take_a_round_trip(server: int, tmp_path: Path) -> None:
    # Given a line of 100 ms
    with Line(server, tmp_path / "log", round_trip=0.1) as line:
        connection = http.client.HTTPConnection("127.0.0.1", line.port, timeout=20)

        # When
        first, _ = _get(connection, "/small")
        second, body = _get(connection, "/small")
        connection.close()

    # Then
    assert body == b"small"
    assert first >= 0.2
    assert second >= 0.1


def test_all_bytes_arrive_no_faster_than_the_rate(server: int, tmp_path: Path) -> None:
    # Given a line of 6 MB/s
    with Line(server, tmp_path / "log", round_trip=0.02, rate=6e6) as line:
        connection = http.client.HTTPConnection("127.0.0.1", line.port, timeout=20)

        # When
        seconds, body = _get(connection, "/large")
        connection.close()

    # Then
    assert hashlib.sha256(body).digest() == hashlib.sha256(BODY).digest()
    assert seconds >= len(BODY) / 6e6


def test_the_line_may_change_and_keeps_its_port(server: int, tmp_path: Path) -> None:
    # Given
    with Line(server, tmp_path / "log") as line:
        port = line.port

        # When
        line.change(round_trip=0.1)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        seconds, _ = _get(connection, "/small")
        connection.close()

    # Then
    assert seconds >= 0.2
