"""An account whose credential is renewed elsewhere: what is shown when, and to whom."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from app.registry import (
    Account,
    Anonymous,
    Basic,
    Challenge,
    Credential,
    Denied,
    Fetch,
    Fixed,
    InvalidResponse,
    Issued,
    Rejected,
    Scope,
    ServerError,
    Unauthorized,
    Use,
)
from tests.registry.conftest import Connect, Serve
from tests.registry.scripted import Handler, Request, Scripted

PULL = Scope("a/x", ("pull",))


class Renewable:
    """Gives one credential after the other, as they are refused."""

    def __init__(self, *credentials: Credential) -> None:
        self.left = list(credentials)
        self.refused: list[Credential] = []

    def current(self, fetch: Fetch) -> Credential:
        return self.left[0]

    def renewed(self, rejected: Credential, fetch: Fetch) -> Credential | None:
        self.refused.append(rejected)
        if len(self.left) == 1:
            return None
        self.left.pop(0)
        return self.left[0]


class Registry:
    """Takes the headers in `valid`; names its token service unless it has none, which takes what `granting` says."""

    def __init__(self, valid: set[str], granting: Callable[[Request], tuple[int, Any]] | None = None) -> None:
        self.valid = valid
        self.granting = granting
        self.server: Scripted

    def __call__(self, handler: Handler, request: Request) -> None:
        if request.path.startswith("/token"):
            assert self.granting is not None
            status, reply = self.granting(request)
            handler.reply(status, reply)
        elif request.authorization in self.valid:
            handler.reply(200, {"name": "a/x", "tags": ["v1"]})
        elif self.granting is None:
            handler.error(401, "UNAUTHORIZED", WWW_Authenticate='Basic realm="registry"')
        else:
            challenge = f'Bearer realm="{self.server.url}/token",service="svc",scope="repository:a/x:pull"'
            handler.error(401, "UNAUTHORIZED", WWW_Authenticate=challenge)


def started(serve: Serve, registry: Registry) -> Scripted:
    registry.server = serve(registry)
    return registry.server


def test_a_credential_never_prints_its_secret() -> None:
    credential = Credential("geo", "hidden-1", Use.ACCESS)
    assert "hidden" not in f"{credential!r} {credential} {Issued('hidden-2', 1.0)!r}"


def test_a_refresh_token_goes_to_the_token_service_alone_and_in_a_form(serve: Serve, connect: Connect) -> None:
    # Given a registry whose token service gives access tokens for a refresh token
    server = started(serve, Registry({"Bearer t"}, lambda _: (200, {"access_token": "t", "expires_in": 300})))
    client = connect(server.url, Account(Fixed(Credential("", "refresh-1", Use.REFRESH))))

    # When it is asked
    assert client.list_tags("a/x") == ["v1"]

    # Then the registry was told nothing before, and the service by POST, the scope of the challenge among it
    assert [request.authorization for request in server.seen] == [None, None, "Bearer t"]
    asked = server.seen[1]
    assert (asked.method, asked.path) == ("POST", "/token")
    assert parse_qs(asked.body.decode()) == {
        "grant_type": ["refresh_token"],
        "service": ["svc"],
        "scope": ["repository:a/x:pull"],
        "client_id": ["geo-registry"],
        "refresh_token": ["refresh-1"],
    }


@pytest.mark.parametrize("status", [400, 401])
def test_a_refresh_token_that_has_ended_is_renewed(serve: Serve, connect: Connect, status: int) -> None:
    # Given a token service that does not take the first refresh token any more
    def granting(request: Request) -> tuple[int, Any]:
        fresh = parse_qs(request.body.decode())["refresh_token"] == ["refresh-2"]
        return (200, {"access_token": "t"}) if fresh else (status, {"error": "invalid_grant"})

    server = started(serve, Registry({"Bearer t"}, granting))
    account = Renewable(Credential("", "refresh-1", Use.REFRESH), Credential("", "refresh-2", Use.REFRESH))

    # When the registry is asked, Then the next one is used
    assert connect(server.url, Account(account)).list_tags("a/x") == ["v1"]
    assert [each.secret for each in account.refused] == ["refresh-1"]


@pytest.mark.parametrize("quoted", ["refresh+/=1234", "refresh%2B%2F%3D1234"])
def test_a_token_service_that_quotes_a_token_is_not_quoted(serve: Serve, connect: Connect, quoted: str) -> None:
    # Given a token service that says in its refusal what it was given
    refusal = {"error": "invalid_grant", "error_description": f"{quoted} was revoked"}
    server = started(serve, Registry(set(), lambda _: (401, refusal)))
    account = Account(Fixed(Credential("", "refresh+/=1234", Use.REFRESH)))

    # When it is asked, Then the error says all but that
    with pytest.raises(Unauthorized, match="was revoked") as raised:
        connect(server.url, account).list_tags("a/x")
    assert "1234" not in str(raised.value)


def test_a_password_is_not_renewed_for_a_refusal_of_something_else(serve: Serve, connect: Connect) -> None:
    # Given a token service that refuses the request, not who we are
    server = started(serve, Registry(set(), lambda _: (400, b"no such service")))
    account = Renewable(Credential("geo", "one"), Credential("geo", "two"))

    # When the registry is asked, Then that is the error
    with pytest.raises(Rejected, match="no such service"):
        connect(server.url, Account(account)).list_tags("a/x")
    assert account.refused == []


def test_an_access_token_is_shown_directly(serve: Serve, connect: Connect) -> None:
    # Given a registry that takes the cloud's own token
    server = started(serve, Registry({"Bearer cloud-1"}, lambda _: (500, b"")))

    # When it is asked, Then there is one request
    connect(server.url, Account(Fixed(Credential("oauth2accesstoken", "cloud-1", Use.ACCESS)))).list_tags("a/x")
    assert len(server.seen) == 1


def test_an_access_token_is_exchanged_where_the_registry_wants_that(serve: Serve, connect: Connect) -> None:
    # Given one that takes tokens of its own service only
    credential = Credential("oauth2accesstoken", "cloud-1", Use.ACCESS)
    server = started(serve, Registry({"Bearer t"}, lambda _: (200, {"token": "t", "expires_in": 300})))
    client = connect(server.url, Account(Fixed(credential)))

    # When it is asked twice
    client.list_tags("a/x")
    client.list_tags("a/x")

    # Then the service got it as a password, once, and nothing is shown in vain from then on
    assert [request.authorization for request in server.seen] == [
        "Bearer cloud-1",
        credential.basic,
        "Bearer t",
        "Bearer t",
    ]


def test_an_access_token_is_a_password_where_the_registry_wants_one(serve: Serve, connect: Connect) -> None:
    credential = Credential("oauth2accesstoken", "cloud-1", Use.ACCESS)
    server = started(serve, Registry({credential.basic}))
    client = connect(server.url, Account(Fixed(credential)))
    client.list_tags("a/x")
    client.list_tags("a/x")
    assert [request.authorization for request in server.seen] == ["Bearer cloud-1", credential.basic, credential.basic]


def test_a_password_that_has_ended_is_renewed_and_only_once(serve: Serve, connect: Connect) -> None:
    # Given a registry that takes Basic, as ECR does, and neither of our passwords
    one, two = Credential("AWS", "one"), Credential("AWS", "two")
    registry = Registry(set())
    server = started(serve, registry)
    account = Renewable(one, two)
    client = connect(server.url, Account(account))

    # When it is asked, Then the second is tried, and that is all
    with pytest.raises(Unauthorized):
        client.list_tags("a/x")
    assert [request.authorization for request in server.seen] == [one.basic, two.basic]
    assert account.refused == [one]


class Keeping:
    """Has everything in common with whoever has the same."""

    def __init__(self) -> None:
        self.kept: dict[str, Issued] = {}
        self.issued = 0

    def obtain(self, name: str, issue: Callable[[], Issued], besides: str | None = None) -> Issued:
        kept = self.kept.get(name)
        if kept is None or kept.secret == besides:
            self.issued += 1
            kept = self.kept[name] = issue()
        return kept


def test_tokens_are_had_in_common(serve: Serve, connect: Connect) -> None:
    # Given two processes of one account
    made = [0]

    def granting(_: Request) -> tuple[int, Any]:
        made[0] += 1
        return 200, {"token": f"t{made[0]}", "expires_in": 300}

    registry = Registry({"Bearer t1"}, granting)
    server, share = started(serve, registry), Keeping()
    first, second = (connect(server.url, Basic("geo", "pass", share=share)) for _ in range(2))

    # When both ask, Then one token does
    assert first.list_tags("a/x") == second.list_tags("a/x") == ["v1"]
    assert made == [1]

    # And one that is refused is not taken again
    registry.valid = {"Bearer t2"}
    assert first.list_tags("a/x") == second.list_tags("a/x") == ["v1"]
    assert made == [2]


def test_another_token_service_gets_its_own_tokens() -> None:
    # Given a token of one service that is had in common
    share = Keeping()

    def fetch(method: str, url: str, **_: object) -> bytes:
        return json.dumps({"token": urlsplit(url).hostname, "expires_in": 300}).encode()

    def header(realm: str) -> str | None:
        challenge = Challenge("https://r.example/v2/", "bearer", realm, "svc")
        return Anonymous(share=share).renew(PULL, challenge, None, fetch)

    # When the registry names another, Then what the first gave is not shown
    assert header("https://one.example/token") == "Bearer one.example"
    assert header("https://two.example/token") == "Bearer two.example"


def test_a_token_is_used_to_its_end_while_the_service_fails() -> None:
    # Given a token for five minutes, and a service that fails from then on
    now, asked, working = [0.0], [0], [True]

    def fetch(method: str, url: str, **_: object) -> bytes:
        asked[0] += 1
        if not working[0]:
            raise ServerError("in trouble", status=503)
        return json.dumps({"token": f"t{asked[0]}", "expires_in": 300}).encode()

    basic = Basic("geo", "pass", clock=lambda: now[0])
    basic.renew(PULL, Challenge("https://r.example/v2/", "bearer", "https://r.example/token", "svc"), None, fetch)
    working[0] = False

    # When it is time to renew it, Then the former is used, and the service is left alone for a bit
    now[0] = 271.0
    assert [basic.authorization(PULL, fetch) for _ in range(5)] == ["Bearer t1"] * 5
    assert asked == [2]
    now[0] = 276.5
    assert basic.authorization(PULL, fetch) == "Bearer t1"
    assert asked == [3]

    # And once it has ended there is nothing to show
    now[0] = 300.0
    with pytest.raises(ServerError):
        basic.authorization(PULL, fetch)

    # And it is renewed as soon as that goes
    working[0] = True
    assert basic.authorization(PULL, fetch) == "Bearer t5"


def test_a_token_that_was_refused_is_not_used_for_being_young() -> None:
    # Given a fresh token that the registry refuses, and a service that fails
    replies: list[bytes] = [json.dumps({"token": "t1", "expires_in": 300}).encode()]

    def fetch(method: str, url: str, **_: object) -> bytes:
        if not replies:
            raise ServerError("in trouble", status=503)
        return replies.pop()

    basic = Basic("geo", "pass", clock=lambda: 0.0)
    challenge = Challenge("https://r.example/v2/", "bearer", "https://r.example/token", "svc")
    assert basic.renew(PULL, challenge, None, fetch) == "Bearer t1"
    with pytest.raises(ServerError):
        basic.renew(PULL, challenge, "Bearer t1", fetch)


@pytest.mark.parametrize("realm", ["http://[::1", "https://r.example:port/token"])
def test_a_realm_that_cannot_be_read_is_no_url(serve: Serve, connect: Connect, realm: str) -> None:
    server = serve(lambda handler, _: handler.error(401, WWW_Authenticate=f'Bearer realm="{realm}"'))
    with pytest.raises(InvalidResponse):
        connect(server.url, Basic("geo", "pass")).ping()


class Denying:
    """Takes the headers in `valid`; to all others it says 403, as Amazon does to a password that has ended."""

    def __init__(self, *valid: str) -> None:
        self.valid = set(valid)

    def __call__(self, handler: Handler, request: Request) -> None:
        if request.authorization in self.valid:
            handler.reply(200, {"name": "a/x", "tags": ["v1"]})
        else:
            handler.error(403, "DENIED")


def test_a_credential_that_has_ended_may_be_answered_with_403(serve: Serve, connect: Connect) -> None:
    # Given a registry that takes the second credential alone
    old, new = Credential("AWS", "one"), Credential("AWS", "two")
    server = serve(Denying(new.basic))
    account = Renewable(old, new)

    # When it is asked, Then with the second one, which is shown from then on
    client = connect(server.url, Account(account))
    assert client.list_tags("a/x") == ["v1"]
    assert client.list_tags("a/x") == ["v1"]
    assert [each.authorization for each in server.seen] == [old.basic, new.basic, new.basic]
    assert account.refused == [old]


def test_who_lacks_a_right_does_not_ask_for_credentials_again_and_again(serve: Serve, connect: Connect) -> None:
    # Given a registry that denies whoever it is, and somebody with many credentials
    now = [0.0]
    server = serve(Denying())
    account = Renewable(*(Credential("AWS", f"{number}") for number in range(9)))
    client = connect(server.url, Account(account, clock=lambda: now[0]))

    # When it is asked three times, Then that is the answer, and one other credential was tried
    for _ in range(3):
        with pytest.raises(Denied):
            client.list_tags("a/x")
    assert len(account.refused) == 1
    assert len(server.seen) == 4

    # And another one long after
    now[0] += 3600.0
    with pytest.raises(Denied):
        client.list_tags("a/x")
    assert len(account.refused) == 2


def test_a_token_that_lacks_a_right_renews_no_credential(serve: Serve, connect: Connect) -> None:
    # Given a registry with a token service, which denies what a token of it is shown for
    def registry(handler: Handler, request: Request) -> None:
        if request.path.startswith("/token"):
            handler.reply(200, {"token": "t"})
        elif request.authorization == "Bearer t":
            handler.error(403, "DENIED")
        else:
            handler.error(401, "UNAUTHORIZED", WWW_Authenticate=f'Bearer realm="{server.url}/token",service="svc"')

    server = serve(registry)
    account = Renewable(Credential("geo", "one"), Credential("geo", "two"))

    # When it is asked twice, Then neither was anything renewed, nor the credential shown to the registry again
    client = connect(server.url, Account(account))
    for _ in range(2):
        with pytest.raises(Denied):
            client.list_tags("a/x")
    assert account.refused == []
    assert [each.authorization for each in server.seen if not each.path.startswith("/token")][-2:] == ["Bearer t"] * 2
