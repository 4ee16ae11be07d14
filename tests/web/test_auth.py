from __future__ import annotations

import pytest

from app.settings import WEAK_SECRET_LENGTH, Secret
from app.web.auth import admin_allowed, bearer, passes_throttle


def test_the_admin_token_is_asked_for_exactly() -> None:
    token = Secret("admin-tökên")
    assert admin_allowed("admin-tökên", token)
    # From a header
    assert admin_allowed("admin-tökên".encode().decode("latin-1"), token)
    for wrong in (None, "", "admin", "admin-token", "\udce9"):
        assert not admin_allowed(wrong, token)
    assert not admin_allowed("", None)
    assert not admin_allowed("anything", None)


def test_a_token_that_can_be_guessed_does_not_pass_the_throttle() -> None:
    assert passes_throttle(Secret("x" * WEAK_SECRET_LENGTH))
    assert not passes_throttle(Secret("x" * (WEAK_SECRET_LENGTH - 1)))


@pytest.mark.parametrize(
    ("header", "token"),
    [("Bearer abc", "abc"), ("bearer  abc ", "abc"), ("Basic abc", None), ("abc", None), (None, None), ("", None)],
)
def test_the_token_of_a_bearer_authorization(header: str | None, token: str | None) -> None:
    assert bearer(header) == token
