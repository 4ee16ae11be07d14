from __future__ import annotations

import pytest

from app.settings import Secret
from app.web.auth import admin_allowed, bearer


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
