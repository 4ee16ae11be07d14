"""What becomes of a tag that is not the same on a former primary and on the new one."""

from __future__ import annotations

import pytest

from app.registry import is_tag
from app.replication.failover.remains import DemotionPlan, Facts, Kind, Remain, RepositoryRemains, judge

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        # The same on both, or only to be brought
        (Facts(A, A), None),
        (Facts(A, A, before=B), None),
        (Facts(None, A), None),
        (Facts(None, B, before=A), None),
        # Moved here alone, pushed in the last seconds: the new primary has what both had
        (Facts(B, A, before=A), Kind.LOST),
        # The same although the new primary knows the image under another tag: that it moved was lost
        (Facts(B, A, before=A, held=True), Kind.LOST),
        # Moved on both
        (Facts(B, C, before=A), Kind.LOST),
        (Facts(B, C), Kind.LOST),
        # Moved there alone
        (Facts(A, C, before=A), Kind.MOVED),
        (Facts(A, C, held=True), Kind.MOVED),
        (Facts(B, C, before=A, held=True), Kind.MOVED),
        # Here alone
        (Facts(A, None), Kind.ALONE),
        (Facts(B, None, before=A), Kind.ALONE),
        (Facts(A, None, held=True), Kind.ALONE),
        # Had by both, and deleted there; or an event says that this very image was
        (Facts(A, None, before=A), Kind.DELETED),
        (Facts(A, None, deleted=True), Kind.DELETED),
        # Deleted here, and the new primary never heard of it
        (Facts(None, A, before=A), Kind.GONE),
    ],
)
def test_judgement(facts: Facts, kind: Kind | None) -> None:
    assert judge(facts) is kind


def test_what_the_new_primary_does_not_have_is_never_replaced_unsaved() -> None:
    # Given every combination of what can be known
    digests = (None, A, B, C)
    every = [
        Facts(here, there, before, held, deleted)
        for here in digests
        for there in digests
        for before in digests
        for held in (True, False)
        for deleted in (True, False)
    ]

    # When the tag here would be replaced by another, and the new primary neither has nor had what it stands on
    replaced = [each for each in every if each.here and each.there and each.here != each.there]
    unknown_there = [each for each in replaced if not each.held and each.before != each.here]

    # Then it is saved
    assert unknown_there
    assert {judge(each) for each in unknown_there} == {Kind.LOST}


@pytest.mark.parametrize("name", ["latest", "v" * 128])
def test_a_saved_tag_is_a_tag_and_is_known_again(name: str) -> None:
    saved = Remain(name, Kind.LOST, A, B).saved_as
    assert saved is not None
    assert is_tag(saved)
    assert saved.startswith(name[:100])
    assert Remain(saved, Kind.ALONE, A).is_saved
    assert not Remain(name, Kind.ALONE, A).is_saved
    assert Remain(name, Kind.MOVED, A, B).saved_as is None


def test_a_plan_counts() -> None:
    app = RepositoryRemains("team/app", (Remain("a", Kind.LOST, A, B), Remain("b", Kind.UNCLEAR, A)), 3, 2)
    broken = RepositoryRemains("team/broken", problem="it does not answer")
    plan = DemotionPlan("http://a", "http://b", "a", at=None, repositories=(app, broken))  # type: ignore[arg-type]
    assert (plan.equal, plan.coming, plan.unclear) == (3, 2, 2)
    assert (plan.count(Kind.LOST), plan.count(Kind.ALONE)) == (1, 0)
    assert plan.problems == (broken,)
