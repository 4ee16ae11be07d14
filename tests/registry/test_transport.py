from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app import correlation
from app.registry import (
    Digest,
    InvalidResponse,
    NotFound,
    RegistryError,
    ServerError,
    StaticBearer,
    TooManyRequests,
    Unauthorized,
    Unreachable,
)
from tests.registry.conftest import Connect, Serve
from tests.registry.scripted import Handler, Request
from tests.support.keys import KeyPair
from tests.support.ports import free_port
from tests.support.spans import collected

DATA = b"the bytes of a blob"
DIGEST = Digest.of(DATA)


def storage(handler: Handler, request: Request) -> None:
    handler.reply(200, DATA)


def test_credentials_do_not_go_where_a_redirect_leads(serve: Serve, connect: Connect) -> None:
    # Given a registry whose blobs are elsewhere: the same host, another port
    elsewhere = serve(storage)
    location = f"{elsewhere.url}/bucket/blob?X-Signature=a%2Fb%3D&x=%7E"
    registry = serve(lambda handler, _: handler.reply(307, Location=location))
    client = connect(registry.url, StaticBearer("secret"))

    # When a blob is read
    with client.open_blob("a/x", DIGEST) as stream:
        assert b"".join(stream) == DATA
    assert client.head_blob("a/x", DIGEST) == len(DATA)

    # Then the storage got the URL as it stood, and no credentials
    assert [request.authorization for request in registry.seen] == ["Bearer secret"] * 2
    for request in elsewhere.seen:
        assert request.path == "/bucket/blob?X-Signature=a%2Fb%3D&x=%7E"
        assert request.authorization is None
        assert request.headers["Accept-Encoding"] == "identity"


def test_credentials_do_not_go_to_another_scheme_of_the_same_host(
    serve: Serve, connect: Connect, keys: KeyPair
) -> None:
    # The digest verifies what comes over plain http.
    elsewhere = serve(storage)
    registry = serve(lambda handler, _: handler.reply(307, Location=f"{elsewhere.url}/b"), tls=keys)
    client = connect(registry.url, StaticBearer("secret"), ca_path=str(keys.certificate_path))

    with client.open_blob("a/x", DIGEST) as stream:
        assert b"".join(stream) == DATA
    assert elsewhere.seen[0].authorization is None


def test_a_redirect_within_the_registry_keeps_the_credentials(serve: Serve, connect: Connect) -> None:
    def script(handler: Handler, request: Request) -> None:
        if request.path == "/moved":
            storage(handler, request)
        else:
            handler.reply(302, b"moved", Location="/moved")

    registry = serve(script)
    with connect(registry.url, StaticBearer("secret")).open_blob("a/x", DIGEST) as stream:
        assert b"".join(stream) == DATA
    assert [request.authorization for request in registry.seen] == ["Bearer secret"] * 2
    assert len(registry.clients) == 1


def test_credentials_once_left_behind_do_not_come_back(serve: Serve, connect: Connect) -> None:
    # Given a host that redirects back to a path of its choosing
    def script(handler: Handler, request: Request) -> None:
        if request.path == "/chosen":
            storage(handler, request)
        else:
            handler.reply(307, Location=f"{elsewhere.url}/")

    registry = serve(script)
    elsewhere = serve(lambda handler, _: handler.reply(307, Location=f"{registry.url}/chosen"))

    with connect(registry.url, StaticBearer("secret")).open_blob("a/x", DIGEST) as stream:
        assert b"".join(stream) == DATA
    assert [request.authorization for request in registry.seen] == ["Bearer secret", None]


def test_circles_end(serve: Serve, connect: Connect) -> None:
    registry = serve(lambda handler, request: handler.reply(302, Location=request.path))

    with pytest.raises(InvalidResponse, match="again and again"):
        connect(registry.url).open_blob("a/x", DIGEST)
    assert len(registry.seen) == 6


def test_a_listing_does_not_leave_tls(serve: Serve, connect: Connect, keys: KeyPair) -> None:
    plain = serve(lambda handler, _: handler.reply(200, {"tags": []}))
    registry = serve(lambda handler, _: handler.reply(302, Location=f"{plain.url}/tags"), tls=keys)

    with pytest.raises(InvalidResponse, match="from https to plain http"):
        connect(registry.url, ca_path=str(keys.certificate_path)).list_tags("a/x")
    assert plain.seen == []


@pytest.mark.parametrize("location", ["ftp://x/", "http:///", "http://[::", "javascript:1"])
def test_a_location_that_is_no_url_is_an_error(serve: Serve, connect: Connect, location: str) -> None:
    registry = serve(lambda handler, _: handler.reply(307, Location=location))

    with pytest.raises(InvalidResponse):
        connect(registry.url).open_blob("a/x", DIGEST)


def test_pushes_are_not_redirected(serve: Serve, connect: Connect) -> None:
    registry = serve(lambda handler, _: handler.reply(307, Location="/elsewhere"))

    with pytest.raises(InvalidResponse, match="redirect"):
        connect(registry.url).start_upload("a/x")
    assert len(registry.seen) == 1


