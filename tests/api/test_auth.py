from __future__ import annotations

import base64

import pytest

from app.api.auth import admin_allowed, bearer, notification_allowed
from app.settings import Secret

SECRETS = (Secret("new-secret"), Secret("old-secret"))


def basic(password: str, user: str = "geo") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    "header",
    [
        "new-secret",
        "old-secret",
        "Bearer new-secret",
        "bearer  old-secret ",
        basic("new-secret"),
        basic("old-secret", user=""),
        basic("new-secret").replace("Basic", "basic"),
    ],
)
def test_a_secret_is_taken_in_every_form(header: str) -> None:
    assert notification_allowed(header, SECRETS)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        " ",
        "Bearer",
        "Bearer ",
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic " + base64.b64encode(b"\xff\xfe").decode(),
        basic("new-secret").rstrip("=")[:-1],
        basic(""),
        # The user's name is not the secret.
        "Basic " + base64.b64encode(b"new-secret:").decode(),
        "new-secre",
        "new-secret,old-secret",
        "NEW-SECRET",
        "Token new-secret",
        "Bearer Bearer new-secret",
        "ÿ\xa0",
        "x" * 100_000,
    ],
)
def test_anything_else_is_refused(header: str | None) -> None:
    assert not notification_allowed(header, SECRETS)


def test_without_a_secret_nobody_is_allowed() -> None:
    assert not notification_allowed("", ())
    assert not notification_allowed("anything", ())


@pytest.mark.parametrize("form", ["{}", "Bearer {}"])
def test_a_secret_beyond_ascii_fits_as_the_server_hands_it_on(form: str) -> None:
    # Given a secret whose bytes on the wire are UTF-8, which WSGI decodes as Latin-1
    secret = "pässwörd-ключ"
    handed_on = form.format(secret).encode().decode("latin-1")

    # Then it is the secret
    assert notification_allowed(handed_on, [Secret(secret)])
    assert notification_allowed(basic(secret), [Secret(secret)])


def test_a_secret_may_itself_look_like_a_scheme() -> None:
    assert notification_allowed("Bearer abc", [Secret("Bearer abc")])
    assert notification_allowed(basic("a:b"), [Secret("a:b")])


def test_the_admin_token_is_asked_for_exactly() -> None:
    token = Secret("admin-tökên")
    assert admin_allowed("admin-tökên", token)
    # From a header
    assert admin_allowed("admin-tökên".encode().decode("latin-1"), token)
    for wrong in (None, "", "admin", "admin-token", "\udce9"):
        assert not admin_allowed(wrong, token)
    assert not admin_allowed("", None)
    assert not admin_allowed("anything", None)


@pytest.mark.parametrize(
    ("header", "token"),
    [("Bearer abc", "abc"), ("bearer  abc ", "abc"), ("Basic abc", None), ("abc", None), (None, None), ("", None)],
)
def test_the_token_of_a_bearer_authorization(header: str | None, token: str | None) -> None:
    assert bearer(header) == token
