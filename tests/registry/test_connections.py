from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from app.registry import (
    Anonymous,
    Basic,
    Digest,
    Manifest,
    RegistryClient,
    RegistryError,
    TimedOut,
    TLSFailed,
    Unreachable,
    media_types,
)
from tests.registry.conftest import Connect, Serve
from tests.registry.scripted import Handler, Request
from tests.support.keys import KeyPair, make_rsa
from tests.support.ports import free_port

MANIFEST = Manifest.parse(b'{"layers": []}', media_types.OCI_MANIFEST)

#: Beyond the limit by no more than this is on time, also on a busy machine.
LATE = 2.0


@contextmanager
def raw_server(serve_one: Callable[[socket.socket], object], *, accept: int = 10) -> Iterator[int]:
    """A listening socket whose connections are each given to the function; yields the port."""
    listener = socket.create_server(("127.0.0.1", 0))
    connections: list[socket.socket] = []

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            serve_one(connection)

    def accept_all() -> None:
        threads = []
        for _ in range(accept):
            try:
                connection, _ = listener.accept()
            except OSError:
                break
            connections.append(connection)
            threads.append(threading.Thread(target=serve, args=(connection,), daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join(5)

    thread = threading.Thread(target=accept_all, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def drip(write: Callable[[bytes], object], data: bytes, seconds: float = 0.05) -> None:
    """Send one byte after another, each well within any idle limit."""
    for number in range(len(data)):
        write(data[number : number + 1])
        time.sleep(seconds)


HEAD = b"HTTP/1.1 201 Created\r\nX-Padding: " + b"x" * 500 + b"\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    "reply",
    [
        HEAD,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50 + HEAD,
        b"HTTP/1.1 201 Created\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000,
        b"HTTP/1.1 201 Created\r\n\r\n" + b"x" * 1000,
        b"HTTP/1.1 500 Oh\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000,
    ],
    ids=["head", "continue", "body", "body without length", "error body"],
)
def test_a_total_limit_holds_against_a_server_that_trickles(connect: Connect, reply: bytes) -> None:
    # Given a server that answers one byte at a time, never idle for long
    def trickle(connection: socket.socket) -> None:
        connection.recv(65536)
        drip(connection.sendall, reply)

    with raw_server(trickle) as port:
        client = connect(f"http://127.0.0.1:{port}", read_timeout=30.0)
        started = time.monotonic()

        # When a manifest is pushed with a limit on the whole
        with pytest.raises(RegistryError) as raised:
            client.put_manifest("a/x", "v1", MANIFEST, total_timeout=0.5)

        # Then it ends at the limit
        assert 0.4 < time.monotonic() - started < 0.5 + LATE
        assert raised.value.reason in ("timeout", "server_error")


def test_a_total_limit_holds_while_sending(connect: Connect) -> None:
    # Given a server that reads next to nothing of a large manifest
    release = threading.Event()

    def stall(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.recv(10)
        release.wait(10)

    large = Manifest.parse(b'{"layers": []' + b" " * (7 * 1024 * 1024) + b"}", media_types.OCI_MANIFEST)
    with raw_server(stall) as port:
        client = connect(f"http://127.0.0.1:{port}", read_timeout=30.0)
        started = time.monotonic()
        with pytest.raises(TimedOut, match=r"0\.5 s"):
            client.put_manifest("a/x", "v1", large, total_timeout=0.5)
        assert time.monotonic() - started < 0.5 + LATE
        release.set()


def test_a_total_limit_holds_during_the_handshake(connect: Connect) -> None:
    # Given a server that accepts connections and says nothing
    release = threading.Event()
    with raw_server(lambda connection: release.wait(10)) as port:
        client = connect(f"https://127.0.0.1:{port}", read_timeout=30.0, connect_timeout=30.0)
        started = time.monotonic()
        with pytest.raises(TimedOut):
            client.delete_manifest("a/x", Digest.of(b""), total_timeout=0.5)
        assert time.monotonic() - started < 0.5 + LATE
        release.set()


def test_a_total_limit_holds_over_tls(serve: Serve, connect: Connect, keys: KeyPair) -> None:
    def trickle(handler: Handler, request: Request) -> None:
        drip(handler.wfile.write, HEAD)

    client = connect(serve(trickle, tls=keys).url, ca_path=str(keys.certificate_path), read_timeout=30.0)
    started = time.monotonic()
    with pytest.raises(TimedOut, match=r"0\.5 s"):
        client.put_manifest("a/x", "v1", MANIFEST, total_timeout=0.5)
    assert time.monotonic() - started < 0.5 + LATE


def test_a_total_limit_covers_the_token_service_and_the_second_try(serve: Serve, connect: Connect) -> None:
    # Given a registry that is quick, with a token service that trickles
    def script(handler: Handler, request: Request) -> None:
        if request.path.startswith("/token"):
            drip(handler.wfile.write, HEAD)
        else:
            handler.error(401, WWW_Authenticate=f'Bearer realm="http://{request.headers["Host"]}/token"')

    registry = serve(script)
    started = time.monotonic()
    with pytest.raises(TimedOut):
        connect(registry.url, Basic("u", "p")).put_manifest("a/x", "v1", MANIFEST, total_timeout=0.5)
    assert time.monotonic() - started < 0.5 + LATE
    assert [request.method for request in registry.seen] == ["PUT", "GET"]


def test_nothing_arrives_after_the_limit(connect: Connect) -> None:
    # Given a server that starts to read only when the limit is long past
    late = threading.Event()
    received: list[bytes] = []
    done = threading.Event()

    def slow(connection: socket.socket) -> None:
        late.wait(10)
        try:
            while data := connection.recv(65536):
                received.append(data)
        except ConnectionResetError:
            received.append(b"(reset)")
        done.set()

    large = Manifest.parse(b'{"layers": []' + b" " * (7 * 1024 * 1024) + b"}", media_types.OCI_MANIFEST)
    with raw_server(slow) as port:
        client = connect(f"http://127.0.0.1:{port}", read_timeout=30.0)
        with pytest.raises(TimedOut):
            client.put_manifest("a/x", "v1", large, total_timeout=0.3)
        late.set()
        assert done.wait(10)

    # Then the request is not whole, and the connection was reset
    assert sum(map(len, received)) < len(large.data)
    assert received[-1] == b"(reset)"


def test_within_the_limit_the_connection_is_kept(serve: Serve, connect: Connect) -> None:
    registry = serve(lambda handler, _: handler.reply(201, Docker_Content_Digest=MANIFEST.digest))
    client = connect(registry.url)

    for _ in range(3):
        assert client.put_manifest("a/x", "v1", MANIFEST, total_timeout=0.3) == MANIFEST.digest
    time.sleep(0.4)  # past the limits of all three: none may cut what is idle now
    client.put_manifest("a/x", "v1", MANIFEST, total_timeout=5)

    assert len(registry.clients) == 1


def test_requests_share_a_connection(serve: Serve, connect: Connect) -> None:
    # Given answers of every kind: listing, error, empty, without a body
    def script(handler: Handler, request: Request) -> None:
        if "tags" in request.path:
            handler.reply(200, {"tags": []})
        elif request.method == "POST":
            handler.reply(202, b"some words", Location="/upload?x=1")
        elif request.method == "PUT":
            handler.reply(201)
        else:
            handler.error(404, "MANIFEST_UNKNOWN")

    registry = serve(script)
    client = connect(registry.url)
    for _ in range(3):
        client.list_tags("a/x")
        assert client.head_blob("a/x", Digest.of(b"")) is None
        assert client.supports_delete("a/x")
        upload = client.start_upload("a/x")
        assert upload is not None
        upload.put([b"abc"], 3, Digest.of(b"abc"))

    assert len(registry.seen) == 15
    assert len(registry.clients) == 1


@pytest.mark.parametrize("operation", ["list_tags", "head_manifest", "put_manifest", "start_upload"])
def test_a_kept_connection_that_died_is_replaced_unseen(operation: str, connect: Connect) -> None:
    # Given a server that closes each connection as its second request arrives, without an answer
    answers = {
        "list_tags": b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"tags":[]}',
        "head_manifest": (
            f"HTTP/1.1 200 OK\r\nDocker-Content-Digest: {MANIFEST.digest}\r\n"
            f"Content-Type: {MANIFEST.media_type}\r\nContent-Length: 14\r\n\r\n"
        ).encode(),
        "put_manifest": (
            f"HTTP/1.1 201 Created\r\nDocker-Content-Digest: {MANIFEST.digest}\r\nContent-Length: 0\r\n\r\n"
        ).encode(),
        "start_upload": b"HTTP/1.1 202 Accepted\r\nLocation: /u\r\nContent-Length: 0\r\n\r\n",
    }
    served: list[int] = []

    def once(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answers[operation])
        served.append(1)
        connection.recv(65536)

    with raw_server(once) as port:
        client = connect(f"http://127.0.0.1:{port}")
        calls: dict[str, Callable[[], object]] = {
            "list_tags": lambda: client.list_tags("a/x"),
            "head_manifest": lambda: client.head_manifest("a/x", "v1"),
            "put_manifest": lambda: client.put_manifest("a/x", "v1", MANIFEST, total_timeout=5),
            "start_upload": lambda: client.start_upload("a/x"),
        }

        # When requests follow each other, then none fails
        for _ in range(4):
            calls[operation]()
    assert len(served) == 4


def test_a_new_connection_that_dies_is_an_error_at_once(connect: Connect) -> None:
    accepted: list[int] = []

    def hang_up(connection: socket.socket) -> None:
        accepted.append(1)
        connection.recv(65536)

    with raw_server(hang_up) as port, pytest.raises(Unreachable) as raised:
        connect(f"http://127.0.0.1:{port}").list_tags("a/x")
    assert raised.value.reason == "connection_lost"
    assert len(accepted) == 1


def test_silence_ends_at_the_idle_limit(connect: Connect) -> None:
    release = threading.Event()
    with raw_server(lambda connection: release.wait(10)) as port:
        with pytest.raises(TimedOut, match="no answer in time"):
            connect(f"http://127.0.0.1:{port}", read_timeout=0.3).list_tags("a/x")
        release.set()


def test_sending_slowly_is_no_failure_while_bytes_move(connect: Connect) -> None:
    # Given a server that reads an upload slowly: in all longer than any limit, but never idle
    def slow(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        head = connection.recv(65536)
        if head.startswith(b"POST"):
            connection.sendall(b"HTTP/1.1 202 Accepted\r\nLocation: /u\r\nContent-Length: 0\r\n\r\n")
            head = connection.recv(65536)
        left = 8 * 1024 * 1024 - len(head.partition(b"\r\n\r\n")[2])
        while left > 0:
            left -= len(connection.recv(256 * 1024))
            time.sleep(0.01)
        connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    with raw_server(slow) as port:
        client = connect(f"http://127.0.0.1:{port}", connect_timeout=0.3, read_timeout=0.6)
        upload = client.start_upload("a/x")
        assert upload is not None
        started = time.monotonic()
        piece = bytes(1024 * 1024)
        upload.put((piece for _ in range(8)), 8 * 1024 * 1024, Digest.of(piece * 8))
        assert time.monotonic() - started > 0.6


def test_nobody_listens(connect: Connect) -> None:
    port = free_port()
    with pytest.raises(Unreachable, match=rf"GET 127\.0\.0\.1:{port}/v2/: connection refused; check that") as raised:
        connect(f"http://127.0.0.1:{port}").ping()
    assert (raised.value.reason, raised.value.temporary) == ("unreachable", True)


def test_a_name_that_does_not_resolve(connect: Connect) -> None:
    with pytest.raises(Unreachable, match="does not resolve") as raised:
        connect("http://registry.invalid").ping()
    assert raised.value.reason == "dns"


def test_a_certificate_that_is_not_trusted_is_said_with_what_to_set(
    serve: Serve, connect: Connect, keys: KeyPair, tmp_path: Path
) -> None:
    registry = serve(lambda handler, _: handler.reply(200), tls=keys)
    other = make_rsa(tmp_path, "other")

    for ca_path in (None, str(other.certificate_path)):
        with pytest.raises(TLSFailed, match=r"not trusted.*check the CA path") as raised:
            connect(registry.url, ca_path=ca_path).ping()
        assert raised.value.reason == "tls"
    assert registry.seen == []


def test_a_certificate_of_another_name_is_not_trusted(connect: Connect, serve: Serve, keys: KeyPair) -> None:
    registry = serve(lambda handler, _: handler.reply(200), tls=keys)
    with pytest.raises(TLSFailed, match="not trusted"):
        connect(f"https://127.1:{registry.port}", ca_path=str(keys.certificate_path)).ping()


def test_plain_http_where_tls_is_expected(serve: Serve, connect: Connect) -> None:
    registry = serve(lambda handler, _: handler.reply(200))
    with pytest.raises(TLSFailed, match="TLS failed"):
        connect(f"https://127.0.0.1:{registry.port}").ping()


def test_trust_in_a_file_or_a_directory(serve: Serve, connect: Connect, keys: KeyPair, tmp_path: Path) -> None:
    registry = serve(lambda handler, _: handler.reply(200), tls=keys)

    client = connect(registry.url, ca_path=str(keys.certificate_path))
    client.ping()
    client.ping()

    assert len(registry.clients) == 1
    with pytest.raises(ValueError, match=r"missing\.pem cannot be used: No such file"):
        RegistryClient(registry.url, Anonymous(), ca_path=str(tmp_path / "missing.pem"))


def test_the_environment_is_not_used(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Given a proxy, a .netrc and a trust store of the environment
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "nothing"))
    registry = serve(lambda handler, _: handler.reply(200))

    connect(registry.url).ping()

    assert registry.seen[0].authorization is None
    assert registry.seen[0].headers["User-Agent"] == "geo-registry"


def test_cookies_are_not_kept(serve: Serve, connect: Connect) -> None:
    registry = serve(lambda handler, _: handler.reply(200, Set_Cookie="session=1; Path=/"))
    client = connect(registry.url)
    client.ping()
    client.ping()
    assert [request.headers["Cookie"] for request in registry.seen] == [None, None]
