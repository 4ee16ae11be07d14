"""Which repositories are replicated."""

from __future__ import annotations

import pytest

from app.replication.scope import InvalidScope, Scope


@pytest.mark.parametrize(
    ("patterns", "path", "covered"),
    [
        ((), "anything/at/all", True),
        (("team/app",), "team/app", True),
        (("team/app",), "team/app2", False),
        (("team/app",), "team/app/x", False),
        (("team/*",), "team/app", True),
        (("team/*",), "team/app/x", False),
        (("team/**",), "team/app/x", True),
        (("team/**",), "team", False),
        (("team/app?",), "team/app1", True),
        (("team/app?",), "team/app/", False),
        (("!team/secret",), "team/secret", False),
        (("!team/secret",), "team/app", True),
        (("team/**", "!team/secret", "team/secret"), "team/secret", True),
        (("team/**", "!team/x/*"), "team/x/y", False),
        (("a.b/*",), "axb/c", False),
    ],
)
def test_the_last_match_decides(patterns: tuple[str, ...], path: str, covered: bool) -> None:
    assert Scope(patterns).covers(path) is covered


@pytest.mark.parametrize(
    "pattern", ["Team/*", "/team", "team/", "team//app", "!", "te am", "team/app:v1", "!!x", "[a]"]
)
def test_patterns_that_match_nothing_are_refused(pattern: str) -> None:
    with pytest.raises(InvalidScope, match="cannot match"):
        Scope((pattern,))


def test_names_without_wildcards_are_the_list() -> None:
    scope = Scope(("team/app", "other/**", "!team/no", "team/yes", "team/no"))
    assert scope.listed == ["team/app", "team/yes", "team/no"]
    assert Scope(("team/app", "!team/**")).listed == []


def test_a_scope_within_another_is_no_wider() -> None:
    scope = Scope(("team/**",), Scope(("team/app", "other/app")))
    assert [scope.covers(path) for path in ("team/app", "team/x", "other/app")] == [True, False, False]
    # The outer one names all there can be: nothing is to be found.
    assert (scope.is_list, scope.listed) == (True, ["team/app"])
    assert not Scope((), Scope(("team/**",))).is_list
