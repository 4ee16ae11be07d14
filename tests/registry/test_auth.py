from __future__ import annotations

import threading
from typing import Any

import jwt
import pytest

from app.registry import (
    ActionNotAllowed,
    Challenge,
    Digest,
    KeyToken,
    Manifest,
    Scope,
    SigningKey,
    StaticBearer,
    Unauthorized,
    media_types,
)
from app.registry.auth import TOKENS_KEPT
from tests.registry.conftest import Connect, Serve
from tests.registry.scripted import Handler, Request
from tests.support.clock import Clock
from tests.support.keys import KeyPair

CHALLENGE = Challenge("http://r.example/v2/", "bearer", "http://r.example/token", error="invalid_token")


def no_fetch(*_: object, **__: object) -> bytes:
    raise AssertionError("a key token needs no token service")


def claims(header: str | None) -> dict[str, Any]:
    assert header is not None
    decoded: dict[str, Any] = jwt.decode(header.removeprefix("Bearer "), options={"verify_signature": False})
    return decoded


def kid(header: str | None) -> str:
    assert header is not None
    return str(jwt.get_unverified_header(header.removeprefix("Bearer "))["kid"])


@pytest.fixture
def clock() -> Clock:
    return Clock(1_800_000_000.7)


@pytest.fixture
def key(keys: KeyPair) -> SigningKey:
    return SigningKey.load(keys.key_path)


@pytest.fixture
def tokens(key: SigningKey, clock: Clock) -> KeyToken:
    return KeyToken(key, "us", "container_registry", clock=clock)


def test_a_token_grants_what_was_asked_and_no_more(tokens: KeyToken) -> None:
    token = claims(tokens.authorization(Scope("a/x", ("pull", "push")), no_fetch))

    identity = token.pop("jti")
    assert len(identity) == 36
    assert token == {
        "iss": "us",
        "sub": "geo-registry",
        "aud": "container_registry",
        "exp": 1_800_000_300,
        "nbf": 1_799_999_995,
        "iat": 1_800_000_000,
        "access": [{"type": "repository", "name": "a/x", "actions": ["pull", "push"]}],
    }
    assert all(isinstance(token[name], int) for name in ("exp", "nbf", "iat"))


@pytest.mark.parametrize(
    ("scope", "access"),
    [
        (Scope(), []),
        (Scope.catalog(), [{"type": "registry", "name": "catalog", "actions": ["*"]}]),
        (
            Scope("a/x", ("pull",), mount_from="b/y"),
            [
                {"type": "repository", "name": "a/x", "actions": ["pull"]},
                {"type": "repository", "name": "b/y", "actions": ["pull"]},
            ],
        ),
    ],
)
def test_the_scopes_there_are(tokens: KeyToken, scope: Scope, access: list[dict[str, Any]]) -> None:
    assert claims(tokens.authorization(scope, no_fetch))["access"] == access


def test_a_token_is_used_until_a_minute_before_it_expires(tokens: KeyToken, clock: Clock) -> None:
    scope = Scope("a/x", ("pull",))
    first = tokens.authorization(scope, no_fetch)

    clock.now += 239
    assert tokens.authorization(scope, no_fetch) == first
    assert tokens.authorization(Scope("a/x", ("pull", "push")), no_fetch) != first
    clock.now += 1
    assert tokens.authorization(scope, no_fetch) != first


def test_what_has_expired_is_not_kept(tokens: KeyToken, clock: Clock) -> None:
    # Given tokens of many scopes, as mounts between many repositories ask for
    for number in range(100):
        tokens.authorization(Scope("a/x", ("pull", "push"), mount_from=f"b/{number}"), no_fetch)

    # When half of their life later another is asked for, and after their end one more
    clock.now += 150
    tokens.authorization(Scope("a/y"), no_fetch)
    assert len(tokens._tokens) == 101
    clock.now += 150
    tokens.authorization(Scope("a/z"), no_fetch)

    # Then only what is still good is there
    assert set(tokens._tokens) == {Scope("a/y"), Scope("a/z")}


