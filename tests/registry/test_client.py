from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import pytest

from app.registry import (
    Anonymous,
    Descriptor,
    Digest,
    DigestMismatch,
    InvalidManifest,
    InvalidReference,
    InvalidResponse,
    Manifest,
    NotFound,
    RegistryClient,
    ServerError,
    TooLarge,
    Unreachable,
    UnsupportedDigest,
    media_types,
)
from app.registry.manifests import SIZE_LIMIT
from tests.registry.conftest import Connect, Serve
from tests.registry.scripted import Handler, Request

DATA = b'{"schemaVersion": 2, "layers": []}'
TYPE = media_types.OCI_MANIFEST
MANIFEST = Manifest.parse(DATA, TYPE)
DIGEST = MANIFEST.digest
OTHER = Digest.of(b"other")


def holding(data: bytes = DATA, **headers: str) -> Callable[[Handler, Request], None]:
    """A registry whose every manifest is this; a header set to an empty string is left out."""
    defaults = {"Content_Type": TYPE, "Docker_Content_Digest": DIGEST}
    named = {name: value for name, value in {**defaults, **headers}.items() if value}

    def script(handler: Handler, request: Request) -> None:
        handler.reply(200, data, **named)

    return script


@pytest.mark.parametrize(
    "url", ["registry.example", "ftp://registry.example", "https://u:p@registry.example", "https://", ""]
)
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        RegistryClient(url, Anonymous())


@pytest.mark.parametrize(
    ("suffix", "path"), [("", "/v2/"), ("/", "/v2/"), ("/v2/", "/v2/"), ("/api/docker/", "/api/docker/v2/")]
)
def test_the_root_of_the_api(serve: Serve, connect: Connect, suffix: str, path: str) -> None:
    registry = serve(lambda handler, _: handler.reply(200, b"{}"))
    client = connect(registry.url + suffix)
    client.ping()

    assert registry.seen[0].path == path
    assert client.name == f"127.0.0.1:{registry.port}"


def test_what_answers_but_is_no_registry(serve: Serve, connect: Connect) -> None:
    with pytest.raises(NotFound, match="/v2/: HTTP 404"):
        connect(serve(lambda handler, _: handler.reply(404, b"nothing here")).url).ping()


def test_a_manifest_is_asked_for_with_every_type(serve: Serve, connect: Connect) -> None:
    registry = serve(holding())

    assert connect(registry.url).get_manifest("a/x", "v1") == MANIFEST
    assert registry.paths() == ["GET /v2/a/x/manifests/v1"]
    assert registry.seen[0].headers.get_all("Accept") == [media_types.ACCEPT]


def test_a_manifest_is_what_its_digest_says(serve: Serve, connect: Connect) -> None:
    client = connect(serve(holding(Docker_Content_Digest="")).url)

    assert client.get_manifest("a/x", DIGEST).digest == DIGEST
    assert client.get_manifest("a/x", "v1").digest == DIGEST
    with pytest.raises(DigestMismatch, match=OTHER) as raised:
        client.get_manifest("a/x", OTHER)
    assert raised.value.temporary


def test_a_manifest_is_what_the_registry_says_it_is(serve: Serve, connect: Connect) -> None:
    client = connect(serve(holding(Docker_Content_Digest=OTHER)).url)

    for reference in ("v1", DIGEST, OTHER):
        with pytest.raises(DigestMismatch):
            client.get_manifest("a/x", reference)


@pytest.mark.parametrize("header", ["", "rubbish", "blake3:abc", Digest.of(DATA, "sha512")])
def test_a_digest_that_cannot_be_compared_is_no_contradiction(serve: Serve, connect: Connect, header: str) -> None:
    client = connect(serve(holding(Docker_Content_Digest=header)).url)

    assert client.get_manifest("a/x", DIGEST).digest == DIGEST


