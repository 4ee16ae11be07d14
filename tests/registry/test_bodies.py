"""Bodies from servers that mean ill: larger than they look, without an end, or a byte now and then."""

from __future__ import annotations

import functools
import gzip
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress

import pytest

from app.registry import InvalidResponse, RegistryClient, RegistryError, TooLarge, Unreachable, bodies, connections
from app.registry.overdue import Watchman
from tests.registry.conftest import Connect, Serve
from tests.registry.scripted import Handler, Request
from tests.registry.test_connections import raw_server

MIB = 1024 * 1024

TAGS = b'{"tags":["v1"]}'


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits of minutes as limits of a second."""
    quick = Watchman(every=0.05)
    monkeypatch.setattr(bodies, "watchman", quick)
    monkeypatch.setattr(connections, "watchman", quick)
    monkeypatch.setattr(bodies, "GRACE", 0.5)
    monkeypatch.setattr(bodies, "SLOWEST", 16 * MIB)
    monkeypatch.setattr(connections, "HEAD_LIMIT", 0.0)


@functools.cache
def bomb(size: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    packed = [packer.compress(b" " * MIB) for _ in range(size // MIB)]
    return b"".join([*packed, packer.flush()])


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZip"])
def test_what_a_proxy_packed_is_unpacked(serve: Serve, connect: Connect, encoding: str) -> None:
    registry = serve(lambda handler, _: handler.reply(200, gzip.compress(TAGS), Content_Encoding=encoding))
    assert connect(registry.url).list_tags("a/x") == ["v1"]


def test_deflate_is_unpacked(serve: Serve, connect: Connect) -> None:
    registry = serve(lambda handler, _: handler.reply(200, zlib.compress(TAGS), Content_Encoding="deflate"))
    assert connect(registry.url).list_tags("a/x") == ["v1"]


@pytest.mark.parametrize("status", [200, 404, 502])
def test_what_is_packed_a_thousand_times_takes_no_memory(serve: Serve, connect: Connect, status: int) -> None:
    # Given a registry whose answer of a few hundred kilobytes is one of hundreds of megabytes
    packed = bomb(256 * MIB)
    assert len(packed) < MIB
    registry = serve(lambda handler, _: handler.reply(status, packed, Content_Encoding="gzip"))
    client = connect(registry.url)

    # When it is read as a manifest, Then it is refused before it is unpacked
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge if status == 200 else RegistryError):
            client.get_manifest("a/x", "v1")
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 64 * MIB


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (gzip.compress(TAGS), "gzip, gzip"),
        (TAGS, "br"),
        (TAGS, "zstd"),
        (TAGS, "gzip"),
        (gzip.compress(TAGS)[:-3], "gzip"),
        (gzip.compress(TAGS) * 2, "gzip"),
    ],
    ids=["twice", "br", "zstd", "is none", "half", "two"],
)
def test_what_cannot_be_unpacked_is_no_answer(serve: Serve, connect: Connect, body: bytes, encoding: str) -> None:
    registry = serve(lambda handler, _: handler.reply(200, body, Content_Encoding=encoding))
    with pytest.raises(InvalidResponse):
        connect(registry.url).list_tags("a/x")


def test_an_error_that_is_packed_can_be_read(serve: Serve, connect: Connect) -> None:
    body = gzip.compress(b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"it is not here"}]}')
    registry = serve(lambda handler, _: handler.reply(404, body, Content_Encoding="gzip"))
    with pytest.raises(RegistryError, match="it is not here"):
        connect(registry.url).get_manifest("a/x", "v1")


def test_a_chunk_of_less_than_nothing_is_none(connect: Connect) -> None:
    # Given a registry that announces a chunk of -1 bytes, which some take for everything that ever comes
    sent: list[int] = []

    def flood(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n")
        for _ in range(256):
            connection.sendall(b" " * MIB)
            sent.append(MIB)

    # When it is asked for anything, Then the connection is closed after what the system has taken already
    with raw_server(flood) as port:
        client = connect(f"http://127.0.0.1:{port}")
        with pytest.raises(Unreachable):
            client.list_tags("a/x")
        with pytest.raises(Unreachable):
            client.get_manifest("a/x", "v1")
    assert sum(sent) < 64 * MIB


def trickle(head: bytes, piece: bytes, ended: threading.Event) -> Callable[[socket.socket], None]:
    """A server that begins with `head` and goes on with `piece` for ever, until nobody listens any more."""

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        try:
            connection.sendall(head)
            while True:
                connection.sendall(piece)
                time.sleep(0.05)
        except OSError:
            ended.set()
            raise

    return serve


OK = b"HTTP/1.1 200 OK\r\n"

#: Empty blocks of deflate: they unpack to nothing, however many come.
NOTHING = b"\x00\x00\x00\xff\xff"


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (OK + b"Content-Length: 100000\r\n\r\n", b" "),
        (OK + b"\r\n", b" "),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\n \r\n0\r\n", b"X-Trailer: 1\r\n"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x"),
        (OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"")[:10], NOTHING),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 100000\r\n\r\n", b" "),
        (OK + b"X-Padding: ", b"x"),
        (b"HTT", b"P"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=[
        *("body", "body without length", "chunks", "trailers", "chunk's size", "packed nothing", "error"),
        *("head", "status", "continue"),
    ],
)
def test_who_sends_a_byte_now_and_then_is_left(connect: Connect, hurried: None, head: bytes, piece: bytes) -> None:
    # Given a server that is never idle for long, and never comes to an end
    ended = threading.Event()
    with raw_server(trickle(head, piece, ended)) as port:
        client = connect(f"http://127.0.0.1:{port}", read_timeout=1.0)

        # When it is asked for what is held in memory
        with pytest.raises(RegistryError) as raised:
            client.get_manifest("a/x", "v1")

        # Then it is given up, and the connection closed
        assert raised.value.temporary
        assert ended.wait(10)


def test_a_slow_blob_is_waited_for(connect: Connect, hurried: None) -> None:
    # Given a blob that comes more slowly than an answer may
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(OK + b"Content-Length: 40\r\n\r\n")
        for _ in range(40):
            connection.sendall(b"x")
            time.sleep(0.03)

    # When it is read, Then all of it comes
    with raw_server(serve) as port, connect(f"http://127.0.0.1:{port}").open_blob("a/x", f"sha256:{'0' * 64}") as blob:
        received = 0
        while chunk := blob.read():
            received += len(chunk)
        assert received == 40


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: " + b"9" * 5000,
        b"Content-Length: " + b"9" * 20,
        b"".join(b"X-%d: 1\r\n" % number for number in range(200)) + b"X: 1",
        b"X-Long: " + b"x" * 100_000,
        b"no colon here",
        b"Content-Length: -5",
        b"Content-Length: 1, 2",
    ],
    ids=["digits", "too long", "many", "long", "malformed", "negative", "two"],
)
def test_odd_headers_are_an_error_of_ours(connect: Connect, headers: bytes) -> None:
    # Given a registry whose header no program should trust
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(OK + headers + b"\r\n\r\n")

    def asked(client: RegistryClient) -> None:
        for ask in (client.head_blob, client.head_manifest, client.get_manifest):
            with pytest.raises(RegistryError):
                ask("a/x", f"sha256:{'0' * 64}")
        with suppress(RegistryError):
            assert not client.blob_present("a/x", f"sha256:{'0' * 64}", 5)

    with raw_server(serve, accept=20) as port:
        asked(connect(f"http://127.0.0.1:{port}", read_timeout=2.0))


@pytest.mark.parametrize("range_", ["bytes 0-0/" + "9" * 5000, "bytes " + "9" * 5000 + "-1/5", "bytes 0-0/-1"])
def test_an_absurd_range_is_an_error_of_ours(serve: Serve, connect: Connect, range_: str) -> None:
    def script(handler: Handler, request: Request) -> None:
        handler.reply(206, b"x", Content_Range=range_)

    with pytest.raises(RegistryError):
        connect(serve(script).url).blob_present("a/x", f"sha256:{'0' * 64}", 5)