@pytest.mark.parametrize(
    ("status", "kind"), [(401, ServerError), (403, ServerError), (404, ServerError), (429, TooManyRequests)]
)
def test_what_a_storage_says_is_no_word_of_the_registry(
    serve: Serve, connect: Connect, status: int, kind: type[RegistryError]
) -> None:
    # Given a storage that refuses, in the registry's own words even
    elsewhere = serve(lambda handler, _: handler.error(status, "MANIFEST_UNKNOWN", Retry_After="3"))
    registry = serve(lambda handler, _: handler.reply(307, Location=f"{elsewhere.url}/b"))
    client = connect(registry.url, StaticBearer("secret"))

    # When a manifest is asked for, then it is a failure and no evidence, and no credentials follow
    with pytest.raises(kind) as raised:
        client.get_manifest("a/x", "v1")
    assert raised.value.temporary
    assert not isinstance(raised.value, NotFound | Unauthorized)
    assert raised.value.retry_after == 3.0
    assert len(registry.seen) == len(elsewhere.seen) == 1


def test_the_registry_is_told_of_which_occasion_a_request_is(serve: Serve, connect: Connect) -> None:
    # Given a registry whose blobs are elsewhere
    elsewhere = serve(storage)
    registry = serve(lambda handler, _: handler.reply(307, Location=f"{elsewhere.url}/blob"))
    client = connect(registry.url, StaticBearer("secret"))

    # When it is asked for an occasion, and for none
    for id_ in ("an-id", None):
        with correlation.bound(id_), client.open_blob("a/x", DIGEST) as stream:
            assert b"".join(stream) == DATA

    # Then it alone was told
    assert [request.headers.get("X-Request-ID") for request in registry.seen] == ["an-id", None]
    assert [request.headers.get("X-Request-ID") for request in elsewhere.seen] == [None, None]


def test_the_registry_is_told_of_the_span_of_a_request_and_a_storage_is_not(serve: Serve, connect: Connect) -> None:
    # Given a registry whose blobs are elsewhere
    elsewhere = serve(storage)
    registry = serve(lambda handler, _: handler.reply(307, Location=f"{elsewhere.url}/bucket/blob?X-Signature=s3cret"))
    client = connect(registry.url, StaticBearer("s3cret"))

    # When a blob is read while spans are collected, and while they are not
    with collected() as spans, correlation.bound("1" * 32), client.open_blob("a/x", DIGEST) as stream:
        assert b"".join(stream) == DATA
    with client.open_blob("a/x", DIGEST) as stream:
        assert b"".join(stream) == DATA

    # Then there is a span of each request, in the trace of the occasion
    asked, stored = spans.all
    assert (asked.name, asked.kind, asked.trace_id) == ("GET /v2/<name>/blobs/<digest>", "CLIENT", "1" * 32)
    assert asked.attributes["http.response.status_code"] == 307
    assert (stored.name, stored.attributes["http.response.status_code"]) == ("GET", 200)
    assert stored.attributes["server.port"] != asked.attributes["server.port"]
    assert "s3cret" not in spans.text()

    # And the registry alone was told of its own
    told = [request.headers.get("traceparent") for request in registry.seen]
    assert told == [f"00-{'1' * 32}-{asked.span_id}-01", None]
    assert [request.headers.get("traceparent") for request in elsewhere.seen] == [None, None]


def test_a_registry_that_does_not_answer_is_a_span_that_failed(connect: Connect) -> None:
    with collected() as spans, pytest.raises(Unreachable):
        connect(f"http://127.0.0.1:{free_port()}").head_manifest("a/x", "v1")
    (asked,) = spans.all
    assert asked.error == asked.attributes["error.type"] == "unreachable"


@pytest.mark.parametrize("tail", ["", "\xe9"], ids=["ascii", "beyond"])
@pytest.mark.parametrize("first", ["registry", "elsewhere"])
def test_an_address_that_reads_two_ways_leads_nowhere(serve: Serve, connect: Connect, first: str, tail: str) -> None:
    # Given a registry that wants uploads at an address whose host is another, by who reads it
    elsewhere = serve(storage)

    def script(handler: Handler, request: Request) -> None:
        there = [registry.url, elsewhere.url.removeprefix("http://")]
        if first == "elsewhere":
            there = [elsewhere.url, registry.url.removeprefix("http://")]
        handler.reply(202, Location=f"{there[0]}\\@{there[1]}/u{tail}")

    registry = serve(script)

    # When an upload is to begin, Then it does not
    with pytest.raises(InvalidResponse):
        connect(registry.url, StaticBearer("secret")).start_upload("a/x")
    assert elsewhere.seen == []


_addresses = socket.getaddrinfo


def _here_alone(host: Any, *rest: Any, **more: Any) -> Any:
    """Made-up names are nobody's to look up."""
    if host != "127.0.0.1":
        raise socket.gaierror(socket.EAI_NONAME, "unknown")
    return _addresses(host, *rest, **more)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    location=st.one_of(
        st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\x00"), max_size=60),
        st.lists(
            st.sampled_from(["http://", "//", "HOST", "127.0.0.1", "@", ":", "\\", "/", "?", "#", "\xe9", "%00", " "]),
            max_size=8,
        ).map("".join),
    )
)
def test_wherever_a_location_leads_credentials_stay(
    serve: Serve, connect: Connect, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", _here_alone)

    # Given a registry that redirects, and another server on the same machine
    elsewhere = serve(storage)

    def script(handler: Handler, request: Request) -> None:
        if request.path.startswith("/v2/a/x/blobs"):
            host = elsewhere.url.removeprefix("http://")
            handler.reply(307, Location=location.replace("HOST", host).strip())
        else:
            storage(handler, request)

    registry = serve(script)

    # When a blob is asked for, Then it comes or an error of ours, and nobody else is told who we are
    with suppress(RegistryError):
        connect(registry.url, StaticBearer("secret"), read_timeout=2.0).open_blob("a/x", DIGEST).close()
    assert [request.authorization for request in elsewhere.seen] in ([], [None])