def test_a_tag_has_the_digest_that_the_registry_calls_it_by(serve: Serve, connect: Connect) -> None:
    wanted = Digest.of(DATA, "sha512")

    assert connect(serve(holding(Docker_Content_Digest=wanted)).url).get_manifest("a/x", "v1").digest == wanted


def test_a_manifest_under_a_digest_that_cannot_be_computed_is_refused(serve: Serve, connect: Connect) -> None:
    with pytest.raises(UnsupportedDigest):
        connect(serve(holding()).url).get_manifest("a/x", "blake3:abc")


def test_a_manifest_that_a_proxy_compressed_is_unpacked(serve: Serve, connect: Connect) -> None:
    registry = serve(holding(gzip.compress(DATA), Content_Encoding="gzip"))

    assert connect(registry.url).get_manifest("a/x", "v1").data == DATA


@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_a_manifest_that_is_too_large_is_not_read_to_its_end(serve: Serve, connect: Connect, encoding: str) -> None:
    large = b" " * (SIZE_LIMIT * 4)
    body = gzip.compress(large) if encoding else large

    with pytest.raises(TooLarge) as raised:
        connect(serve(holding(body, Content_Encoding=encoding)).url).get_manifest("a/x", "v1")
    assert not raised.value.temporary


def test_what_is_no_manifest_is_said_as_such(serve: Serve, connect: Connect) -> None:
    with pytest.raises(InvalidManifest):
        connect(serve(holding(b"<html>", Docker_Content_Digest="")).url).get_manifest("a/x", "v1")


def test_a_manifest_that_breaks_off_is_an_error(serve: Serve, connect: Connect) -> None:
    def script(handler: Handler, request: Request) -> None:
        handler.reply(200, DATA, Content_Length="1000")
        handler.close_connection = True

    with pytest.raises(Unreachable):
        connect(serve(script).url).get_manifest("a/x", "v1")


def test_the_head_of_a_manifest(serve: Serve, connect: Connect) -> None:
    registry = serve(holding(Content_Type=f"{TYPE}; charset=utf-8"))

    for reference in ("v1", DIGEST):
        assert connect(registry.url).head_manifest("a/x", reference) == Descriptor(TYPE, DIGEST, len(DATA))
    assert [request.method for request in registry.seen] == ["HEAD", "HEAD"]
    assert registry.seen[0].headers["Accept"] == media_types.ACCEPT


@pytest.mark.parametrize(
    ("reference", "headers"),
    [
        ("v1", {"Docker_Content_Digest": ""}),
        ("v1", {"Docker_Content_Digest": "rubbish"}),
        ("v1", {"Docker_Content_Digest": "blake3:abc"}),
        (DIGEST, {"Docker_Content_Digest": Digest.of(DATA, "sha512")}),
        ("v1", {"Content_Type": "application/json"}),
    ],
)
def test_without_a_usable_head_the_manifest_is_fetched(
    serve: Serve, connect: Connect, reference: str, headers: dict[str, Any]
) -> None:
    registry = serve(holding(**headers))

    assert connect(registry.url).head_manifest("a/x", reference) == Descriptor(TYPE, DIGEST, len(DATA))
    assert [request.method for request in registry.seen] == ["HEAD", "GET"]


def test_the_head_of_another_manifest_is_an_error(serve: Serve, connect: Connect) -> None:
    with pytest.raises(DigestMismatch):
        connect(serve(holding()).url).head_manifest("a/x", OTHER)


def test_an_absence_by_head_has_no_witness(serve: Serve, connect: Connect) -> None:
    client = connect(serve(lambda handler, _: handler.error(404, "MANIFEST_UNKNOWN")).url)

    with pytest.raises(NotFound) as by_head:
        client.head_manifest("a/x", "v1")
    assert not by_head.value.witnessed
    assert by_head.value.temporary
    with pytest.raises(NotFound) as by_get:
        client.get_manifest("a/x", "v1")
    assert by_get.value.witnessed


