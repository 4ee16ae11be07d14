from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest

from app.registry import (
    Authenticator,
    Basic,
    Denied,
    InvalidResponse,
    NotFound,
    RegistryError,
    Rejected,
    ServerError,
    StaticBearer,
    TimedOut,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    Unsupported,
)
from app.registry.answers import retry_after
from app.registry.errors import EXCERPT_LIMIT
from tests.registry.conftest import Connect, Serve
from tests.registry.scripted import Handler, Request

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "codes", "kind", "reason", "temporary"),
    [
        (400, [], Rejected, "rejected", False),
        (400, ["MANIFEST_INVALID"], Rejected, "manifest_invalid", False),
        (400, ["SOMETHING_NEW"], Rejected, "rejected", False),
        (400, ["MANIFEST_BLOB_UNKNOWN"], Rejected, "manifest_blob_unknown", True),
        (400, ["TOOMANYREQUESTS"], TooManyRequests, "too_many_requests", True),
        (400, ["UNSUPPORTED"], Unsupported, "unsupported", False),
        (401, ["DENIED"], Unauthorized, "unauthorized", True),
        (403, ["UNSUPPORTED"], Denied, "denied", True),
        (404, ["MANIFEST_UNKNOWN"], NotFound, "not_found", False),
        (404, ["NAME_UNKNOWN"], NotFound, "not_found", False),
        (404, [], NotFound, "not_found", True),
        (404, ["NOT_FOUND"], NotFound, "not_found", True),
        (404, ["BLOB_UPLOAD_INVALID"], Rejected, "upload_lost", True),
        (404, ["BLOB_UPLOAD_UNKNOWN"], Rejected, "upload_lost", True),
        (405, [], Unsupported, "unsupported", False),
        (408, [], TimedOut, "timeout", True),
        (412, ["PRECONDITION"], Rejected, "precondition", False),
        (413, [], TooLarge, "too_large", False),
        (416, [], Rejected, "range", True),
        (429, [], TooManyRequests, "too_many_requests", True),
        (500, [], ServerError, "server_error", True),
        (500, ["UNKNOWN", "UNKNOWN", "MANIFEST_BLOB_UNKNOWN"], ServerError, "manifest_blob_unknown", False),
        (503, ["UNAVAILABLE"], ServerError, "server_error", True),
        (202, [], InvalidResponse, "invalid_response", True),
        (302, [], InvalidResponse, "redirect", True),
    ],
)
def test_status_and_codes_become_a_type(
    serve: Serve,
    connect: Connect,
    status: int,
    codes: list[str],
    kind: type[RegistryError],
    reason: str,
    temporary: bool,
) -> None:
    # Given a registry that refuses
    registry = serve(lambda handler, _: handler.error(status, *codes))

    # When it is asked
    with pytest.raises(RegistryError) as raised:
        connect(registry.url).list_tags("a/x")

    # Then the error is of that type, and says all that is known
    error = raised.value
    assert (type(error), error.reason, error.temporary) == (kind, reason, temporary)
    assert (error.status, list(error.codes), error.method) == (status, codes, "GET")
    assert error.url == f"{registry.url}/v2/a/x/tags/list"
    line = str(error)
    assert line.startswith(f"GET 127.0.0.1:{registry.port}/v2/a/x/tags/list: HTTP {status}")
    assert all(code in line for code in codes)


def test_a_body_that_is_not_json_is_quoted_in_short(serve: Serve, connect: Connect) -> None:
    page = b"<html>\n  <h1>Bad gateway</h1>\n" + b"x" * 200_000
    registry = serve(lambda handler, _: handler.reply(502, page))

    with pytest.raises(ServerError, match="<html> <h1>Bad gateway</h1> xxx") as raised:
        connect(registry.url).ping()
    assert len(str(raised.value)) < 600
    assert len(raised.value.body) == 64 * 1024


def test_codes_are_quoted_in_short_too(serve: Serve, connect: Connect) -> None:
    errors = [{"code": "UNKNOWN" * 20, "message": "no"} for _ in range(300)]
    registry = serve(lambda handler, _: handler.reply(400, {"errors": errors}))

    with pytest.raises(RegistryError, match="UNKNOWNUNKNOWN") as raised:
        connect(registry.url).ping()
    assert len(str(raised.value)) < 900


@pytest.mark.parametrize("body", [b"[1]", b'{"errors":null}', b'{"errors":[1,{"code":2}]}', b"[" * 60_000, b"\xff"])
def test_any_body_can_be_read(serve: Serve, connect: Connect, body: bytes) -> None:
    registry = serve(lambda handler, _: handler.reply(404, body))

    with pytest.raises(NotFound) as raised:
        connect(registry.url).get_manifest("a/x", "v1")
    assert not raised.value.witnessed
    assert raised.value.codes == ()


