"""Which tags are replicated."""

from __future__ import annotations

import pytest

from app.replication.policy import InvalidTagPattern
from app.replication.tag_scope import TagScope

SIGNATURE = f"sha256-{'a' * 64}.sig"
REFERRERS = f"sha512-{'b' * 64}"


@pytest.mark.parametrize(
    ("patterns", "inside", "outside"),
    [
        ((), f"anything {SIGNATURE}", ""),
        (("stable", "v1.*"), "stable v1.2", "v2.0 latest"),
        (("!nightly-*",), "latest v1", "nightly-5"),
        (("regex:v[0-9]+",), "v12", "v12a xv1"),
        (("!regex:.*-rc[0-9]*",), "v1", "v1-rc2"),
        (("semver:>=1.2 <2", "latest"), "1.2.0 v1.9 latest", "2.0.0 1.1 stable 1.3.0-rc.1"),
        (("semver:^1", "!1.3.*"), "1.2.0 1.4.0", "1.3.1"),
        (("!*", "v1"), "v1", "v2"),
        (("v*", "!v1*", "v1.5"), "v2 v1.5", "v1.4"),
        (("!semver:<1",), "1.0.0 latest", "0.9.0"),
    ],
)
def test_the_last_match_decides(patterns: tuple[str, ...], inside: str, outside: str) -> None:
    scope = TagScope(patterns)
    assert [tag for tag in inside.split() if not scope.covers(tag)] == []
    assert [tag for tag in outside.split() if scope.covers(tag)] == []


def test_what_is_attached_to_an_image_is_in_scope_unless_denied() -> None:
    for tag in (SIGNATURE, REFERRERS):
        assert TagScope(("v1",)).covers(tag)
        assert not TagScope(("v1", "!sha*-*")).covers(tag)
        assert not TagScope(("!*", "v1")).covers(tag)
    assert not TagScope(("v1",)).covers("sha256-short.sig")


def test_digests_are_told_apart_by_what_they_are() -> None:
    digest = f"sha256:{'a' * 64}"
    assert TagScope(("v1",)).covers(digest)
    assert TagScope(("v1",)).takes_digest(True)
    assert not TagScope(("v1",)).takes_digest(False)
    assert TagScope().takes_digest(False)


@pytest.mark.parametrize("pattern", ["", "!", "a b", "-x", "regex:(", "semver:", "semver:latest", "!!v1", "v/1"])
def test_patterns_that_match_nothing_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        TagScope((pattern,))


def test_a_scope_within_another_is_no_wider() -> None:
    scope = TagScope(("v*",), TagScope(("semver:>=1 <2", "latest")))
    assert [scope.covers(tag) for tag in ("v1.5.0", "v2.0.0", "vnext", "latest")] == [True, False, False, False]
    assert not TagScope((), TagScope(("v*",))).everything
    assert not TagScope((), TagScope(("v*",))).takes_digest(attached=False)


def test_a_pattern_is_one_line() -> None:
    # They are stored a line each: another deployment's pattern of two would be two others, or none at all.
    for pattern in ("regex:(?:a\nb)", "v1\r*", ""):
        with pytest.raises(InvalidTagPattern):
            TagScope((pattern,))
