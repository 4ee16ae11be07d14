from __future__ import annotations

import base64
import json
import threading
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest

from app.registry import (
    Anonymous,
    Basic,
    Challenge,
    InvalidResponse,
    Rejected,
    Scope,
    TooLarge,
    Unauthorized,
)
from tests.registry.conftest import Connect, Serve
from tests.registry.scripted import Handler, Request, Scripted
from tests.support.clock import Clock
from tests.support.keys import KeyPair

CREDENTIALS = f"Basic {base64.b64encode(b'geo:pa:ss').decode()}"


class Service:
    """A registry with a token service of its own, which answers `reply` and takes the tokens that it made."""

    def __init__(
        self,
        reply: dict[str, Any] | None = None,
        *,
        refuse_delete: bool = False,
        scope: str = "repository:a/x:metadata_read",
    ) -> None:
        self.reply = reply
        self.scope = scope
        self.refuse_delete = refuse_delete
        self.made = 0
        self.valid: set[str] = set()
        self.lock = threading.Lock()
        self.server: Scripted

    def __call__(self, handler: Handler, request: Request) -> None:
        if request.path.startswith("/token"):
            self._token(handler, request)
        elif request.authorization in self.valid:
            handler.reply(200, {"name": "a/x", "tags": []})
        else:
            scope = self.scope if "tags" in request.path else ""
            handler.error(
                401,
                "UNAUTHORIZED",
                WWW_Authenticate=f'Bearer realm="{self.server.url}/token?account=1",service="svc",scope="{scope}"',
            )

    def _token(self, handler: Handler, request: Request) -> None:
        if self.refuse_delete and any(scope.endswith(":delete") for scope in scopes(request)):
            handler.reply(400, b"unknown action")
            return
        with self.lock:
            self.made += 1
            token = f"token-{self.made}"
            self.valid.add(f"Bearer {token}")
        handler.reply(200, {"token": token, "expires_in": 300} if self.reply is None else self.reply)


def scopes(request: Request) -> list[str]:
    return parse_qs(urlsplit(request.path).query).get("scope", [])


def start(serve: Serve, service: Service) -> Scripted:
    service.server = serve(service)
    return service.server


def test_credentials_are_exchanged_for_a_token_once(serve: Serve, connect: Connect) -> None:
    # Given a registry that names a token service
    registry = start(serve, Service())
    client = connect(registry.url, Basic("geo", "pa:ss"))

    # When it is asked twice for the same
    client.list_tags("a/x")
    client.list_tags("a/x")

    # Then there was one challenge, one token, and its scopes were the challenge's first and ours
    assert [request.path.partition("?")[0] for request in registry.seen] == [
        "/v2/a/x/tags/list",
        "/token",
        "/v2/a/x/tags/list",
        "/v2/a/x/tags/list",
    ]
    assert registry.seen[0].authorization == registry.seen[1].authorization == CREDENTIALS
    query = parse_qs(urlsplit(registry.seen[1].path).query)
    assert query["service"] == ["svc"]
    assert query["account"] == ["1"]
    assert query["scope"] == ["repository:a/x:metadata_read", "repository:a/x:pull"]
    assert registry.seen[2].authorization == registry.seen[3].authorization == "Bearer token-1"


@pytest.mark.parametrize(
    ("actions", "asked"),
    [(("pull",), ["repository:a/x:pull"]), (("pull", "push"), ["repository:a/x:pull,push", "repository:a/x:pull"])],
)
def test_a_challenge_does_not_widen_what_is_asked_for(
    serve: Serve, connect: Connect, actions: tuple[str, ...], asked: list[str]
) -> None:
    # Given a registry that wants more of us than the request needs
    wide = "repository:a/x:pull,push,delete,* repository:b/y:pull registry:catalog:*"
    registry = start(serve, Service(scope=wide))

    # When we read there, Then no token is for what this client was not made for, or for another repository
    connect(registry.url, Basic("geo", "pa:ss"), actions=actions).list_tags("a/x")
    assert [scopes(request) for request in registry.seen if request.path.startswith("/token")] == [asked]


def test_once_the_service_is_known_other_scopes_need_no_challenge(serve: Serve, connect: Connect) -> None:
    registry = start(serve, Service())
    client = connect(registry.url, Basic("geo", "pa:ss"))
    client.ping()
    registry.seen.clear()

    client.list_tags("b/y")

    assert [request.path.partition("?")[0] for request in registry.seen] == ["/token", "/v2/b/y/tags/list"]
    assert scopes(registry.seen[0]) == ["repository:b/y:pull"]


