from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from app.registry import (
    Descriptor,
    Digest,
    DigestMismatch,
    InvalidResponse,
    NotFound,
    PatchedMismatch,
    RegistryClient,
    Rejected,
    ServerError,
    StaticBearer,
    Stopped,
    TimedOut,
    TooManyRequests,
    Unreachable,
    copy_blob,
)
from app.registry.resume import RANGE_IGNORED, BlobReader, Patience, ResumingStream, Watch
from tests.registry.conftest import Connect, Serve
from tests.registry.scripted import Handler, Request
from tests.support import wire
from tests.support.link import Link
from tests.support.registries import RegistryFactory
from tests.support.wait import wait_until

MIB = 1024 * 1024
DATA = os.urandom(5 * MIB + 17)
DIGEST = Digest.of(DATA)
SIZE = len(DATA)


class Unsteady:
    """A registry whose connections break after `lengths` bytes, one after the other; the last ones hold."""

    def __init__(self, *lengths: int, ranges: bool = True, data: bytes = DATA) -> None:
        self.lengths = list(lengths)
        self.ranges = ranges
        self.data = data

    def __call__(self, handler: Handler, request: Request) -> None:
        asked = request.headers.get("Range")
        first, last = 0, len(self.data) - 1
        if asked and self.ranges:
            start, _, stop = asked.removeprefix("bytes=").partition("-")
            first, last = int(start), int(stop) if stop else last
        body = self.data[first : last + 1]
        given = body[: self.lengths.pop(0)] if self.lengths else body
        named = {"Content_Length": str(len(body))}
        if asked and self.ranges:
            named["Content_Range"] = f"bytes {first}-{last}/{len(self.data)}"
        handler.close_connection = len(given) < len(body)
        handler.reply(206 if asked and self.ranges else 200, given, **named)


