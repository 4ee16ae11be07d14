from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator

import pytest

from app.registry import (
    Descriptor,
    Digest,
    DigestMismatch,
    InvalidResponse,
    NotFound,
    PatchedMismatch,
    Patience,
    RegistryClient,
    RegistryError,
    ResumingStream,
    ServerError,
    Stopped,
    TooManyRequests,
    TransferResult,
    Unreachable,
    copy_blob,
    holds,
)
from tests.registry.conftest import Connect, Serve
from tests.registry.scripted import Handler, Request, Scripted
from tests.support import wire
from tests.support.registries import RegistryFactory

DATA = os.urandom(2_000_000)
BLOB = Descriptor("application/vnd.oci.image.layer.v1.tar+gzip", Digest.of(DATA), len(DATA))


class Destination:
    """A registry that has nothing, takes uploads, and notes what was committed."""

    def __init__(self, status: int = 201) -> None:
        self.status = status
        self.committed: list[bytes] = []

    def __call__(self, handler: Handler, request: Request) -> None:
        if request.method == "GET":
            handler.error(404, "BLOB_UNKNOWN")
        elif request.method == "POST":
            handler.reply(202, Location="/u?s=1")
        elif request.method == "PUT":
            if self.status == 201:
                self.committed.append(request.body)
            handler.reply(self.status)
        else:
            handler.reply(204)


@pytest.fixture
def destination() -> Destination:
    return Destination()


def failed(source: RegistryClient, destination: RegistryClient, kind: type[RegistryError]) -> RegistryError:
    with pytest.raises(kind) as raised:
        copy_blob(source, destination, "a/x", BLOB)
    return raised.value


def cancelled(registry: Scripted) -> bool:
    return registry.paths()[-1] == "DELETE /u?s=1"


def test_a_blob_is_copied_from_registry_to_registry(registry_factory: RegistryFactory, connect: Connect) -> None:
    # Given a blob on one of two real registries
    primary, secondary = registry_factory("one"), registry_factory("two")
    wire.push_blob(primary, "a/x", DATA)
    source, target = connect(primary.url, actions=("pull",)), connect(secondary.url)
    moved: list[int] = []

    # When it is copied twice
    first = copy_blob(source, target, "a/x", BLOB, progress=moved.append)
    second = copy_blob(source, target, "a/x", BLOB, progress=moved.append)

    # Then its bytes went once
    assert first == TransferResult(bytes_copied=len(DATA))
    assert second == TransferResult(skipped=True)
    assert sum(moved) == len(DATA)
    assert len(moved) > 3
    assert wire.fetch_blob(secondary, "a/x", BLOB.digest) == DATA


def test_the_empty_blob_is_copied(registry_factory: RegistryFactory, connect: Connect) -> None:
    primary, secondary = registry_factory("one"), registry_factory("two")
    digest = wire.push_blob(primary, "a/x", b"")

    result = copy_blob(connect(primary.url), connect(secondary.url), "a/x", Descriptor("x", digest, 0))

    assert result == TransferResult(bytes_copied=0)
    assert wire.fetch_blob(secondary, "a/x", digest) == b""


def test_a_blob_of_another_size_is_copied_again(serve: Serve, connect: Connect) -> None:
    # Given a destination that has something else under the digest
    target = Destination()

    def script(handler: Handler, request: Request) -> None:
        if request.method == "GET":
            handler.reply(206, DATA[:1], Content_Range=f"bytes 0-0/{len(DATA) - 1}")
        else:
            target(handler, request)

    source = connect(serve(lambda handler, _: handler.reply(200, DATA)).url)
    result = copy_blob(source, connect(serve(script).url), "a/x", BLOB)

    assert result.bytes_copied == len(DATA)
    assert target.committed == [DATA]