def test_the_tokens_kept_are_limited(tokens: KeyToken, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.registry.auth.TOKENS_KEPT", 3)
    first = tokens.authorization(Scope("a/0"), no_fetch)

    for number in range(1, 4):
        tokens.authorization(Scope(f"a/{number}"), no_fetch)

    assert tokens.authorization(Scope("a/0"), no_fetch) != first
    assert TOKENS_KEPT > 1000


def test_the_key_is_named_the_other_way_after_a_401_and_that_is_remembered(tokens: KeyToken, key: SigningKey) -> None:
    scope = Scope("a/x", ("pull",))
    first = tokens.authorization(scope, no_fetch)
    assert kid(first) == key.libtrust_kid

    second = tokens.renew(scope, CHALLENGE, first, no_fetch)

    assert kid(second) == key.thumbprint
    assert tokens.authorization(scope, no_fetch) == second
    assert kid(tokens.authorization(Scope("b/y", ("pull",)), no_fetch)) == key.thumbprint
    # And back, should the registry be replaced by an old one.
    assert kid(tokens.renew(scope, CHALLENGE, second, no_fetch)) == key.libtrust_kid


def test_threads_that_are_refused_together_come_to_the_same_answer(tokens: KeyToken, key: SigningKey) -> None:
    # Given eight threads refused with tokens of eight scopes
    scopes = [Scope(f"a/{number}", ("pull",)) for number in range(8)]
    rejected = [tokens.authorization(scope, no_fetch) for scope in scopes]
    renewed: dict[int, str | None] = {}

    def renew(number: int) -> None:
        renewed[number] = tokens.renew(scopes[number], CHALLENGE, rejected[number], no_fetch)

    # When all renew
    threads = [threading.Thread(target=renew, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    # Then none of them turned the choice of another round again
    assert {kid(header) for header in renewed.values()} == {key.thumbprint}


def test_a_token_that_another_thread_renewed_is_used(tokens: KeyToken) -> None:
    scope = Scope("a/x", ("pull",))
    first = tokens.authorization(scope, no_fetch)
    second = tokens.renew(scope, CHALLENGE, first, no_fetch)

    assert tokens.renew(scope, CHALLENGE, first, no_fetch) == second


def test_a_token_that_was_understood_but_is_not_enough_is_not_made_again(tokens: KeyToken) -> None:
    scope = Scope("a/x", ("pull",))
    first = tokens.authorization(scope, no_fetch)
    challenge = Challenge("http://r.example/v2/", "bearer", "x", error="insufficient_scope")

    assert tokens.renew(scope, challenge, first, no_fetch) is None


def test_with_a_certificate_every_token_carries_it(keys: KeyPair) -> None:
    tokens = KeyToken(SigningKey.load(keys.key_path, keys.certificate_path), "us", "them")
    scope = Scope("a/x", ("pull",))
    first = tokens.authorization(scope, no_fetch)
    second = tokens.renew(scope, CHALLENGE, first, no_fetch)

    assert second != first
    for header in (first, second):
        assert header is not None
        assert jwt.get_unverified_header(header.removeprefix("Bearer "))["x5c"] == keys.x5c


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            'Bearer realm="https://a.example/token",service="svc",scope="repository:a/x:pull,push repository:b:pull",'
            'error="invalid_token"',
            Challenge(
                "u",
                "bearer",
                "https://a.example/token",
                "svc",
                ("repository:a/x:pull,push", "repository:b:pull"),
                "invalid_token",
            ),
        ),
        ('bearer realm = "r" , service=svc', Challenge("u", "bearer", "r", "svc")),
        ('Basic realm="x", Bearer realm="r"', Challenge("u", "bearer", "r")),
        ('Negotiate, Basic realm="a \\"quoted\\" realm"', Challenge("u", "basic", 'a "quoted" realm')),
        ("Negotiate", None),
        ("", None),
        ('realm="x"', None),
    ],
)
def test_a_challenge_is_read(header: str, expected: Challenge | None) -> None:
    assert Challenge.parse(header, "u") == expected


READING, WRITING = ("pull",), ("pull", "push", "delete", "*")
PULL, PUSH = Scope("a/x", ("pull",)), Scope("a/x", ("pull", "push"))
MOUNT = Scope("a/x", ("pull", "push"), mount_from="b/y")


@pytest.mark.parametrize(
    ("scope", "actions", "named"),
    [
        (PULL, READING, ["repository:a/x:pull"]),
        # Azure
        (PULL, READING, ["repository:a/x:metadata_read"]),
        # Docker Hub: a plugin, and an official image
        (PULL, READING, ["repository(plugin):a/x:pull"]),
        (Scope("alpine", ("pull",)), READING, ["repository:library/alpine:pull"]),
        # The grammar lets a host stand before the name; and a proxy may put a prefix there, which the registry lacks
        (PULL, READING, ["repository:registry.example.com:5000/a/x:pull"]),
        (Scope("mirror/a/x", ("pull",)), READING, ["repository:a/x:pull"]),
        # Distribution, of a mount; old ones and Quay call deleting `*`
        (MOUNT, WRITING, ["repository:b/y:pull", "repository:a/x:pull,push"]),
        (Scope("a/x", ("delete",)), WRITING, ["repository:a/x:*"]),
        (Scope("a/x", ("delete",)), WRITING, ["repository:a/x:delete"]),
        # Who always names both
        (PULL, WRITING, ["repository:a/x:pull,push"]),
        (Scope.catalog(), READING, ["registry:catalog:*"]),
        (Scope(), READING, ["registry:catalog:*"]),
    ],
)
def test_what_registries_name_is_asked_for(scope: Scope, actions: tuple[str, ...], named: list[str]) -> None:
    challenge = Challenge("u", "bearer", "r", "s", tuple(named), "e")
    assert challenge.within(scope, actions) == challenge


