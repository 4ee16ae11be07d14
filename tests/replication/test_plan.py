"""Plans: what is said of each reference, what it needs, and what need not travel. Nothing is asked."""

from __future__ import annotations

import pytest

from app.models import Reference, SyncState
from app.replication.plan import (
    Action,
    Amount,
    Found,
    Graph,
    Policy,
    Problem,
    RepositoryPlan,
    SitePlan,
    TagPlan,
    judge,
    repository_plan,
    with_mounts,
)
from app.replication.policy import TagPatterns
from app.settings import Deletion

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")

TAGS = Policy(Deletion.TAGS)


def known(**values: object) -> Reference:
    return Reference(**{"name": "v1", "is_tag": True, "state": SyncState.SYNCED, **values})


@pytest.mark.parametrize(
    ("found", "action", "reason"),
    [
        (Found("v1", True, A, A), Action.EQUAL, None),
        (Found("v1", True, A, None), Action.COPY, "no event named it"),
        (Found("v1", True, A, None, known(state=SyncState.PENDING)), Action.COPY, None),
        (Found("v1", True, A, None, known(state=SyncState.FAILED, failure="disk full")), Action.COPY, "disk full"),
        (Found("v1", True, A, None, known(observed_digest=A)), Action.COPY, "somebody else removed it"),
        (Found("v1", True, A, B, known(observed_digest=B)), Action.MOVE, "no event has said so"),
        (Found("v1", True, A, B), Action.MOVE, "not from us"),
        (Found("v1", True, A, B, known(observed_digest=C)), Action.MOVE, "not from us"),
        # The primary lists it, and does not have it.
        (Found("v1", True, None, None), Action.UNCLEAR, "storage may be damaged"),
        (Found("v1", True, A, None, error="HTTP 500"), Action.UNCLEAR, "HTTP 500"),
        # A record of something that is on neither side.
        (Found("v1", True, None, None, known(observed_digest=A), gone=True), Action.EQUAL, None),
        (Found(A, False, None, None, known(is_tag=False)), Action.EQUAL, None),
        (Found(A, False, A, None, known(is_tag=False, state=SyncState.PENDING)), Action.COPY, None),
    ],
)
def test_what_the_primary_has(found: Found, action: Action, reason: str | None) -> None:
    plan = judge(found, TAGS)
    assert plan.action is action
    assert (plan.primary_digest, plan.secondary_digest) == (found.primary, found.secondary)
    assert plan.reason is None if reason is None else reason in (plan.reason or "")


OURS = Found("v1", True, None, A, known(observed_digest=A), gone=True)
THEIRS = Found("v1", True, None, A, None, gone=True)


@pytest.mark.parametrize(
    ("found", "policy", "action", "reason"),
    [
        (OURS, TAGS, Action.DELETE, "gone from the primary"),
        (OURS, Policy(Deletion.OFF), Action.KEEP, "GEO_DELETION"),
        (OURS, Policy(Deletion.TAGS, TagPatterns(("v*",))), Action.KEEP, "GEO_PROTECTED_TAGS"),
        (OURS, Policy(Deletion.MIRROR), Action.DELETE, "gone from the primary"),
        (THEIRS, TAGS, Action.DRIFT, "not from us"),
        (THEIRS, Policy(Deletion.OFF), Action.DRIFT, "not from us"),
        (THEIRS, Policy(Deletion.MIRROR), Action.DELETE, "GEO_DELETION=mirror"),
        (THEIRS, Policy(Deletion.MIRROR, TagPatterns(("v1",))), Action.KEEP, "GEO_PROTECTED_TAGS"),
        # What stands there is not what we put there.
        (Found("v1", True, None, B, known(observed_digest=A), gone=True), TAGS, Action.DRIFT, "not from us"),
        # One witness is none: the primary does not know the whole repository.
        (Found("v1", True, None, A, known(observed_digest=A)), TAGS, Action.UNCLEAR, "no listing says"),
        (Found("v1", True, None, A), Policy(Deletion.MIRROR), Action.DRIFT, "not from us"),
        # A deletion that was begun is seen to its end, whatever the policy says by now.
        (
            Found("v1", True, None, C, known(throwaway_digest=C), gone=True),
            Policy(Deletion.OFF),
            Action.DELETE,
            "begun",
        ),
    ],
)
def test_what_the_primary_does_not_have(found: Found, policy: Policy, action: Action, reason: str) -> None:
    plan = judge(found, policy)
    assert plan.action is action
    assert reason in (plan.reason or "")


def test_a_digest_goes_by_policy_and_never_from_under_a_tag() -> None:
    row = known(name=A, is_tag=False, observed_digest=A, delete_witness="event", state=SyncState.PENDING)
    both = Policy(Deletion.TAGS_AND_UNTAGGED)
    assert judge(Found(A, False, None, A, row, gone=True), TAGS).action is Action.KEEP
    assert judge(Found(A, False, None, A, row, gone=True), both).action is Action.DELETE
    assert judge(Found(A, False, None, A, row, gone=True, tagged=True), both).action is Action.KEEP


