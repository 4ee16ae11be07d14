from __future__ import annotations

import pytest

from app.providers.credentials.library import WORDS_LIMIT, load, words
from app.registry import NoCredentials


def test_a_missing_library_is_told_by_its_extra() -> None:
    with pytest.raises(NoCredentials, match="the library geo_nothing cannot be loaded") as raised:
        load("geo_nothing.inside", "acr")
    assert "pip install 'geo-registry[acr]'" in str(raised.value)
    assert load("json", "acr").loads("1") == 1


def test_what_a_library_says_is_one_line_without_secrets() -> None:
    said = words(
        RuntimeError(
            "no token at https://sts.example/token?key=hidden\n  for eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOjEyMzQ1fQ.c2ln"
        )
    )
    assert "hidden" not in said
    assert "eyJ" not in said
    assert "\n" not in said
    assert words(RuntimeError()) == "RuntimeError"
    assert len(words(RuntimeError("x" * 1000))) == WORDS_LIMIT + 1