def test_a_blob_is_mounted_from_a_repository_that_holds_it(registry_factory: RegistryFactory, connect: Connect) -> None:
    # Given a destination that has the blob in another repository
    primary, secondary = registry_factory("one"), registry_factory("two")
    wire.push_blob(primary, "a/x", DATA)
    wire.push_blob(secondary, "a/base", DATA)

    result = copy_blob(connect(primary.url), connect(secondary.url), "a/x", BLOB, mount_from="a/base")

    # Then no byte travelled
    assert result == TransferResult(mounted=True)
    assert wire.fetch_blob(secondary, "a/x", BLOB.digest) == DATA


def test_a_mount_that_is_refused_is_an_upload(registry_factory: RegistryFactory, connect: Connect) -> None:
    # Given a destination where the other repository does not hold it
    primary, secondary = registry_factory("one"), registry_factory("two")
    wire.push_blob(primary, "a/x", DATA)
    wire.push_blob(secondary, "a/base", b"something else")

    result = copy_blob(connect(primary.url), connect(secondary.url), "a/x", BLOB, mount_from="a/base")

    assert result == TransferResult(bytes_copied=len(DATA))
    assert wire.fetch_blob(secondary, "a/x", BLOB.digest) == DATA


def test_a_mount_of_a_blob_that_cannot_be_read_is_an_upload(
    serve: Serve, connect: Connect, destination: Destination
) -> None:
    # Given a destination that mounts from its cache what its storage no longer has
    def script(handler: Handler, request: Request) -> None:
        if request.method == "POST" and "mount=" in request.path:
            handler.reply(201)
        else:
            destination(handler, request)

    source = connect(serve(lambda handler, _: handler.reply(200, DATA)).url)
    result = copy_blob(source, connect(serve(script).url), "a/x", BLOB, mount_from="a/base")

    assert result == TransferResult(bytes_copied=len(DATA))
    assert destination.committed == [DATA]


@pytest.mark.parametrize("status", [403, 405, 500])
def test_whether_a_repository_holds_a_blob_is_seen_where_a_head_is_refused(
    serve: Serve, connect: Connect, status: int
) -> None:
    # Given a registry that leads to a storage whose addresses are signed for GET alone
    def answer(handler: Handler, request: Request) -> None:
        if "a/x" not in request.path:
            handler.error(404, "BLOB_UNKNOWN")
        elif request.method == "HEAD":
            handler.reply(status)
        else:
            handler.reply(206, DATA[:1], Content_Range=f"bytes 0-0/{len(DATA)}")

    registry = connect(serve(answer).url)

    # Then one byte tells
    assert holds(registry, "a/x", BLOB)
    assert not holds(registry, "a/y", BLOB)


def test_a_registry_that_asks_for_a_pause_is_not_asked_for_a_byte(serve: Serve, connect: Connect) -> None:
    registry = serve(lambda handler, _: handler.error(429, "TOOMANYREQUESTS"))
    with pytest.raises(TooManyRequests):
        holds(connect(registry.url), "a/x", BLOB)
    assert {request.method for request in registry.seen} == {"HEAD"}


def test_a_size_that_nobody_knows_is_found_out(serve: Serve, connect: Connect, destination: Destination) -> None:
    source = connect(serve(lambda handler, _: handler.reply(200, DATA)).url)
    unsized = Descriptor(BLOB.media_type, BLOB.digest, None)

    assert copy_blob(source, connect(serve(destination).url), "a/x", unsized).bytes_copied == len(DATA)
    assert destination.committed == [DATA]


def test_damaged_bytes_are_not_committed(serve: Serve, connect: Connect, destination: Destination) -> None:
    # Given a destination that would believe anything
    damaged = DATA[:-1] + bytes([DATA[-1] ^ 1])
    source = connect(serve(lambda handler, _: handler.reply(200, damaged)).url)
    target = serve(destination)

    error = failed(source, connect(target.url), DigestMismatch)

    # Then it got no whole request, and the session was cancelled
    assert error.url is not None
    assert "/v2/a/x/blobs/" in error.url
    assert destination.committed == []
    assert cancelled(target)


