"""The deletion policy: every combination has one answer, and a protection that protects nothing is refused."""

from __future__ import annotations

import pytest

from app.models import Site
from app.replication.policy import CAREFUL_FIRST, InvalidTagPattern, Policy, TagPatterns, Verdict, verdict, why_kept
from app.settings import Deletion

NOTHING = TagPatterns()
STABLE = TagPatterns(("stable", "v1.*", "regex:release-[0-9]{1,3}"))


@pytest.mark.parametrize(
    ("policy", "our_tag", "our_digest", "their_tag"),
    [
        (Deletion.OFF, Verdict.KEEP, Verdict.KEEP, Verdict.DRIFT),
        (Deletion.TAGS, Verdict.DELETE, Verdict.KEEP, Verdict.DRIFT),
        (Deletion.TAGS_AND_UNTAGGED, Verdict.DELETE, Verdict.DELETE, Verdict.DRIFT),
        (Deletion.MIRROR, Verdict.DELETE, Verdict.DELETE, Verdict.DELETE),
    ],
)
def test_every_policy(policy: Deletion, our_tag: Verdict, our_digest: Verdict, their_tag: Verdict) -> None:
    assert verdict(policy, NOTHING, name="v1", is_tag=True, ours=True) is our_tag
    assert verdict(policy, NOTHING, name="sha256:x", is_tag=False, ours=True) is our_digest
    assert verdict(policy, NOTHING, name="v1", is_tag=True, ours=False) is their_tag
    # An untagged manifest of somebody else's is not touched by any.
    assert verdict(policy, NOTHING, name="sha256:x", is_tag=False, ours=False) is Verdict.DRIFT


@pytest.mark.parametrize("policy", Deletion)
def test_a_protected_tag_is_never_deleted(policy: Deletion) -> None:
    for name in ("stable", "v1.0", "release-17"):
        for ours in (True, False):
            assert verdict(policy, STABLE, name=name, is_tag=True, ours=ours) is not Verdict.DELETE


def test_patterns_cover_the_whole_tag() -> None:
    for name in ("unstable", "stable-2", "v2.0", "v1", "release-", "release-1234", "STABLE"):
        assert STABLE.match(name) is None, name
    assert STABLE.match("release-7") == "regex:release-[0-9]{1,3}"
    assert TagPatterns(("v[0-9]", "rel-?")).match("v3") == "v[0-9]"
    assert TagPatterns.from_lines("a\nb*").match("bc") == "b*"
    assert TagPatterns.from_lines("").patterns == ()


@pytest.mark.parametrize("pattern", ["team/app", "!stable", "regex:(", "stable latest", ".*", "", "a:b"])
def test_a_pattern_that_can_match_no_tag_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidTagPattern):
        TagPatterns((pattern,))


def test_why_it_is_kept_is_said_in_the_settings_words() -> None:
    kept = {"name": "stable", "is_tag": True, "ours": True}
    assert "GEO_PROTECTED_TAGS has 'stable'" in str(why_kept(Deletion.TAGS, STABLE, **kept))  # type: ignore[arg-type]
    assert "GEO_DELETION is off" in str(why_kept(Deletion.OFF, STABLE, **kept))  # type: ignore[arg-type]
    assert "mirror" in str(why_kept(Deletion.TAGS, NOTHING, name="x", is_tag=True, ours=False))
    assert "'stable'" in str(why_kept(Deletion.MIRROR, STABLE, name="stable", is_tag=True, ours=False))
    assert why_kept(Deletion.TAGS, NOTHING, name="x", is_tag=True, ours=True) is None


@pytest.mark.parametrize("own", Deletion)
@pytest.mark.parametrize("granted", Deletion)
@pytest.mark.parametrize(("name", "is_tag"), [("v2", True), ("stable", True), ("sha256:x", False)])
@pytest.mark.parametrize("ours", [True, False])
def test_of_two_policies_the_more_careful_decides(
    own: Deletion, granted: Deletion, name: str, is_tag: bool, ours: bool
) -> None:
    # Given a site's own policy, within that of the primary's deployment, each of which protects something
    policy = Policy(own, TagPatterns(("v1",)), Policy(granted, STABLE))
    least = min(own, granted, key=CAREFUL_FIRST.index)
    assert policy.most is least

    # Then it deletes what the more careful deletes and neither protects, and else says why not
    judged, reason = policy.judge(name=name, is_tag=is_tag, ours=ours)
    alone = verdict(least, STABLE, name=name, is_tag=is_tag, ours=ours)
    assert (judged is Verdict.DELETE) == (alone is Verdict.DELETE)
    assert (judged is Verdict.DELETE) == (reason is None)
    if ours:
        assert judged is alone


def test_why_it_is_kept_names_whoever_says_so() -> None:
    def why(granted: Policy, name: str = "v2", *, own: Deletion = Deletion.MIRROR, ours: bool = True) -> str:
        return str(Policy(own, within=granted).judge(name=name, is_tag=True, ours=ours)[1])

    assert "primary's deployment limits deletion to `off`" in why(Policy(Deletion.OFF, STABLE))
    assert "primary's deployment protects 'stable'" in why(Policy(Deletion.TAGS, STABLE), "stable")
    assert "primary's deployment lets it be no `mirror`" in why(Policy(Deletion.TAGS), ours=False)
    assert "GEO_DELETION is off" in why(Policy(Deletion.OFF), own=Deletion.OFF)


def test_a_site_s_row_has_both() -> None:
    alone = Site(deletion="tags", protected_tags="a\nb")
    assert Policy.of(alone) == Policy(Deletion.TAGS, TagPatterns(("a", "b")))
    limited = Site(deletion="mirror", granted_deletion="off")
    assert Policy.of(limited) == Policy(Deletion.MIRROR, within=Policy(Deletion.OFF))
    # What the primary does not limit it may still protect.
    protected = Site(deletion="mirror", granted_protected_tags="stable")
    assert Policy.of(protected).within == Policy(Deletion.MIRROR, TagPatterns(("stable",)))