def test_a_manifest_is_pushed_as_it_is(serve: Serve, connect: Connect) -> None:
    registry = serve(lambda handler, _: handler.reply(201, Docker_Content_Digest=DIGEST))

    assert connect(registry.url).put_manifest("a/x", "v1", MANIFEST) == DIGEST
    (request,) = registry.seen
    assert (request.method, request.path) == ("PUT", "/v2/a/x/manifests/v1")
    assert (request.headers["Content-Type"], request.headers["Content-Length"]) == (TYPE, str(len(DATA)))
    assert request.body == DATA


def test_a_registry_that_made_something_else_of_it(serve: Serve, connect: Connect) -> None:
    registry = serve(lambda handler, _: handler.reply(201, Docker_Content_Digest=OTHER))

    with pytest.raises(DigestMismatch, match=f"stored {OTHER}"):
        connect(registry.url).put_manifest("a/x", "v1", MANIFEST)


def test_a_registry_that_does_not_say_what_it_stored_is_asked(serve: Serve, connect: Connect) -> None:
    def script(handler: Handler, request: Request) -> None:
        if request.method == "PUT":
            handler.reply(201)
        else:
            holding()(handler, request)

    registry = serve(script)
    assert connect(registry.url).put_manifest("a/x", "v1", MANIFEST, total_timeout=5) == DIGEST
    assert [request.method for request in registry.seen] == ["PUT", "HEAD"]


@pytest.mark.parametrize("status", [202, 204, 302])
def test_a_push_that_was_not_created_is_an_error(serve: Serve, connect: Connect, status: int) -> None:
    registry = serve(lambda handler, _: handler.reply(status))

    with pytest.raises(InvalidResponse):
        connect(registry.url).put_manifest("a/x", "v1", MANIFEST)


def test_what_a_name_stands_on(serve: Serve, connect: Connect) -> None:
    # Given a registry that says digests, one whose HEAD finds nothing, and one that has nothing
    heads = serve(holding())
    denies = serve(
        lambda handler, request: (
            handler.error(404) if request.method == "HEAD" else handler.reply(200, DATA, Content_Type=TYPE)
        )
    )
    empty = serve(lambda handler, _: handler.error(404, "MANIFEST_UNKNOWN"))

    # Then one request tells, a second where HEAD has no word of the registry's own, and None is that word
    assert connect(heads.url).standing("a/x", "v1") == DIGEST
    assert [request.method for request in heads.seen] == ["HEAD"]
    assert connect(denies.url).standing("a/x", "v1") == DIGEST
    assert connect(empty.url).standing("a/x", "v1") is None


def test_tags_of_a_repository_that_may_not_be_there(serve: Serve, connect: Connect) -> None:
    def listing(tags: list[str] | None) -> Callable[[Handler, Request], None]:
        return lambda handler, _: handler.reply(200, {"name": "a/x", "tags": tags}, Content_Type="application/json")

    assert connect(serve(listing(["v1"])).url).tags_or_none("a/x") == ["v1"]
    assert connect(serve(listing(None)).url).tags_or_none("a/x") == []
    unknown = serve(lambda handler, _: handler.error(404, "NAME_UNKNOWN"))
    assert connect(unknown.url).tags_or_none("a/x") is None


@pytest.mark.parametrize("status", [404, 500])
def test_a_failure_is_never_taken_for_absence(serve: Serve, connect: Connect, status: int) -> None:
    # Given what a proxy in front of the registry may say
    client = connect(serve(lambda handler, _: handler.error(status)).url)

    # Then nothing is known of what is behind it
    expected = NotFound if status == 404 else ServerError
    for ask in (lambda: client.standing("a/x", "v1"), lambda: client.tags_or_none("a/x")):
        with pytest.raises(expected):
            ask()


@pytest.mark.parametrize("reference", ["v1", DIGEST])
def test_a_manifest_is_deleted(serve: Serve, connect: Connect, reference: str) -> None:
    registry = serve(lambda handler, _: handler.reply(202))

    connect(registry.url).delete_manifest("a/x", reference, total_timeout=5)
    assert registry.paths() == [f"DELETE /v2/a/x/manifests/{reference}"]