def test_a_source_that_breaks_off_commits_nothing(serve: Serve, connect: Connect, destination: Destination) -> None:
    def script(handler: Handler, request: Request) -> None:
        handler.reply(200, DATA[:1_000_000], Content_Length=str(len(DATA)))
        handler.close_connection = True

    target = serve(destination)
    source = connect(serve(script).url)

    def impatient(whole: bool) -> ResumingStream:
        return ResumingStream(source, "a/x", BLOB.digest, BLOB.size, patience=Patience(tries=1))

    with pytest.raises(Unreachable):
        copy_blob(impatient, connect(target.url), "a/x", BLOB)
    assert destination.committed == []
    assert cancelled(target)


def test_what_was_patched_together_wrongly_is_fetched_whole_once(
    serve: Serve, connect: Connect, destination: Destination
) -> None:
    # Given a source that is wrong however it is opened, and one that is right when asked for the whole
    source = connect(serve(lambda handler, _: handler.reply(200, DATA)).url)
    target = connect(serve(destination).url)
    asked: list[bool] = []

    class Patched(ResumingStream):
        def __iter__(self) -> Iterator[bytes]:
            yield DATA[:1000]
            raise PatchedMismatch("the parts do not fit")

    def hopeless(whole: bool) -> ResumingStream:
        asked.append(whole)
        return Patched(source, "a/x", BLOB.digest, BLOB.size)

    def healed(whole: bool) -> ResumingStream:
        return (ResumingStream if whole else Patched)(source, "a/x", BLOB.digest, BLOB.size)

    # When they are copied, Then the one fails after two tries and the other is there
    with pytest.raises(PatchedMismatch):
        copy_blob(hopeless, target, "a/x", BLOB)
    assert asked == [False, True]
    assert destination.committed == []
    assert copy_blob(healed, target, "a/x", BLOB).bytes_copied == len(DATA)
    assert destination.committed == [DATA]


def test_a_source_of_another_size_begins_no_upload(serve: Serve, connect: Connect, destination: Destination) -> None:
    target = serve(destination)
    source = connect(serve(lambda handler, _: handler.reply(200, DATA[:-1])).url)

    assert failed(source, connect(target.url), InvalidResponse).reason == "size_mismatch"
    assert [request.method for request in target.seen] == ["GET"]


def test_a_blob_that_the_source_lacks_begins_no_upload(
    serve: Serve, connect: Connect, destination: Destination
) -> None:
    target = serve(destination)
    source = connect(serve(lambda handler, _: handler.error(404, "BLOB_UNKNOWN")).url)

    assert failed(source, connect(target.url), NotFound).url is not None
    assert [request.method for request in target.seen] == ["GET"]


def test_a_destination_that_fails_is_named(serve: Serve, connect: Connect) -> None:
    target = serve(Destination(status=503))
    source = connect(serve(lambda handler, _: handler.reply(200, DATA)).url)

    error = failed(source, connect(target.url), ServerError)
    assert f":{target.port}/u" in str(error)
    assert cancelled(target)


def test_a_transfer_stops_when_told(serve: Serve, connect: Connect, destination: Destination) -> None:
    source = connect(serve(lambda handler, _: handler.reply(200, DATA)).url)
    target = serve(destination)
    moved: list[int] = []

    with pytest.raises(Stopped):
        copy_blob(source, connect(target.url), "a/x", BLOB, progress=moved.append, stop=lambda: sum(moved) > 500_000)
    assert 500_000 < sum(moved) < len(DATA)
    assert destination.committed == []
    assert cancelled(target)


def test_the_memory_of_a_transfer_does_not_grow_with_the_blob(
    registry_factory: RegistryFactory, connect: Connect
) -> None:
    # Given a blob of 64 MiB
    primary, secondary = registry_factory("one"), registry_factory("two")
    source, target = connect(primary.url), connect(secondary.url)
    piece = os.urandom(1024 * 1024)
    digest = Digest.of(piece * 64)
    upload = source.start_upload("a/x")
    assert upload is not None
    upload.put((piece for _ in range(64)), 64 * len(piece), digest)

    # When it is copied
    tracemalloc.start()
    try:
        copy_blob(source, target, "a/x", Descriptor("x", digest, 64 * len(piece)))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    # Then no more than a few chunks are held
    assert peak < 4 * 1024 * 1024
