"""A token service of our own choice: the registry is never told the credentials, and its realm is not asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

import pytest

from app.registry import Denied, OwnTokenService, RegistryClient, RegistryError, Unauthorized
from tests.registry.conftest import Serve
from tests.registry.scripted import Handler, Request

REALM = "https://primary.example.com/jwt/auth"


class Endpoint:
    """Gives tokens, each another, and remembers what was asked."""

    def __init__(self, refusal: RegistryError | None = None) -> None:
        self.refusal = refusal
        self.asked: list[tuple[str, Mapping[str, str]]] = []

    def __call__(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, form: Mapping[str, str] | None = None
    ) -> bytes:
        self.asked.append((url, headers or {}))
        if self.refusal is not None:
            raise self.refusal
        return json.dumps({"token": f"t{len(self.asked)}", "expires_in": 300}).encode()


class Registry:
    """Wants one of these tokens, and names a realm where nobody listens."""

    def __init__(self, *valid: str, error: str = "") -> None:
        self.valid = {f"Bearer {token}" for token in valid}
        self.error = error
        self.authorizations: list[str | None] = []

    def __call__(self, handler: Handler, request: Request) -> None:
        self.authorizations.append(request.authorization)
        if not self.valid or request.authorization in self.valid:
            handler.reply(200, {"name": "a/x", "tags": ["v1"]})
            return
        challenge = 'Bearer realm="http://127.0.0.1:9/token",service="svc",scope="repository:a/x:pull"'
        if self.error and request.authorization:
            challenge += f',error="{self.error}"'
        handler.error(401, "UNAUTHORIZED", WWW_Authenticate=challenge)


def client(url: str, endpoint: Endpoint) -> RegistryClient:
    return RegistryClient(url, OwnTokenService("berlin", "secret", REALM, endpoint))


def test_a_registry_that_asks_gets_a_token_of_ours(serve: Serve) -> None:
    # Given a registry that wants a token
    registry, endpoint = Registry("t1"), Endpoint()
    with client(serve(registry).url, endpoint) as asking:
        # When it is asked twice
        assert [asking.list_tags("a/x"), asking.list_tags("a/x")] == [["v1"], ["v1"]]

    # Then our service was asked once, for what the registry wants, and the registry has seen tokens alone
    ((url, headers),) = endpoint.asked
    assert url.startswith(f"{REALM}?")
    assert parse_qs(urlsplit(url).query) == {"service": ["svc"], "scope": ["repository:a/x:pull"]}
    assert headers["Authorization"].startswith("Basic ")
    assert registry.authorizations == [None, "Bearer t1", "Bearer t1"]


def test_a_registry_that_does_not_ask_gets_none(serve: Serve) -> None:
    endpoint = Endpoint()
    with client(serve(Registry()).url, endpoint) as asking:
        assert asking.list_tags("a/x") == ["v1"]
    assert endpoint.asked == []


def test_a_token_that_is_refused_is_replaced_once(serve: Serve) -> None:
    # Given a registry whose key was changed after our first token
    registry, endpoint = Registry("t1"), Endpoint()
    with client(serve(registry).url, endpoint) as asking:
        asking.list_tags("a/x")
        registry.valid = {"Bearer t2"}
        assert asking.list_tags("a/x") == ["v1"]
        registry.valid = {"Bearer never"}
        with pytest.raises(Unauthorized):
            asking.list_tags("a/x")
    assert len(endpoint.asked) == 3


def test_no_other_token_is_asked_for_where_it_would_say_the_same(serve: Serve) -> None:
    registry, endpoint = Registry("t1", error="insufficient_scope"), Endpoint()
    with client(serve(registry).url, endpoint) as asking:
        asking.list_tags("a/x")
        registry.valid = {"Bearer never"}
        with pytest.raises(Unauthorized):
            asking.list_tags("a/x")
    assert len(endpoint.asked) == 1


def test_what_our_service_refuses_is_told_in_its_words(serve: Serve) -> None:
    endpoint = Endpoint(Denied("site berlin may only pull what it replicates"))
    with client(serve(Registry("t1")).url, endpoint) as asking, pytest.raises(Denied, match="site berlin"):
        asking.list_tags("a/x")