class Pauses:
    """A sleep that takes no time, and what was slept."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)

    @property
    def total(self) -> float:
        return round(sum(self.slept), 3)


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


def whole(client: RegistryClient, pauses: Pauses, size: int | None = SIZE, digest: str = DIGEST) -> bytes:
    with ResumingStream(client, "a/x", digest, size, watch=Watch(sleep=pauses)) as stream:
        return b"".join(stream)


def ranges(requests: list[Request]) -> list[str | None]:
    return [request.headers.get("Range") for request in requests]


def test_an_undisturbed_blob_is_one_plain_request(serve: Serve, connect: Connect, pauses: Pauses) -> None:
    registry = serve(Unsteady())

    assert whole(connect(registry.url), pauses) == DATA
    assert ranges(registry.seen) == [None]
    assert len(registry.clients) == 1


def test_a_blob_goes_on_where_it_broke_off(serve: Serve, connect: Connect, pauses: Pauses) -> None:
    # Given a registry whose connections break twice
    registry = serve(Unsteady(2 * MIB, 2 * MIB))
    received: list[int] = []

    # When the blob is read
    watch = Watch(sleep=pauses, received=received.append)
    with ResumingStream(connect(registry.url), "a/x", DIGEST, SIZE, watch=watch) as stream:
        data = b"".join(stream)

    # Then each byte came once, and nothing was waited for
    assert data == DATA
    assert ranges(registry.seen) == [None, f"bytes={2 * MIB}-", f"bytes={4 * MIB}-"]
    assert sum(received) == SIZE
    assert pauses.total == 0


def test_a_break_after_the_last_byte_asks_for_no_range(serve: Serve, connect: Connect, pauses: Pauses) -> None:
    # Given a registry that announces more than the blob has, and breaks off where the blob ends
    def script(handler: Handler, request: Request) -> None:
        handler.close_connection = True
        handler.reply(200, DATA, Content_Length=str(SIZE))

    registry = serve(script)

    assert whole(connect(registry.url), pauses) == DATA
    assert ranges(registry.seen) == [None]


def test_a_blob_of_unknown_size_ends_at_416(serve: Serve, connect: Connect, pauses: Pauses) -> None:
    data = DATA[: 5 * MIB]

    # Given a registry that says no length, and breaks off after the last byte
    def script(handler: Handler, request: Request) -> None:
        if request.headers.get("Range"):
            handler.reply(416, b"", Content_Range=f"bytes */{len(data)}")
            return
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"%x\r\n" % len(data) + data + b"\r\n")
        handler.close_connection = True

    registry = serve(script)

    assert whole(connect(registry.url), pauses, size=None, digest=Digest.of(data)) == data
    assert ranges(registry.seen) == [None, f"bytes={len(data)}-"]


def test_a_registry_that_lost_bytes_is_an_error(serve: Serve, connect: Connect, pauses: Pauses) -> None:
    steady = Unsteady(2 * MIB)

    def script(handler: Handler, request: Request) -> None:
        if request.headers.get("Range"):
            handler.reply(416, b"", Content_Length=str(SIZE))
            handler.close_connection = True
        else:
            steady(handler, request)

    with pytest.raises(Rejected) as raised:
        whole(connect(serve(script).url), pauses)
    assert raised.value.temporary


def test_a_registry_without_ranges_begins_again(serve: Serve, connect: Connect, pauses: Pauses) -> None:
    registry = serve(Unsteady(2 * MIB, 4 * MIB, ranges=False))
    received: list[int] = []

    watch = Watch(sleep=pauses, received=received.append)
    with ResumingStream(connect(registry.url), "a/x", DIGEST, SIZE, watch=watch) as stream:
        assert b"".join(stream) == DATA
    # What was skipped came over the line all the same.
    assert sum(received) == 2 * MIB + 4 * MIB + SIZE


def test_other_content_after_a_break_is_found_out(serve: Serve, connect: Connect, pauses: Pauses) -> None:
    # Given a registry that has something else under the digest after the break
    other = Unsteady(data=os.urandom(SIZE))
    first = Unsteady(2 * MIB)
    registry = serve(lambda handler, request: (other if request.headers.get("Range") else first)(handler, request))
    chunks: list[bytes] = []

    # When it is read, Then its last chunk is never handed out
    with (
        ResumingStream(connect(registry.url), "a/x", DIGEST, SIZE, watch=Watch(sleep=pauses)) as stream,
        pytest.raises(PatchedMismatch),
    ):
        chunks.extend(stream)
    assert sum(len(chunk) for chunk in chunks) < SIZE


def test_wrong_content_in_one_piece_is_no_patchwork(serve: Serve, connect: Connect, pauses: Pauses) -> None:
    with pytest.raises(DigestMismatch) as raised:
        whole(connect(serve(Unsteady(data=os.urandom(SIZE))).url), pauses)
    assert not isinstance(raised.value, PatchedMismatch)


def test_progress_renews_the_patience(serve: Serve, connect: Connect, pauses: Pauses) -> None:
    # Given twenty breaks, each after a MiB of a blob of which one can be waited out
    data = os.urandom(21 * MIB)
    registry = serve(Unsteady(*[MIB] * 20, data=data))
    reader = BlobReader(
        connect(registry.url), "a/x", Digest.of(data), size=len(data), patience=Patience(1), watch=Watch(sleep=pauses)
    )

    assert b"".join(iter(reader.read, b"")) == data
    assert reader.resumed == 20


def test_patience_ends_and_grows_longer_until_then(serve: Serve, connect: Connect, pauses: Pauses) -> None:
    # Given a registry that breaks off at once, always
    registry = serve(Unsteady(*[0] * 100))

    with pytest.raises(Unreachable):
        whole(connect(registry.url), pauses)
    assert len(registry.seen) == 6
    assert pauses.total == 0 + 0.5 + 1 + 2 + 4


def refusing(status: int, times: int, **headers: str) -> Callable[[Handler, Request], None]:
    """A registry that breaks off once and then refuses so many times."""
    steady, left = Unsteady(2 * MIB), [times]

    def script(handler: Handler, request: Request) -> None:
        if request.headers.get("Range") and left[0]:
            left[0] -= 1
            handler.error(status, **headers)
        else:
            steady(handler, request)

    return script


def test_a_registry_in_trouble_is_waited_for(serve: Serve, connect: Connect, pauses: Pauses) -> None:
    assert whole(connect(serve(refusing(503, 3)).url), pauses) == DATA


def test_a_wait_that_was_asked_for_is_kept(serve: Serve, connect: Connect, pauses: Pauses) -> None:
    assert whole(connect(serve(refusing(429, 1, Retry_After="7")).url), pauses) == DATA
    assert pauses.total == 7


def test_a_long_wait_is_the_callers(serve: Serve, connect: Connect, pauses: Pauses) -> None:
    with pytest.raises(TooManyRequests) as raised:
        whole(connect(serve(refusing(429, 1, Retry_After="600")).url), pauses)
    assert raised.value.retry_after == 600
    assert pauses.total == 0


def test_what_is_refused_for_good_is_not_asked_again(serve: Serve, connect: Connect, pauses: Pauses) -> None:
    registry = serve(refusing(404, 100))
    with pytest.raises(NotFound):
        whole(connect(registry.url), pauses)
    assert len(registry.seen) == 2


def test_there_is_no_patience_before_the_first_byte(serve: Serve, connect: Connect, pauses: Pauses) -> None:
    registry = serve(lambda handler, _: handler.error(503))
    with pytest.raises(ServerError):
        whole(connect(registry.url), pauses)
    assert len(registry.seen) == 1


def test_another_size_is_an_error(serve: Serve, connect: Connect, pauses: Pauses) -> None:
    with pytest.raises(InvalidResponse) as raised:
        whole(connect(serve(Unsteady(data=DATA + b"!")).url), pauses)
    assert raised.value.reason == "size_mismatch"


def test_silence_is_a_break(serve: Serve, connect: Connect, pauses: Pauses) -> None:
    # Given a registry that falls silent in the middle of its first answer
    silent, steady = threading.Event(), Unsteady()

    def script(handler: Handler, request: Request) -> None:
        if request.headers.get("Range"):
            steady(handler, request)
        else:
            handler.reply(200, DATA[: 2 * MIB], Content_Length=str(SIZE))
            silent.wait(20)

    client = connect(serve(script).url, read_timeout=0.3)
    try:
        assert whole(client, pauses) == DATA
    finally:
        silent.set()


def test_a_pause_ends_when_told_to_stop(serve: Serve, connect: Connect) -> None:
    stopped = threading.Event()
    watch = Watch(stop=stopped.is_set, sleep=lambda _: stopped.set())
    registry = serve(Unsteady(*[0] * 100))

    with ResumingStream(connect(registry.url), "a/x", DIGEST, SIZE, watch=watch) as stream, pytest.raises(Stopped):
        list(stream)
    assert len(registry.seen) == 2


def test_a_reader_is_aborted_from_outside(serve: Serve, connect: Connect) -> None:
    # Given a reader that waits for bytes that do not come, with all the time of the world
    silent = threading.Event()

    def script(handler: Handler, request: Request) -> None:
        handler.reply(200, DATA[:MIB], Content_Length=str(SIZE))
        silent.wait(20)

    reader = BlobReader(connect(serve(script).url, read_timeout=60), "a/x", DIGEST, size=SIZE)
    ended: list[BaseException] = []

    def read() -> None:
        try:
            while reader.read():
                pass
        except Stopped as error:
            ended.append(error)
        reader.close()

    thread = threading.Thread(target=read)
    thread.start()
    wait_until(lambda: reader.position == MIB)

    # When it is aborted, Then it ends at once
    reader.abort()
    thread.join(5)
    silent.set()
    assert not thread.is_alive()
    assert len(ended) == 1


def test_a_part_is_read_to_its_end(serve: Serve, connect: Connect) -> None:
    registry = serve(Unsteady(100))
    reader = BlobReader(connect(registry.url), "a/x", DIGEST, start=MIB, end=2 * MIB, size=SIZE)

    assert b"".join(iter(reader.read, b"")) == DATA[MIB : 2 * MIB]
    assert ranges(registry.seen) == [f"bytes={MIB}-{2 * MIB - 1}", f"bytes={MIB + 100}-{2 * MIB - 1}"]


def test_a_part_never_skips_where_it_must_not(serve: Serve, connect: Connect) -> None:
    registry = serve(Unsteady(ranges=False))
    reader = BlobReader(connect(registry.url), "a/x", DIGEST, start=MIB, end=2 * MIB, size=SIZE, may_skip=False)

    with pytest.raises(InvalidResponse) as raised:
        reader.read()
    assert raised.value.reason == RANGE_IGNORED


def test_the_end_of_a_reader_can_be_lowered(serve: Serve, connect: Connect) -> None:
    reader = BlobReader(connect(serve(Unsteady()).url), "a/x", DIGEST, size=SIZE)
    first = reader.read()
    reader.end = MIB + 5

    assert first + b"".join(iter(reader.read, b"")) == DATA[: MIB + 5]


def test_a_redirected_part_takes_no_credentials_along(serve: Serve, connect: Connect, pauses: Pauses) -> None:
    # Given a registry that keeps its blobs on another host, whose first connection breaks
    storage = serve(Unsteady(2 * MIB))
    registry = serve(lambda handler, _: handler.reply(307, Location=f"{storage.url}/bucket/blob?X-Amz-Signature=abc"))
    client = connect(registry.url, StaticBearer("secret"))

    # When the blob is read
    data = whole(client, pauses)

    # Then the part was asked for at the registry again, and the storage was told the range and no more
    assert data == DATA
    assert [request.authorization for request in registry.seen] == ["Bearer secret"] * 2
    assert ranges(storage.seen) == [None, f"bytes={2 * MIB}-"]
    assert [request.authorization for request in storage.seen] == [None, None]
    assert [request.path for request in storage.seen] == ["/bucket/blob?X-Amz-Signature=abc"] * 2


@pytest.mark.parametrize("version", ["2.8", "3"])
def test_a_real_registry_behind_a_line_that_breaks(
    version: str, registry_factory: RegistryFactory, connect: Connect
) -> None:
    # Given a blob of 40 MiB behind connections that break after 6 MiB each
    primary, secondary = registry_factory("one", version=version), registry_factory("two", version=version)
    data = os.urandom(40 * MIB)
    digest = wire.push_blob(primary, "a/x", data)
    with Link(primary.port, cut_after=6 * MIB) as link:
        # When it is copied
        result = copy_blob(
            connect(link.url), connect(secondary.url), "a/x", Descriptor("application/octet-stream", digest, len(data))
        )

        # Then it got there, and hardly a byte came twice
        assert result.bytes_copied == len(data)
        assert link.cuts >= 6
        assert link.carried < len(data) * 1.1
    assert wire.fetch_blob(secondary, "a/x", digest) == data


def test_a_silent_registry_is_given_up(serve: Serve, connect: Connect, pauses: Pauses) -> None:
    over = threading.Event()

    def script(handler: Handler, request: Request) -> None:
        over.wait(20)

    registry = serve(script)
    try:
        with pytest.raises(TimedOut):
            whole(connect(registry.url, read_timeout=0.2), pauses)
    finally:
        over.set()
    assert len(registry.seen) == 1