# --- what lies below --------------------------------------------------------------------------------------------------


def copy(name: str, digest: str, action: Action = Action.COPY) -> TagPlan:
    return TagPlan(name, True, action, digest)


def test_a_tag_needs_what_is_below_it_to_any_depth_and_each_blob_counts_once() -> None:
    # Given an index of an index with a blob of its own, and another tag that shares one
    graph = Graph(
        {
            "top": (("index",), ()),
            "index": (("image", "image2"), ("b1",)),
            "image": ((), ("b1", "b2")),
            "v2": ((), ("b2",)),
        },
        {"b1": 10, "b2": 200},
    )

    # When
    plan = repository_plan("team/app", [copy("v2", "v2"), copy("v1", "top")], graph, [])

    # Then each tag says what it would take alone, and the repository what it takes
    assert [tag.name for tag in plan.tags] == ["v1", "v2"]
    assert [plan.needs(tag)[0] for tag in plan.tags] == [Amount(2, 210), Amount(1, 200)]
    assert plan.to_copy == Amount(2, 210)
    assert plan.to_mount == Amount()


def test_manifests_that_name_each_other_end() -> None:
    graph = Graph({"a": (("b",), ()), "b": (("a",), ("blob",))}, {"blob": 1})
    assert graph.add(copy("v1", "a")).lacking == ("blob",)


@pytest.mark.parametrize("broken", ["top", "image", "b2"])
def test_what_cannot_be_told_of_anything_below_cannot_be_told_of_the_tag(broken: str) -> None:
    graph = Graph({"top": (("image",), ()), "image": ((), ("b1", "b2"))}, {"b1": 10}, errors={broken: "HTTP 502"})
    plan = repository_plan("team/app", [copy("v1", "top"), copy("v2", "other")], graph, [])
    assert (plan.tags[0].action, plan.tags[0].reason) == (Action.UNCLEAR, "HTTP 502")
    assert plan.to_copy == Amount()
    assert plan.tags[1].action is Action.COPY


def test_what_refers_to_a_tag_goes_with_it() -> None:
    # Given a signature of what is to be copied, one of what is there, and one of that which is there itself
    graph = Graph(
        {"new": ((), ("b1",)), "signature": ((), ("b2",)), "second": ((), ("b3",))},
        {"b1": 1, "b2": 20, "b3": 300},
        {"new": ("signature",), "old": ("there",), "there": ("second",), "signed": ("there too",)},
    )
    tags = [copy("v2", "new"), copy("v1", "old", Action.EQUAL), copy("v0", "signed", Action.EQUAL)]
    plan = repository_plan("team/app", tags, graph, [])

    # Then what is missing counts with its tag
    assert [(tag.name, tag.action, tag.lacking) for tag in plan.tags] == [
        ("v1", Action.COPY, ("b3",)),
        ("v2", Action.COPY, ("b1", "b2")),
    ]
    assert "1 of the manifests that refer to it" in (plan.tags[0].reason or "")
    assert plan.equal == 1


def repository(path: str, lacking: dict[str, int], present: frozenset[str] = frozenset()) -> RepositoryPlan:
    tags = (TagPlan("v1", True, Action.COPY, A, lacking=tuple(lacking)),)
    return RepositoryPlan(path, tags, lacking=lacking, present=present)


def test_each_byte_travels_once() -> None:
    # Given a blob that one repository has, one that two lack, and one that a repository of which nothing is planned has
    plans = with_mounts(
        [
            repository("a", {"both": 100, "held": 20, "far": 3}),
            repository("b", {"both": 100, "own": 5}, frozenset({"held"})),
        ],
        {"a": frozenset({"far"})},
    )

    # Then the first takes what both lack, and the second has it mounted
    assert [plan.mountable for plan in plans] == [{"held", "far"}, {"both"}]
    assert [(plan.to_copy.bytes, plan.to_mount.bytes) for plan in plans] == [(100, 23), (5, 100)]
    site = SitePlan("secondary", tuple(plans))
    assert (site.to_copy, site.to_mount) == (Amount(2, 105), Amount(3, 123))


@pytest.mark.parametrize(
    ("action", "in_order"),
    [
        (Action.COPY, False),
        (Action.MOVE, False),
        (Action.DELETE, False),
        (Action.UNCLEAR, False),
        (Action.KEEP, True),
        (Action.DRIFT, True),
    ],
)
def test_what_would_change_is_not_in_order(action: Action, in_order: bool) -> None:
    plan = SitePlan("secondary", (RepositoryPlan("a", (copy("v1", A, action),), equal=3),))
    assert plan.in_order is in_order
    assert (plan.count(action), plan.count(Action.EQUAL)) == (1, 3)


def test_what_could_not_be_planned_is_not_in_order() -> None:
    assert SitePlan("secondary", ()).in_order
    assert not SitePlan("secondary", (RepositoryPlan("a", problem=Problem("unreachable", "no answer")),)).in_order
