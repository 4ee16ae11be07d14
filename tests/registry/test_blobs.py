from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from app.registry import (
    BlobStream,
    Digest,
    DigestMismatch,
    InvalidResponse,
    RegistryError,
    Rejected,
    StaticBearer,
    TooManyRequests,
    Unauthorized,
    Unreachable,
    Upload,
)
from app.registry.blob_stream import CHUNK
from tests.registry.conftest import Connect, Serve
from tests.registry.scripted import Handler, Request
from tests.support.keys import KeyPair

DATA = os.urandom(3 * CHUNK + 17)
DIGEST = Digest.of(DATA)
EMPTY = Digest.of(b"")


def ranged(handler: Handler, request: Request) -> None:
    """A registry that holds DATA and can do ranges."""
    asked = request.headers.get("Range")
    if asked is None:
        handler.reply(200, DATA)
        return
    first, _, last = asked.removeprefix("bytes=").partition("-")
    end = int(last) if last else len(DATA) - 1
    handler.reply(206, DATA[int(first) : end + 1], Content_Range=f"bytes {first}-{end}/{len(DATA)}")


def collected(stream: BlobStream) -> tuple[bytes, list[int]]:
    chunks = list(stream)
    return b"".join(chunks), [len(chunk) for chunk in chunks]


def test_a_blob_comes_in_chunks_and_is_verified(serve: Serve, connect: Connect) -> None:
    with connect(serve(ranged).url).open_blob("a/x", DIGEST) as stream:
        data, sizes = collected(stream)

    assert data == DATA
    assert max(sizes) == CHUNK
    assert (stream.offset, stream.size, stream.position) == (0, len(DATA), len(DATA))


@pytest.mark.parametrize("algorithm", ["sha384", "sha512"])
def test_other_lengths_of_sha2_are_verified_too(serve: Serve, connect: Connect, algorithm: str) -> None:
    client = connect(serve(ranged).url)
    with client.open_blob("a/x", Digest.of(DATA, algorithm)) as stream:
        assert collected(stream)[0] == DATA
    with client.open_blob("a/x", Digest.of(b"", algorithm)) as stream, pytest.raises(DigestMismatch):
        collected(stream)


def test_a_blob_goes_on_from_an_offset(serve: Serve, connect: Connect) -> None:
    registry = serve(ranged)
    with connect(registry.url).open_blob("a/x", DIGEST, offset=100) as stream:
        assert (stream.offset, stream.size) == (100, len(DATA))
        assert collected(stream)[0] == DATA[100:]
    assert registry.seen[0].headers["Range"] == "bytes=100-"


def test_a_registry_without_ranges_starts_at_zero(serve: Serve, connect: Connect) -> None:
    registry = serve(lambda handler, _: handler.reply(200, DATA))
    with connect(registry.url).open_blob("a/x", DIGEST, offset=100) as stream:
        assert stream.offset == 0
        assert collected(stream)[0] == DATA


@pytest.mark.parametrize("content_range", ["bytes 0-5/10", "bytes */10", "5-9/10", None])
def test_a_range_that_was_not_asked_is_an_error(serve: Serve, connect: Connect, content_range: str | None) -> None:
    headers = {} if content_range is None else {"Content_Range": content_range}
    registry = serve(lambda handler, _: handler.reply(206, DATA[:5], **headers))
    with pytest.raises(InvalidResponse, match="range"):
        connect(registry.url).open_blob("a/x", DIGEST, offset=5)


@pytest.mark.parametrize("length_known", [True, False])
def test_other_bytes_are_found_out_before_the_last_chunk_leaves(
    serve: Serve, connect: Connect, length_known: bool
) -> None:
    # Given a registry whose copy of the blob is damaged, with and without a Content-Length
    damaged = DATA[:-1] + bytes([DATA[-1] ^ 1])

    def script(handler: Handler, request: Request) -> None:
        if length_known:
            handler.reply(200, damaged)
            return
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(damaged)
        handler.close_connection = True

    # When it is read
    received: list[bytes] = []
    with connect(serve(script).url).open_blob("a/x", DIGEST) as stream:
        assert stream.size == (len(DATA) if length_known else None)
        with pytest.raises(DigestMismatch, match=Digest.of(damaged)) as raised:
            received.extend(stream)

    # Then what left is not the whole
    assert 0 < sum(map(len, received)) < len(DATA)
    assert raised.value.temporary


def test_a_blob_that_breaks_off_is_an_error(serve: Serve, connect: Connect) -> None:
    def script(handler: Handler, request: Request) -> None:
        handler.reply(200, DATA[:1000], Content_Length=str(len(DATA)))
        handler.close_connection = True

    with connect(serve(script).url).open_blob("a/x", DIGEST) as stream, pytest.raises(Unreachable) as raised:
        collected(stream)
    assert raised.value.reason == "connection_lost"