@pytest.mark.parametrize(
    ("code", "message", "witnessed"),
    [
        ("MANIFEST_UNKNOWN", "manifest unknown", True),
        # Quay's, of a tag that was deleted.
        ("TAG_EXPIRED", "Tag v1 was deleted or has expired. To pull, revive via time machine", True),
        # Harbor's, of everything: of what is in a project it is evidence, of the project none.
        ("NOT_FOUND", "artifact library/app:v1 not found", True),
        ("NOT_FOUND", "repository library/app not found", True),
        ("NOT_FOUND", "project library not found", False),
        ("NOT_FOUND", "no route", False),
        ("UNKNOWN", "artifact library/app:v1 not found", False),
    ],
)
def test_whose_word_for_absence_is_evidence(
    serve: Serve, connect: Connect, code: str, message: str, witnessed: bool
) -> None:
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    registry = serve(lambda handler, _: handler.reply(404, body))

    with pytest.raises(NotFound, match=code) as raised:
        connect(registry.url).get_manifest("library/app", "v1")
    assert raised.value.witnessed is witnessed
    assert raised.value.temporary is not witnessed


def test_an_announced_body_that_never_comes_is_not_waited_for(serve: Serve, connect: Connect) -> None:
    # Given a registry that announces the blob's length on 416 and sends nothing, as Distribution does
    def script(handler: Handler, request: Request) -> None:
        handler.send_response(416)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.rfile.read(1)

    # When a range is asked past the end, then the answer is there long before the idle limit
    client = connect(serve(script).url, read_timeout=60.0)
    with pytest.raises(Rejected, match="416"):
        client.open_blob("a/x", f"sha256:{'0' * 64}", offset=5)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("1", 1.0),
        ("2.5", 2.5),
        ("-5", 0.0),
        ("86400", 3600.0),
        ("inf", 3600.0),
        ("nan", None),
        ("Fri, 01 May 2026 12:00:30 GMT", 30.0),
        ("Fri, 01 May 2026 11:00:00 GMT", 0.0),
        ("Sat, 02 May 2026 12:00:00 GMT", 3600.0),
        ("9" * 400, 3600.0),
        ("1e999", 3600.0),
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", None),
        ("Wed, 21 Oct 2026 07:28:00 +99999999999999999999", None),
        ("Fri, 31 Dec 9999 23:59:59 -2300", 3600.0),
        ("Wed, 21 Oct 2026 99:28:00 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, expected: float | None) -> None:
    assert retry_after(value, NOW) == expected


def test_retry_after_is_handed_on(serve: Serve, connect: Connect) -> None:
    registry = serve(lambda handler, _: handler.error(429, "TOOMANYREQUESTS", Retry_After="7"))

    with pytest.raises(TooManyRequests) as raised:
        connect(registry.url).head_manifest("a/x", "v1")
    assert raised.value.retry_after == 7.0


@pytest.mark.parametrize(
    "authenticator",
    [StaticBearer("a-very-secret-token"), Basic("geo", "a-very-secret-password")],
    ids=["bearer", "basic"],
)
@pytest.mark.parametrize("place", ["words", "code", "page", "challenge", "far back"])
def test_what_a_registry_quotes_of_our_credentials_is_not_told(
    serve: Serve, connect: Connect, authenticator: Authenticator, place: str
) -> None:
    # Given a server that quotes in its errors what it was sent
    def script(handler: Handler, request: Request) -> None:
        header = request.authorization or ""
        decoded = base64.b64decode(header.removeprefix("Basic ") + "==").decode("latin-1") if "Basic" in header else ""
        quoted = f"{header} {decoded}"
        if place == "page":
            handler.reply(500, f"<html>Authorization: {quoted}</html>".encode())
        elif place == "far back":
            # Where it is cut in two.
            handler.reply(500, b"x" * (EXCERPT_LIMIT - 12) + quoted.encode())
        elif place == "challenge":
            handler.reply(401, WWW_Authenticate=f'Basic realm="{quoted}"')
        else:
            errors = [{"code": quoted if place == "code" else "UNKNOWN", "message": quoted}]
            handler.reply(400, {"errors": errors})

    client = connect(serve(script).url, authenticator)

    # When it refuses something
    with pytest.raises(RegistryError) as raised:
        client.list_tags("a/x")

    # Then what is said of it does not hold them, in no form and in no part
    said = f"{raised.value} {raised.value!r}"
    basic = base64.b64encode(b"geo:a-very-secret-password").decode()
    for secret in ("a-very-secret", basic, basic[:12]):
        assert secret not in said