def test_what_is_not_there_cannot_be_deleted(serve: Serve, connect: Connect) -> None:
    with pytest.raises(NotFound):
        connect(serve(lambda handler, _: handler.error(404, "MANIFEST_UNKNOWN")).url).delete_manifest("a/x", DIGEST)


@pytest.mark.parametrize(
    ("status", "codes", "supported"),
    [
        (404, ["MANIFEST_UNKNOWN"], True),
        (202, [], True),
        (405, ["UNSUPPORTED"], False),
        (405, [], False),
        (400, ["UNSUPPORTED"], False),
    ],
)
def test_whether_a_registry_can_delete(
    serve: Serve, connect: Connect, status: int, codes: list[str], supported: bool
) -> None:
    registry = serve(lambda handler, _: handler.error(status, *codes))
    client = connect(registry.url)

    assert [client.supports_delete("a/x"), client.supports_delete("a/x")] == [supported, supported]
    # Each time another digest, that nothing has.
    assert len(set(registry.paths())) == 2


def test_whether_a_registry_can_delete_is_unknown_when_it_fails(serve: Serve, connect: Connect) -> None:
    with pytest.raises(ServerError):
        connect(serve(lambda handler, _: handler.error(500)).url).supports_delete("a/x")

    # A 404 without a word of the registry's own may be a proxy's.
    with pytest.raises(NotFound):
        connect(serve(lambda handler, _: handler.error(404)).url).supports_delete("a/x")


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.get_manifest("../admin", "v1"),
        lambda client: client.get_manifest("a/x", "v1?x=1"),
        lambda client: client.head_manifest("A", "v1"),
        lambda client: client.put_manifest("a/x", "a/b", MANIFEST),
        lambda client: client.delete_manifest("a/x", ""),
        lambda client: client.list_tags("a//x"),
        lambda client: client.referrers("a/x", "v1"),
        lambda client: client.head_blob("a/x", "v1"),
        lambda client: client.open_blob("a/x", "sha256:x"),
        lambda client: client.blob_present("a x", DIGEST, 1),
        lambda client: client.start_upload("a/x", DIGEST, "b&y"),
        lambda client: client.start_upload("a/x", "&from=b", "b"),
        lambda client: client.start_upload("%2e%2e"),
        lambda client: client.supports_delete(""),
    ],
)
def test_what_is_no_reference_never_becomes_a_url(
    serve: Serve, connect: Connect, call: Callable[[RegistryClient], object]
) -> None:
    registry = serve(lambda handler, _: handler.reply(200))

    with pytest.raises(InvalidReference):
        call(connect(registry.url))
    assert registry.seen == []


def test_the_observer_is_told_of_every_operation(serve: Serve, connect: Connect) -> None:
    # Given a registry that lists, and else fails
    def script(handler: Handler, request: Request) -> None:
        if "list" in request.path or "_catalog" in request.path:
            handler.reply(200, {"tags": [], "repositories": ["a", "b"]})
        else:
            handler.error(503)

    told: list[tuple[str, str]] = []

    def observe(operation: str, outcome: str, seconds: float) -> None:
        assert 0 <= seconds < 30
        told.append((operation, outcome))

    client = connect(serve(script).url, observe=observe)

    # When it is used, well and badly, and a catalog is left in the middle
    client.list_tags("a/x")
    catalog = client.list_repositories()
    next(catalog)
    catalog.close()  # type: ignore[attr-defined]
    with pytest.raises(ServerError):
        client.get_manifest("a/x", "v1")
    with pytest.raises(InvalidReference):
        client.get_manifest("a/x", "/")

    # Then each is told once, its outcome bounded
    assert told == [
        ("list_tags", "ok"),
        ("list_repositories", "ok"),
        ("get_manifest", "server_error"),
        ("get_manifest", "invalid_reference"),
    ]
