from __future__ import annotations

import base64
from collections.abc import Iterator

import jwt
import pytest
import requests

from app.demo.token_service import PASSWORD, USERNAME, TokenService
from app.registry import KeyToken, SigningKey
from tests.support.keys import KeyPair
from tests.support.ports import free_port


@pytest.fixture
def service(keys: KeyPair) -> Iterator[TokenService]:
    key = SigningKey.load(keys.key_path, keys.certificate_path)
    with TokenService(KeyToken(key, "geo-registry", "container_registry"), free_port()) as service:
        yield service


def ask(service: TokenService, query: str = "", authorization: str | None = None) -> requests.Response:
    headers = {} if authorization is None else {"Authorization": authorization}
    with requests.Session() as session:
        session.trust_env = False
        return session.get(f"{service.realm}?{query}", headers=headers, timeout=5)


def basic(credentials: str) -> str:
    return "Basic " + base64.b64encode(credentials.encode()).decode()


GOOD = basic(f"{USERNAME}:{PASSWORD}")


@pytest.mark.parametrize(
    ("query", "access"),
    [
        ("", []),
        ("service=container_registry", []),
        (
            "scope=repository:my/image:pull,push",
            [{"type": "repository", "name": "my/image", "actions": ["pull", "push"]}],
        ),
        (
            "scope=repository:my/image:pull&scope=repository:other:pull",
            [{"type": "repository", "name": "my/image", "actions": ["pull"]}],
        ),
        ("scope=registry:catalog:*", [{"type": "registry", "name": "catalog", "actions": ["*"]}]),
        ("scope=repository:../etc:pull", []),
        ("scope=rubbish", []),
        ("scope=", []),
    ],
)
def test_a_token_for_what_was_asked(service: TokenService, query: str, access: list[object]) -> None:
    answer = ask(service, query, GOOD)
    assert answer.status_code == 200
    claims = jwt.decode(answer.json()["token"], options={"verify_signature": False})
    assert claims["iss"] == "geo-registry"
    assert claims["aud"] == "container_registry"
    assert claims["access"] == access


@pytest.mark.parametrize(
    "authorization", [None, "", "Basic", "Basic %%%", basic("demo:wrong"), basic("demo"), "Bearer demo:demo"]
)
def test_nobody_else_gets_one(service: TokenService, authorization: str | None) -> None:
    answer = ask(service, "scope=repository:my/image:pull", authorization)
    assert answer.status_code == 401
    assert "token" not in answer.json()
    assert answer.headers["WWW-Authenticate"].startswith("Basic")