@pytest.mark.parametrize(
    ("scope", "actions", "named", "left"),
    [
        (PULL, READING, ["repository:a/x:pull,push,delete,*"], ["repository:a/x:pull"]),
        (PULL, READING, ["repository:a/x:push", "repository:a/x:*", "repository:a/x:"], []),
        (PUSH, ("pull", "push"), ["repository:a/x:pull,push,delete,*"], ["repository:a/x:pull,push"]),
        (PULL, WRITING, ["repository:b/y:pull", "repository:ba/x:pull", "repository:a/x/z:pull"], []),
        (MOUNT, WRITING, ["repository:b/y:pull,push,delete"], ["repository:b/y:pull"]),
        (PULL, WRITING, ["registry:catalog:*"], []),
        (Scope(), WRITING, ["repository:a/x:pull"], []),
        (PULL, WRITING, ["admin:a/x:pull", "repository:a/x", "pull", ":::", "repository(:a/x:pull"], []),
    ],
)
def test_what_else_is_named_is_not_asked_for(
    scope: Scope, actions: tuple[str, ...], named: list[str], left: list[str]
) -> None:
    assert Challenge("u", "bearer", scopes=tuple(named)).within(scope, actions).scopes == tuple(left)


def test_a_401_is_answered_once_with_a_renewed_token(serve: Serve, connect: Connect, tokens: KeyToken) -> None:
    # Given a registry that always says 401
    registry = serve(
        lambda handler, _: handler.error(
            401, "UNAUTHORIZED", WWW_Authenticate='Bearer realm="http://r",service="s",error="invalid_token"'
        )
    )

    # When it is asked, then it is asked twice, and the error says what it said and what to check
    with pytest.raises(Unauthorized, match=r"invalid_token.*check issuer, service, key pair.*clock") as raised:
        connect(registry.url, tokens).list_tags("a/x")
    assert len(registry.seen) == 2
    assert registry.seen[0].authorization != registry.seen[1].authorization
    assert raised.value.temporary


def test_a_fixed_token_is_sent_and_not_tried_twice(serve: Serve, connect: Connect) -> None:
    registry = serve(lambda handler, _: handler.error(401, "UNAUTHORIZED", WWW_Authenticate='Bearer realm="http://r"'))

    with pytest.raises(Unauthorized):
        connect(registry.url, StaticBearer("fixed")).ping()
    assert [request.authorization for request in registry.seen] == ["Bearer fixed"]


@pytest.mark.parametrize("token", ["", "a b", "a\n", "é"])
def test_what_cannot_be_a_token_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(ValueError, match=r"^a bearer token is printable ASCII without spaces$"):
        StaticBearer(token)


def test_a_client_made_for_reading_never_asks_to_write(serve: Serve, connect: Connect, tokens: KeyToken) -> None:
    # Given a client of a primary
    def script(handler: Handler, request: Request) -> None:
        handler.reply(200, {"name": "a/x", "tags": []})

    registry = serve(script)
    client = connect(registry.url, tokens, actions=("pull",))
    manifest = Manifest.parse(b'{"layers": []}', media_types.OCI_MANIFEST)

    # When it is told to write or delete, then nothing is sent
    for write in (
        lambda: client.put_manifest("a/x", "v1", manifest),
        lambda: client.delete_manifest("a/x", "v1"),
        lambda: client.start_upload("a/x"),
        lambda: client.start_upload("a/x", Digest.of(b""), "b/y"),
        lambda: client.supports_delete("a/x"),
    ):
        with pytest.raises(ActionNotAllowed) as raised:
            write()
        assert not raised.value.temporary
    assert registry.seen == []

    # And what it reads, it reads with nothing more than pull
    client.list_tags("a/x")
    assert claims(registry.seen[0].authorization)["access"] == [
        {"type": "repository", "name": "a/x", "actions": ["pull"]}
    ]
