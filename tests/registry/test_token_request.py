"""Asking a token service: what it says of a token's life is believed within reason."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from app.registry.auth import Challenge
from app.registry.token_request import LIFETIME, LONGEST, request_token

CHALLENGE = Challenge("https://registry.example.com/v2/", "bearer", "https://auth.example.com/token", "registry")


def answering(document: str) -> Any:
    def fetch(
        method: str, url: str, *, headers: Mapping[str, str] | None = None, form: Mapping[str, str] | None = None
    ) -> bytes:
        return document.encode()

    return fetch


def jwt_of(claims: str) -> str:
    parts = (b'{"alg": "none"}', claims.encode(), b"")
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


@pytest.mark.parametrize(
    ("said", "lifetime"),
    [
        ("300", 300.0),
        ("0", LIFETIME),
        ("-5", LIFETIME),
        ('"300"', LIFETIME),
        ("NaN", LIFETIME),
        ("Infinity", LONGEST),
        pytest.param("9" * 400, LONGEST, id="more than a float holds"),
    ],
)
def test_a_life_that_the_service_gives(said: str, lifetime: float) -> None:
    issued = request_token(CHALLENGE, [], None, answering(f'{{"token": "abc", "expires_in": {said}}}'))
    assert issued.lifetime == lifetime


@pytest.mark.parametrize(
    ("claims", "lifetime"),
    [
        ('{"nbf": 1000, "exp": 5500}', 4500.0),
        ('{"exp": 5500}', LIFETIME),
        ('{"nbf": 5500, "exp": 1000}', LIFETIME),
        pytest.param(f'{{"nbf": 0, "exp": {"9" * 400}}}', LIFETIME, id="more than a float holds"),
    ],
)
def test_a_life_that_only_the_token_tells(claims: str, lifetime: float) -> None:
    document = json.dumps({"access_token": jwt_of(claims)})
    assert request_token(CHALLENGE, [], None, answering(document)).lifetime == lifetime