def test_nobody_gets_an_anonymous_token(serve: Serve, connect: Connect) -> None:
    registry = start(serve, Service())

    connect(registry.url, Anonymous()).list_tags("a/x")

    assert [request.authorization for request in registry.seen] == [None, None, "Bearer token-1"]


def test_a_refused_token_is_renewed(serve: Serve, connect: Connect) -> None:
    service = Service()
    registry = start(serve, service)
    client = connect(registry.url, Basic("geo", "pa:ss"))
    client.list_tags("a/x")

    service.valid.clear()
    client.list_tags("a/x")

    assert service.made == 2


@pytest.mark.parametrize(
    ("reply", "lifetime"),
    [
        ({"token": "t", "expires_in": 300}, 270.0),
        ({"access_token": "t", "expires_in": 40}, 30.0),
        ({"token": "t"}, 45.0),
        ({"token": "t", "expires_in": -1}, 45.0),
        (
            {"access_token": jwt.encode({"nbf": 1000, "exp": 5500}, "k" * 32)},
            4470.0,
        ),
    ],
)
def test_a_token_is_kept_as_long_as_the_service_says(reply: dict[str, Any], lifetime: float) -> None:
    # Given a token service that answers so
    now = [0.0]
    basic = Basic("u", "p", clock=lambda: now[0])
    fetched: list[str] = []

    def fetch(method: str, url: str, **_: object) -> bytes:
        fetched.append(url)
        return json.dumps(reply).encode()

    challenge = Challenge("https://r.example/v2/", "bearer", "https://r.example/token", "svc")
    basic.renew(Scope("a/x", ("pull",)), challenge, None, fetch)

    # When the token is used up to its early end, and past it
    now[0] = lifetime - 0.1
    basic.authorization(Scope("a/x", ("pull",)), fetch)
    assert len(fetched) == 1
    now[0] = lifetime
    basic.authorization(Scope("a/x", ("pull",)), fetch)
    assert len(fetched) == 2


def test_what_has_ended_is_not_kept() -> None:
    # Given tokens of two scopes, a minute apart
    clock = Clock(0.0)
    basic = Basic("u", "p", clock=clock)
    challenge = Challenge("https://r.example/v2/", "bearer", "https://r.example/token", "svc")

    def fetch(method: str, url: str, **_: object) -> bytes:
        return b'{"token": "t", "expires_in": 300}'

    basic.renew(Scope("a/x", ("pull",)), challenge, None, fetch)
    clock.now = 60.0
    basic.renew(Scope("a/y", ("pull",)), challenge, None, fetch)

    # When the first has ended, and a third is asked for
    clock.now = 300.0
    basic.renew(Scope("a/z", ("pull",)), challenge, None, fetch)

    # Then it is gone
    assert [scope.repository for scope in basic._tokens._kept] == ["a/y", "a/z"]