def test_a_blob_without_a_length_that_breaks_off_is_an_error(serve: Serve, connect: Connect) -> None:
    def script(handler: Handler, request: Request) -> None:
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes 5-{len(DATA) - 1}/{len(DATA)}")
        handler.end_headers()
        handler.wfile.write(DATA[5:1000])
        handler.close_connection = True

    client = connect(serve(script).url)
    with client.open_blob("a/x", DIGEST, offset=5) as stream, pytest.raises(Unreachable, match="ended after 1000"):
        collected(stream)


def test_a_content_encoding_is_not_undone(serve: Serve, connect: Connect) -> None:
    # Given an object storage that says how a layer was once stored
    registry = serve(lambda handler, _: handler.reply(200, DATA, Content_Encoding="gzip"))
    with connect(registry.url).open_blob("a/x", DIGEST) as stream:
        assert collected(stream)[0] == DATA


def test_a_blob_that_is_left_in_the_middle_is_no_trouble(serve: Serve, connect: Connect) -> None:
    client = connect(serve(ranged).url)
    with client.open_blob("a/x", DIGEST) as stream:
        next(iter(stream))
    assert client.head_blob("a/x", DIGEST) == len(DATA)


def test_the_size_of_a_blob(serve: Serve, connect: Connect) -> None:
    registry = serve(
        lambda handler, request: handler.reply(200, DATA) if DIGEST in request.path else handler.reply(404)
    )
    client = connect(registry.url)
    assert client.head_blob("a/x", DIGEST) == len(DATA)
    assert client.head_blob("a/x", EMPTY) is None


@pytest.mark.parametrize("status", [403, 500])
def test_a_failure_is_not_absence(serve: Serve, connect: Connect, status: int) -> None:
    client = connect(serve(lambda handler, _: handler.reply(status)).url)
    for ask in (
        lambda: client.head_blob("a/x", DIGEST),
        lambda: client.blob_present("a/x", DIGEST, 5),
        lambda: client.open_blob("a/x", DIGEST),
    ):
        with pytest.raises(RegistryError) as raised:
            ask()
        assert raised.value.status == status


def test_presence_is_proven_by_a_byte(serve: Serve, connect: Connect) -> None:
    registry = serve(ranged)
    client = connect(registry.url)
    assert client.blob_present("a/x", DIGEST, len(DATA))
    assert not client.blob_present("a/x", DIGEST, len(DATA) - 1)
    assert {request.headers["Range"] for request in registry.seen} == {"bytes=0-0"}


@pytest.mark.parametrize(
    ("status", "body", "headers", "present"),
    [
        (404, b"", {}, False),
        (416, b"", {}, False),
        (200, DATA, {}, True),
        (200, DATA[:-1], {}, False),
        (206, b"", {"Content_Range": f"bytes 0-0/{len(DATA)}", "Content_Length": "1"}, False),
        (200, b"", {"Content_Length": str(len(DATA))}, False),
    ],
)
def test_presence_is_not_what_the_head_of_an_answer_says(
    serve: Serve, connect: Connect, status: int, body: bytes, headers: dict[str, str], present: bool
) -> None:
    # Given an answer of each kind, of which the last two announce a blob that does not come
    def script(handler: Handler, request: Request) -> None:
        handler.reply(status, body, **headers)
        handler.close_connection = True

    assert connect(serve(script).url).blob_present("a/x", DIGEST, len(DATA)) is present


def test_a_connection_that_broke_once_is_not_absence(serve: Serve, connect: Connect) -> None:
    def script(handler: Handler, request: Request) -> None:
        if len(registry.seen) == 1:
            handler.reply(206, b"", Content_Range=f"bytes 0-0/{len(DATA)}", Content_Length="1")
            handler.close_connection = True
        else:
            ranged(handler, request)

    registry = serve(script)
    assert connect(registry.url).blob_present("a/x", DIGEST, len(DATA))


def test_the_empty_blob_is_asked_for_whole(serve: Serve, connect: Connect) -> None:
    registry = serve(lambda handler, _: handler.reply(200))
    assert connect(registry.url).blob_present("a/x", EMPTY, 0)
    assert registry.seen[0].headers["Range"] is None


class Uploads:
    """A registry that takes uploads at a Location of the test's choosing and keeps what it got."""

    def __init__(self, location: str = "/v2/a/x/blobs/uploads/1?_state=a%2Fb%3D%3D", commit: int = 201) -> None:
        self.location = location
        self.commit = commit

    def __call__(self, handler: Handler, request: Request) -> None:
        if request.method == "POST":
            handler.reply(202, Location=self.location)
        elif request.method == "PUT":
            handler.reply(self.commit)
        else:
            handler.reply(204)


def begun(upload: Upload | None) -> Upload:
    assert upload is not None
    return upload


