"""The webhook in a real gunicorn, where the wire matters."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app import database
from app.database import connection
from app.models import Event
from tests.api.webhook.intake import (
    MIB,
    counts,
)
from tests.support import images
from tests.support.deployment import SECRET, offline_environment
from tests.support.envelopes import (
    envelope,
    push_event,
)
from tests.support.ports import free_port
from tests.support.registries import RegistryFactory
from tests.support.running import WEBHOOK, endpoint
from tests.support.wait import wait_until
from tests.support.web import Web
from tests.support.wire import push

#: What a registry gives us, by GitLab's own settings.
REGISTRY_TIMEOUT = 0.5


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """A real web process on SQLite. Its queue refuses connections."""
    path = tmp_path_factory.mktemp("web")
    env = offline_environment(f"sqlite:///{path / 'geo.db'}", REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    with Web(path, env) as web:
        yield web


def head(*lines: str) -> bytes:
    fixed = (f"POST {WEBHOOK} HTTP/1.1", "Host: geo", f"Authorization: {SECRET}")
    return "\r\n".join((*fixed, *lines, "", "")).encode()


def read_answer(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of the next answer on a bare connection."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _more(connection)
    headers, _, body = received.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in headers.split(b"\r\n")[1:])
    while len(body) < int(fields.get(b"content-length", b"0")):
        body += _more(connection)
    return int(headers.split()[1]), body


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    assert data, "the connection was closed"
    return data


def chunked(body: bytes, size: int = 65536) -> bytes:
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def test_a_chunked_body_is_read(web: Web) -> None:
    body = json.dumps(envelope(push_event(), push_event(tag="v2"))).encode()
    with web.connect() as wire:
        wire.sendall(head("Transfer-Encoding: chunked") + chunked(body, 7))
        status, answer = read_answer(wire)
    assert (status, json.loads(answer)) == (200, counts(accepted=2))


@pytest.mark.parametrize("encoding", ["chunked", "length"])
def test_a_body_beyond_the_limit_is_read_off_the_connection(web: Web, encoding: str) -> None:
    # Given 17 MiB
    body = b'{"events": [' + b" " * (17 * MIB)

    # When they come, and another event behind them on the same connection
    small = json.dumps(envelope(push_event())).encode()
    with web.connect() as wire:
        if encoding == "chunked":
            wire.sendall(head("Transfer-Encoding: chunked") + chunked(body))
        else:
            wire.sendall(head(f"Content-Length: {len(body)}") + body)
        large = read_answer(wire)
        wire.sendall(head(f"Content-Length: {len(small)}") + small)
        after = read_answer(wire)

    # Then both are answered
    assert (large[0], json.loads(large[1])) == (200, counts(quarantined=1))
    assert (after[0], json.loads(after[1])) == (200, counts(accepted=1))


def test_a_client_that_waits_to_be_asked_for_the_body_is_asked(web: Web) -> None:
    body = json.dumps(envelope(push_event())).encode()
    with web.connect() as wire:
        wire.sendall(head(f"Content-Length: {len(body)}", "Expect: 100-continue"))
        assert wire.recv(1000).startswith(b"HTTP/1.1 100")
        wire.sendall(body)
        status, answer = read_answer(wire)
    assert (status, json.loads(answer)) == (200, counts(accepted=1))


def test_a_connection_is_kept_between_notifications(web: Web) -> None:
    with web.connect() as wire:
        for tag in ("v1", "v2", "v3"):
            body = json.dumps(envelope(push_event(tag=tag))).encode()
            wire.sendall(head(f"Content-Length: {len(body)}") + body)
            assert read_answer(wire)[0] == 200


@pytest.mark.parametrize("size", [100, 300_000, 17 * MIB])
def test_a_client_without_the_secret_reads_why_it_is_refused(web: Web, size: int) -> None:
    # When a body comes that nobody will read
    answer = web.post(data=b"x" * size, headers={"Authorization": "wrong"})

    # Then the answer arrives, rather than a broken connection
    assert answer.status_code == (413 if size > 16 * MIB else 401)
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("lines", [[], ["Content-Length: 0"], ["Transfer-Encoding: chunked"]])
def test_an_absent_body_is_quarantined(web: Web, lines: list[str]) -> None:
    with web.connect() as wire:
        wire.sendall(head(*lines) + (b"0\r\n\r\n" if "Transfer-Encoding: chunked" in lines else b""))
        status, answer = read_answer(wire)
    assert (status, json.loads(answer)) == (200, counts(quarantined=1))


def test_a_body_that_breaks_off_is_not_an_event(web: Web) -> None:
    # Given an event of which half arrives
    event = push_event(repository="team/half")
    body = json.dumps(envelope(event)).encode()
    with web.connect() as wire:
        wire.sendall(head(f"Content-Length: {len(body)}") + body[: len(body) // 2])

    # When all of it comes in a second try, then it is new
    assert web.post(envelope(event)).json() == counts(accepted=1)


def test_slow_bodies_keep_no_other_waiting(web: Web) -> None:
    # Given clients that say that they have something to send, and do not: half of what one process has threads for
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            wire = stack.enter_context(web.connect())
            wire.sendall(head("Content-Length: 1000") + b"{")

        # Then others are answered as ever
        started = time.monotonic()
        assert web.post(envelope(push_event())).status_code == 200
        assert time.monotonic() - started < REGISTRY_TIMEOUT * 2


def test_a_queue_that_refuses_costs_no_time(web: Web) -> None:
    _posts_are_quick(web)


@pytest.mark.long
def test_a_queue_that_never_answers_costs_no_time(tmp_path: Path) -> None:
    # Given a queue that takes connections and says nothing
    with socket.create_server(("127.0.0.1", 0), backlog=50) as hole:
        url = f"redis://127.0.0.1:{hole.getsockname()[1]}/0"
        env = offline_environment(f"sqlite:///{tmp_path / 'geo.db'}", REDIS_URL=url, BROKER_URL=url)
        with Web(tmp_path, env) as web:
            _posts_are_quick(web)


def _posts_are_quick(web: Web) -> None:
    """A registry takes an answer that comes later for a failure."""
    took = []
    for number in range(10):
        started = time.perf_counter()
        answer = web.post(envelope(push_event(repository=f"team/quick{number}")))
        took.append(time.perf_counter() - started)
        assert answer.json() == counts(accepted=1)
    assert sorted(took)[8] < REGISTRY_TIMEOUT, took


@pytest.mark.long
def test_a_registrys_queue_drains_also_after_we_were_away(tmp_path: Path, registry_factory: RegistryFactory) -> None:
    # Given a Distribution that notifies the web process, pulls and blobs too
    env = offline_environment(f"sqlite:///{tmp_path / 'geo.db'}", REDIS_URL=f"redis://127.0.0.1:{free_port()}/0")
    web = Web(tmp_path, env)
    primary = registry_factory("primary", notify=[endpoint(web.port, timeout="500ms")])
    database.configure(env["DATABASE_URL"])
    with web:
        push(primary, "team/app", "v1", images.image())
        wait_until(lambda: primary.pending_notifications() == 0)
        assert [(e.action, e.tag) for e in _events()] == [("push", "v1")]

    # When it pushes while we are away
    for number in range(5):
        push(primary, "team/app", f"away{number}", images.image())
    assert primary.pending_notifications() > 0

    # Then all of it is delivered once we are back, in order and once
    with web:
        wait_until(lambda: primary.pending_notifications() == 0, message=lambda: web.log_text[-2000:])
        assert [e.tag for e in _events()] == ["v1", *(f"away{number}" for number in range(5))]
    database.database.close_all()


def _events() -> list[Any]:
    with connection():
        return list(Event.select().order_by(Event.id))


def test_our_log_lines_are_json(tmp_path: Path) -> None:
    # Given a web process with a database that is down
    url = f"postgresql://postgres@127.0.0.1:{free_port()}/geo"
    with Web(tmp_path, offline_environment(url), migrate=False) as web:
        assert web.post(envelope(push_event())).status_code == 503
        text = web.log_text

    # Then what it says is for machines
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert any("could not be stored" in line["message"] for line in lines), text
    assert SECRET not in text