def test_many_threads_share_one_request_for_a_token(serve: Serve, connect: Connect) -> None:
    service = Service()
    registry = start(serve, service)
    client = connect(registry.url, Basic("geo", "pa:ss"))
    client.ping()

    threads = [threading.Thread(target=client.list_tags, args=("a/x",)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # One for the ping, one for the eight.
    assert service.made == 2


def test_delete_is_asked_as_anything_where_the_service_knows_no_delete(serve: Serve, connect: Connect) -> None:
    registry = start(serve, Service(refuse_delete=True))

    connect(registry.url, Basic("geo", "pa:ss")).delete_manifest("a/x", "v1")

    asked = [scopes(request) for request in registry.seen if request.path.startswith("/token")]
    assert asked == [["repository:a/x:delete"], ["repository:a/x:*"]]


def test_a_registry_that_wants_basic_gets_it_and_is_not_asked_twice(serve: Serve, connect: Connect) -> None:
    def script(handler: Handler, request: Request) -> None:
        if request.authorization == CREDENTIALS:
            handler.reply(200)
        else:
            handler.error(401, "UNAUTHORIZED", WWW_Authenticate='Basic realm="x"')

    registry = serve(script)
    connect(registry.url, Basic("geo", "pa:ss")).ping()
    assert len(registry.seen) == 1

    with pytest.raises(Unauthorized):
        connect(registry.url, Basic("geo", "wrong")).ping()
    assert len(registry.seen) == 2


def test_a_challenge_that_is_missing_is_looked_for_at_the_root(serve: Serve, connect: Connect) -> None:
    service = Service()

    def script(handler: Handler, request: Request) -> None:
        if "tags" in request.path and request.authorization not in service.valid:
            handler.reply(401)
        else:
            service(handler, request)

    service.server = registry = serve(script)
    connect(registry.url, Anonymous()).list_tags("a/x")

    assert [request.path.partition("?")[0] for request in registry.seen] == [
        "/v2/a/x/tags/list",
        "/v2/",
        "/token",
        "/v2/a/x/tags/list",
    ]
    assert registry.seen[1].authorization is None


def test_no_credentials_go_to_a_plain_http_service_of_an_https_registry(
    serve: Serve, connect: Connect, keys: KeyPair
) -> None:
    # Given an https registry whose challenge names an http realm
    plain = serve(lambda handler, _: handler.reply(200, {"token": "t"}))
    registry = serve(
        lambda handler, _: handler.error(401, WWW_Authenticate=f'Bearer realm="{plain.url}/token"'), tls=keys
    )

    # When it is asked, then the service never hears of it
    with pytest.raises(InvalidResponse, match="plain http") as raised:
        connect(registry.url, Basic("geo", "pa:ss"), ca_path=str(keys.certificate_path)).ping()
    assert raised.value.reason == "insecure_realm"
    assert plain.seen == []


@pytest.mark.parametrize("realm", ["ftp://r.example/token", "token", "http://u:p@r.example/token"])
def test_a_realm_that_is_no_url_is_refused(serve: Serve, connect: Connect, realm: str) -> None:
    registry = serve(lambda handler, _: handler.error(401, WWW_Authenticate=f'Bearer realm="{realm}"'))

    with pytest.raises(InvalidResponse, match="no URL"):
        connect(registry.url, Basic("geo", "pa:ss")).ping()


def test_a_redirect_of_the_token_service_is_not_followed(serve: Serve, connect: Connect) -> None:
    other = serve(lambda handler, _: handler.reply(200, {"token": "t"}))
    service = Service()

    def script(handler: Handler, request: Request) -> None:
        if request.path.startswith("/token"):
            handler.reply(302, Location=f"{other.url}/token")
        else:
            service(handler, request)

    service.server = registry = serve(script)
    with pytest.raises(InvalidResponse, match="redirect"):
        connect(registry.url, Basic("geo", "pa:ss")).ping()
    assert other.seen == []


@pytest.mark.parametrize("reply", [{}, {"token": ""}, {"token": 5}, {"token": "a b"}, {"token": "a\nb"}])
def test_an_answer_without_a_token_is_an_error(serve: Serve, connect: Connect, reply: dict[str, Any]) -> None:
    registry = start(serve, Service(reply))

    with pytest.raises(InvalidResponse, match="without a token"):
        connect(registry.url, Anonymous()).ping()


def test_an_answer_of_the_token_service_is_limited(serve: Serve, connect: Connect) -> None:
    registry = start(serve, Service({"token": "t" * 70_000}))

    with pytest.raises(TooLarge):
        connect(registry.url, Anonymous()).ping()


def test_refused_credentials_are_said_as_such(serve: Serve, connect: Connect) -> None:
    service = Service()

    def script(handler: Handler, request: Request) -> None:
        if request.path.startswith("/token"):
            handler.error(401, "UNAUTHORIZED")
        else:
            service(handler, request)

    service.server = registry = serve(script)
    with pytest.raises(Unauthorized, match=r"127\.0\.0\.1:\d+/token") as raised:
        connect(registry.url, Basic("geo", "pa:ss")).list_tags("a/x")
    assert "pa:ss" not in str(raised.value)


def test_another_refusal_of_the_service_is_handed_on(serve: Serve, connect: Connect) -> None:
    service = Service()

    def script(handler: Handler, request: Request) -> None:
        if request.path.startswith("/token"):
            handler.reply(400, b"no such service")
        else:
            service(handler, request)

    service.server = registry = serve(script)
    with pytest.raises(Rejected, match="no such service"):
        connect(registry.url, Anonymous()).list_tags("a/x")