@pytest.mark.parametrize("commit", [201, 204])
def test_a_blob_is_sent_in_one_request_of_its_length(serve: Serve, connect: Connect, commit: int) -> None:
    registry = serve(Uploads(commit=commit))
    upload = begun(connect(registry.url).start_upload("a/x"))
    upload.put((DATA[i : i + 1000] for i in range(0, len(DATA), 1000)), len(DATA), DIGEST)

    post, put = registry.seen
    assert (post.path, post.headers["Content-Length"]) == ("/v2/a/x/blobs/uploads/", "0")
    assert put.path == f"/v2/a/x/blobs/uploads/1?_state=a%2Fb%3D%3D&digest={DIGEST}"
    assert put.headers["Content-Length"] == str(len(DATA))
    assert put.headers["Content-Type"] == "application/octet-stream"
    assert put.headers["Transfer-Encoding"] is None
    assert put.headers["Content-Range"] is None
    assert put.body == DATA


def test_a_blob_of_unknown_size_is_sent_in_pieces(serve: Serve, connect: Connect) -> None:
    registry = serve(Uploads("/u"))
    begun(connect(registry.url).start_upload("a/x")).put([DATA[:9], b"", DATA[9:]], None, DIGEST)

    assert registry.seen[1].headers["Transfer-Encoding"] == "chunked"
    assert registry.seen[1].path == f"/u?digest={DIGEST}"
    assert registry.seen[1].body == DATA


def test_the_empty_blob_has_a_length(serve: Serve, connect: Connect) -> None:
    registry = serve(Uploads())
    begun(connect(registry.url).start_upload("a/x")).put([], 0, EMPTY)

    assert registry.seen[1].headers["Content-Length"] == "0"
    assert registry.seen[1].headers["Transfer-Encoding"] is None


@pytest.mark.parametrize("size", [0, 5, 9, 20])
def test_a_source_that_does_not_keep_its_size_commits_nothing(serve: Serve, connect: Connect, size: int) -> None:
    registry = serve(Uploads())
    upload = begun(connect(registry.url, read_timeout=3.0).start_upload("a/x"))

    with pytest.raises(InvalidResponse, match="bytes") as raised:
        upload.put([b"01234567", b"89"], size, DIGEST)
    assert raised.value.reason == "size_mismatch"
    assert [request.method for request in registry.seen] == ["POST"]


@pytest.mark.parametrize("failure", [Unreachable("the source broke off"), OSError("disk"), KeyError("x")])
def test_an_error_of_the_source_comes_through_unchanged(serve: Serve, connect: Connect, failure: Exception) -> None:
    registry = serve(Uploads())
    upload = begun(connect(registry.url).start_upload("a/x"))

    def chunks() -> Iterator[bytes]:
        yield b"0123"
        raise failure

    with pytest.raises(type(failure)) as raised:
        upload.put(chunks(), 10, DIGEST)
    assert raised.value is failure
    assert [request.method for request in registry.seen] == ["POST"]


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/v2/u?a=1", "{url}/v2/u?a=1&digest="),
        ("1234", "{url}/v2/a/x/blobs/uploads/1234?digest="),
        ("{url}/u", "{url}/u?digest="),
    ],
)
def test_a_location_is_relative_or_not(serve: Serve, connect: Connect, location: str, expected: str) -> None:
    uploads = Uploads()
    registry = serve(uploads)
    uploads.location = location.format(url=registry.url)

    begun(connect(registry.url, StaticBearer("t")).start_upload("a/x")).put([b"a"], 1, EMPTY)

    assert f"{registry.url}{registry.seen[1].path}" == expected.format(url=registry.url) + EMPTY
    assert registry.seen[1].authorization == "Bearer t"


def test_a_location_elsewhere_gets_no_credentials(serve: Serve, connect: Connect) -> None:
    elsewhere = serve(Uploads())
    registry = serve(Uploads(f"{elsewhere.url}/u"))

    begun(connect(registry.url, StaticBearer("t")).start_upload("a/x")).put([b"a"], 1, EMPTY)

    assert elsewhere.seen[0].authorization is None


def test_an_https_registry_that_calls_itself_http_is_spoken_to_by_https(
    serve: Serve, connect: Connect, keys: KeyPair
) -> None:
    uploads = Uploads()
    registry = serve(uploads, tls=keys)
    uploads.location = f"http://127.0.0.1:{registry.port}/u"

    upload = begun(connect(registry.url, StaticBearer("t"), ca_path=str(keys.certificate_path)).start_upload("a/x"))
    upload.put([b"a"], 1, EMPTY)

    assert upload.location == f"{registry.url}/u"
    assert registry.seen[1].authorization == "Bearer t"


def test_a_blob_of_an_https_registry_is_not_sent_in_the_clear(serve: Serve, connect: Connect, keys: KeyPair) -> None:
    # Given an https registry that wants uploads elsewhere, over plain http
    elsewhere = serve(Uploads())
    registry = serve(Uploads(f"{elsewhere.url}/u"), tls=keys)

    # When one begins, Then nothing is sent there
    with pytest.raises(InvalidResponse, match="plain http") as raised:
        connect(registry.url, ca_path=str(keys.certificate_path)).start_upload("a/x")
    assert raised.value.reason == "redirect"
    assert elsewhere.seen == []


@pytest.mark.parametrize(("status", "headers"), [(202, {}), (201, {}), (200, {"Location": "/u"})])
def test_an_upload_that_did_not_begin_is_an_error(
    serve: Serve, connect: Connect, status: int, headers: dict[str, Any]
) -> None:
    registry = serve(lambda handler, _: handler.reply(status, **headers))
    with pytest.raises(InvalidResponse):
        connect(registry.url).start_upload("a/x")


@pytest.mark.parametrize("commit", [200, 202])
def test_an_upload_that_was_not_committed_is_an_error(serve: Serve, connect: Connect, commit: int) -> None:
    upload = begun(connect(serve(Uploads(commit=commit)).url).start_upload("a/x"))
    with pytest.raises(InvalidResponse):
        upload.put([b"a"], 1, EMPTY)


def test_an_upload_stored_as_something_else_is_an_error(serve: Serve, connect: Connect) -> None:
    def script(handler: Handler, request: Request) -> None:
        handler.reply(202 if request.method == "POST" else 201, Location="/u", Docker_Content_Digest=DIGEST)

    upload = begun(connect(serve(script).url).start_upload("a/x"))
    with pytest.raises(DigestMismatch):
        upload.put([b"a"], 1, EMPTY)
    upload.put([b"a"], 1, Digest.of(b"a", "sha512"))  # of two algorithms nothing follows


def test_a_lost_session_is_temporary(serve: Serve, connect: Connect) -> None:
    def script(handler: Handler, request: Request) -> None:
        if request.method == "POST":
            handler.reply(202, Location="/u")
        else:
            handler.error(404, "BLOB_UPLOAD_UNKNOWN")

    upload = begun(connect(serve(script).url).start_upload("a/x"))
    with pytest.raises(Rejected) as raised:
        upload.put([b"a"], 1, EMPTY)
    assert (raised.value.reason, raised.value.temporary) == ("upload_lost", True)
    assert not upload.cancel()


def test_a_streamed_upload_refused_with_401_is_not_sent_twice(serve: Serve, connect: Connect) -> None:
    def script(handler: Handler, request: Request) -> None:
        if request.method == "POST":
            handler.reply(202, Location="/u")
        else:
            handler.error(401, "UNAUTHORIZED", WWW_Authenticate='Bearer realm="http://r"')

    registry = serve(script)
    upload = begun(connect(registry.url, StaticBearer("t")).start_upload("a/x"))
    with pytest.raises(Unauthorized):
        upload.put([b"a"], 1, EMPTY)
    assert [request.method for request in registry.seen] == ["POST", "PUT"]


def test_a_session_can_be_cancelled(serve: Serve, connect: Connect) -> None:
    registry = serve(Uploads())
    upload = begun(connect(registry.url).start_upload("a/x"))

    assert upload.cancel()
    assert registry.paths()[-1] == "DELETE /v2/a/x/blobs/uploads/1?_state=a%2Fb%3D%3D"


def test_a_blob_is_mounted(serve: Serve, connect: Connect) -> None:
    registry = serve(lambda handler, _: handler.reply(201))

    assert connect(registry.url).start_upload("a/x", DIGEST, "b/y") is None
    assert registry.paths() == [f"POST /v2/a/x/blobs/uploads/?mount={DIGEST}&from=b/y"]


def test_a_mount_that_is_not_done_is_an_upload(serve: Serve, connect: Connect) -> None:
    registry = serve(Uploads())

    begun(connect(registry.url).start_upload("a/x", DIGEST, "b/y"))
    assert len(registry.seen) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
def test_a_mount_that_is_refused_is_an_upload(serve: Serve, connect: Connect, status: int) -> None:
    def script(handler: Handler, request: Request) -> None:
        if "mount" in request.path:
            handler.error(status)
        else:
            handler.reply(202, Location="/u")

    registry = serve(script)
    begun(connect(registry.url).start_upload("a/x", DIGEST, "b/y"))
    assert registry.paths()[-1] == "POST /v2/a/x/blobs/uploads/"


def test_a_mount_that_must_wait_is_not_made_an_upload(serve: Serve, connect: Connect) -> None:
    registry = serve(lambda handler, _: handler.error(429))
    with pytest.raises(TooManyRequests):
        connect(registry.url).start_upload("a/x", DIGEST, "b/y")
    assert len(registry.seen) == 1
