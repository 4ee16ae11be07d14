"""The follower: events and position move together, whoever reads, and what the primary says is heeded."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from app.database import connection, now
from app.models import ContainerRepository, Event, Lease, Site
from app.models import Follower as Row
from app.replication import capacity, event_log, replicator, sites
from app.replication import follower as following
from app.replication.context import Nobody
from app.replication.follower import Follower
from app.replication.log import LogUnavailable, Reading, Reset, Terms
from app.replication.policy import Policy, TagPatterns
from app.replication.scope import Scope
from app.replication.tag_scope import TagScope
from app.replication.verification.governed import governed
from app.settings import Deletion, Settings, VerificationLevel
from tests.support.deployment import Deployment, offline_environment
from tests.support.wait import wait_until

pytestmark = pytest.mark.timeout(60)

SITE = "berlin"


def told(id_: int, tag: str, *, repository: str = "team/app", action: str = "push") -> Event:
    """An event as another deployment's log tells it."""
    return Event(
        id=id_,
        event_key=f"key-{id_}",
        container_repository=ContainerRepository(path=repository),
        action=action,
        tag=tag,
        occurred_at=datetime(2026, 7, 1, tzinfo=UTC),
    )


class Recording(Nobody):
    """Wakes nobody and remembers for how many rows it was asked."""

    def __init__(self, woken: list[int]) -> None:
        self._woken = woken

    def rows(self, count: int) -> None:
        self._woken.append(count)


class Scripted:
    """A log that says what a test gives it: readings, or what to raise, in turn; then the last one again, empty."""

    def __init__(self, *said: Reading | LogUnavailable) -> None:
        self.said = list(said)
        self.asked: list[str | None] = []
        self.before: Callable[[], None] = lambda: None

    def read(self, position: str | None, *, limit: int, wait: float = 0.0) -> Reading:
        self.asked.append(position)
        self.before()
        answer = self.said.pop(0) if self.said else reading(position or "begin")
        if isinstance(answer, LogUnavailable):
            raise answer
        return answer


def reading(
    position: str,
    events: Sequence[Event] = (),
    *,
    name: str = SITE,
    repositories: tuple[str, ...] = (),
    tags: tuple[str, ...] = (),
    capacity: int | None = None,
    deletion: Deletion | None = None,
    protected: tuple[str, ...] = (),
    verification: VerificationLevel | None = None,
    paused: bool = False,
    reconcile: str | None = None,
    reset: Reset | None = None,
) -> Reading:
    last = max((event.id for event in events), default=0)
    terms = Terms(name, repositories, paused, reconcile, "a reason", tags, capacity, deletion, protected, verification)
    return Reading(events, position, last, last, terms, reset)


@pytest.fixture
def state(database_url: str) -> Iterator[Deployment]:
    env = offline_environment(database_url, GEO_ROLE="secondary", GEO_SITE_NAME=SITE)
    env |= {"GEO_PRIMARY_URL": "http://127.0.0.1:9", "GEO_SITE_TOKEN": "x"}
    deployment = Deployment.start(env)
    with connection():
        Site.update(reconcile_requested_at=None, reconcile_reason=None).execute()
    try:
        yield deployment
    finally:
        deployment.close()


def follower(state: Deployment, *said: Reading | LogUnavailable) -> tuple[Follower, Scripted]:
    log = Scripted(*said)
    return Follower(state.context, state.fresh_site(), log), log


@contextmanager
def running(one: Follower) -> Iterator[threading.Thread]:
    """In a thread of its own, which has ended when this does: it must not outlive the database."""
    thread = threading.Thread(target=one.run)
    thread.start()
    try:
        yield thread
    finally:
        one.stop.set()
        thread.join(30)


def row() -> Row:
    """As the database has it; an empty one before the follower has begun."""
    with connection():
        return Row.get_or_none() or Row()


def tags() -> list[str | None]:
    with connection():
        return [event.tag for event in Event.select().order_by(Event.id)]


def reason(state: Deployment) -> str:
    return state.fresh_site().reconcile_reason or ""


def test_it_begins_where_the_log_ends_and_asks_for_a_backfill(state: Deployment) -> None:
    one, log = follower(state, reading("p0"), reading("p1", [told(7, "v1")]))
    one.step()
    assert (log.asked, row().position) == ([None], "p0")
    assert "followed from here" in reason(state)
    one.step()
    assert (log.asked, row().position) == ([None, "p0"], "p1")


def test_events_are_in_our_own_log_and_are_work_at_once(state: Deployment) -> None:
    # Given a follower that has begun
    woken: list[int] = []
    state.context.wake = Recording(woken)
    one, _ = follower(state, reading("p0"), reading("p1", [told(7, "v1"), told(9, "v2")]))
    one.step()

    # When events come
    one.step()

    # Then they are in our log as they were, marked, and a worker is woken
    assert tags() == ["v1", "v2"]
    assert set(state.references("team/app")) == {"v1", "v2"}
    assert woken == [1]
    assert (row().last_event_id, row().source_last_event_id) == (9, 9)


def test_an_event_that_is_told_twice_is_stored_once(state: Deployment) -> None:
    one, _ = follower(
        state, reading("p0"), reading("p1", [told(7, "v1")]), reading("p2", [told(7, "v1"), told(8, "v2")])
    )
    for _ in range(3):
        one.step()
    assert tags() == ["v1", "v2"]
    assert row().position == "p2"


def test_the_position_does_not_move_without_its_events(state: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a follower whose events cannot be written
    one, _ = follower(state, reading("p0"), reading("p1", [told(7, "v1")]))
    one.step()

    def fail(*_: object) -> int:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(event_log, "append", fail)
        with pytest.raises(ZeroDivisionError):
            one.step()

    # Then it stands where it was
    assert (row().position, tags()) == ("p0", [])


def test_of_two_that_read_at_once_one_writes(state: Deployment) -> None:
    # Given two followers, the first of which stands still while it has read
    one, log = follower(state, reading("p0"), reading("p1", [told(7, "v1")]))
    one.step()
    other, _ = follower(state, reading("q1", [told(7, "v1")]), reading("q2", [told(8, "v2")]))

    def meanwhile() -> None:
        other.step()
        other.step()

    # When the other reads on meanwhile
    log.before = meanwhile
    one.step()

    # Then what the first has read changes nothing
    assert row().position == "q2"
    assert tags() == ["v1", "v2"]


def _linger() -> None:
    threading.Event().wait(0.01)


def test_one_follows_and_another_takes_over_when_it_ends(state: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "STANDBY", 0.02)
    # Given two that run, with logs that wait a little
    (one, first), (other, second) = follower(state), follower(state)
    for log in (first, second):
        log.before = _linger
    with running(one):
        wait_until(lambda: len(first.asked) > 3)
        with running(other):
            wait_until(lambda: len(first.asked) > 20)
            assert second.asked == []

            # When the first ends
            one.stop.set()

            # Then the other follows
            wait_until(lambda: len(second.asked) > 3)


@pytest.mark.parametrize("while_it_reads", [True, False])
def test_it_ends_when_its_site_is_promoted_and_leaves_nothing_behind(
    state: Deployment, while_it_reads: bool, caplog: pytest.LogCaptureFixture
) -> None:
    # Given a follower that has begun
    one, log = follower(state, reading("1"))
    one.step()

    # When its site becomes the primary, while it reads, or before
    def promote() -> None:
        sites.promote(SITE, state.context.settings, give_up=True)

    if while_it_reads:
        log.said = [reading("2", [told(2, "v2")])]
        log.before = promote
    else:
        promote()
    with running(one) as thread:
        thread.join(30)

        # Then it has ended by itself, and said why
        assert not thread.is_alive()
    assert "followed no more" in caplog.text

    # And has written nothing of the former primary's, nor a row that a later promotion would wait for
    assert tags() == []
    with connection():
        assert Row.select().count() == 0


def test_a_process_that_ends_while_it_waits_gives_the_lease_up(state: Deployment) -> None:
    # Given a follower that waits for the primary
    one, log = follower(state)
    waiting, end = threading.Event(), threading.Event()

    def wait() -> None:
        waiting.set()
        end.wait(30)

    log.before = wait
    with running(one):
        try:
            waiting.wait(20)

            # When its process cannot wait for it
            one.let_go()

            # Then the lease is free
            with connection():
                lease = Lease.get(Lease.name == f"follower:{state.site.id}")
                assert lease.owner is None
                assert lease.expires_at <= now()
        finally:
            one.stop.set()
            end.set()


def test_what_was_missed_is_left_to_a_backfill_and_said(state: Deployment) -> None:
    lost = Reset("pruned", "the event log was pruned up to 9, and was read up to 3")
    one, _ = follower(state, reading("p0"), reading("p9", reset=lost), reading("p10", [told(12, "v1")]))
    one.step()
    with connection():
        Site.update(reconcile_requested_at=None, reconcile_reason=None).execute()
    one.step()
    assert reason(state) == lost.message
    assert (row().position, row().reset_reason) == ("p9", lost.message)
    one.step()
    assert tags() == ["v1"]


def test_a_reconcile_of_the_primary_is_one_here_once(state: Deployment) -> None:
    one, _ = follower(
        state,
        reading("p0", reconcile="t1"),
        reading("p0", reconcile="t1"),
        reading("p0", reconcile="t2"),
        reading("p0"),
    )
    one.step()
    with connection():
        Site.update(reconcile_requested_at=None, reconcile_reason=None).execute()
    one.step()
    assert reason(state) == ""
    one.step()
    assert "the primary asked for it: a reason" in reason(state)


def test_a_site_is_paused_and_resumed_with_the_primary(state: Deployment) -> None:
    one, _ = follower(state, reading("p0"), reading("p0", paused=True), reading("p0", paused=True), reading("p0"))
    seen = []
    for _ in range(4):
        one.step()
        seen.append(state.fresh_site().enabled)
    assert seen == [True, False, False, True]


def test_the_scope_that_the_primary_sets_holds_here(state: Deployment) -> None:
    # When the primary limits the site
    limits: dict[str, Any] = {"repositories": ("team/**", "!team/secret"), "tags": ("v*",), "capacity": 3}
    one, _ = follower(state, reading("p0"), reading("p0", **limits))
    one.step()
    one.step()

    # Then it is limited, a restart does not forget it, and a reconcile settles what that left out
    for _ in range(2):
        site = state.fresh_site()
        assert [Scope.of(site).covers(path) for path in ("team/app", "team/secret", "other/app")] == [
            True,
            False,
            False,
        ]
        assert [TagScope.of(site).covers(tag) for tag in ("v1", "latest")] == [True, False]
        assert capacity.capacity_of(site) == 3
        assert "what the primary replicates" in reason(state)
        sites.apply_environment(state.context.settings)


def test_of_two_scopes_the_narrowest_holds(database_url: str) -> None:
    # Given a site with settings of its own
    env = offline_environment(database_url, GEO_ROLE="secondary", GEO_SITE_NAME=SITE)
    env |= {"GEO_PRIMARY_URL": "http://127.0.0.1:9", "GEO_SITE_TOKEN": "x"}
    env |= {"GEO_REPOSITORIES": "team/* !team/big", "GEO_TAGS": "v* nightly"}
    env |= {"GEO_CONTAINER_REPOSITORIES_MAX_CAPACITY": "2"}
    state = Deployment.start(env)
    try:
        # When the primary limits it otherwise
        limits: dict[str, Any] = {"repositories": ("team/**", "!team/secret"), "capacity": 8}
        limits["tags"] = ("v1.*", "latest")
        one, _ = follower(state, reading("p0", **limits))
        one.step()

        # Then it holds what both let through, whichever says less
        site = state.fresh_site()
        paths = {"team/app": True, "team/big": False, "team/secret": False, "team/deep/app": False, "other/app": False}
        assert {path: Scope.of(site).covers(path) for path in paths} == paths
        tags = {"v1.2": True, "v2": False, "nightly": False, "latest": False}
        assert {tag: TagScope.of(site).covers(tag) for tag in tags} == tags
        with connection():
            assert capacity.limits() == {site.id: 2}

        # And a deployment that follows nobody any more is limited by nobody
        alone = {name: value for name, value in env.items() if name not in {"GEO_PRIMARY_URL", "GEO_SITE_TOKEN"}}
        sites.apply_environment(Settings.from_env(alone | {"GEO_ROLE": "both"}))
        assert Scope.of(state.fresh_site()).covers("team/secret")
    finally:
        state.close()


def test_a_capacity_alone_asks_for_no_reconcile(state: Deployment) -> None:
    one, _ = follower(state, reading("p0"), reading("p0", capacity=2))
    one.step()
    with connection():
        Site.update(reconcile_requested_at=None, reconcile_reason=None).execute()
    one.step()
    assert (state.fresh_site().granted_capacity, reason(state)) == (2, "")


def test_the_policies_that_the_primary_sets_hold_here(state: Deployment) -> None:
    # When the primary says what may be deleted, and how far is verified
    said: dict[str, Any] = {"deletion": Deletion.OFF, "protected": ("stable",), "verification": VerificationLevel.BLOBS}
    one, _ = follower(state, reading("p0"), reading("p0", **said), reading("p0", **said), reading("p0"))
    one.step()
    one.step()

    # Then that holds beside our own, a restart does not forget it, and what was kept is judged anew
    for _ in range(2):
        policy = Policy.of(state.fresh_site())
        assert policy == Policy(Deletion.TAGS, within=Policy(Deletion.OFF, TagPatterns(("stable",))))
        with connection():
            assert governed(state.context.settings).verification is VerificationLevel.BLOBS
        assert "what the primary lets be deleted" in reason(state)
        sites.apply_environment(state.context.settings)

    # And once is enough
    with connection():
        Site.update(reconcile_requested_at=None, reconcile_reason=None).execute()
    one.step()
    assert reason(state) == ""

    # And when it says nothing of them any more, ours alone hold
    one.step()
    assert Policy.of(state.fresh_site()) == Policy(Deletion.TAGS)
    with connection():
        assert governed(state.context.settings) == state.context.settings


def test_a_level_of_ours_that_goes_deeper_stays(state: Deployment) -> None:
    one, _ = follower(state, reading("p0", verification=VerificationLevel.TAGS))
    one.step()
    with connection():
        assert governed(state.context.settings).verification is VerificationLevel.MANIFESTS
        off = dataclasses.replace(state.context.settings, verification=None)
        assert governed(off).verification is VerificationLevel.TAGS


def test_a_site_that_may_be_a_mirror_again_waits_for_a_person(database_url: str) -> None:
    # Given a mirror that the primary does not let be one
    env = offline_environment(database_url, GEO_ROLE="secondary", GEO_SITE_NAME=SITE, GEO_DELETION="mirror")
    env |= {"GEO_PRIMARY_URL": "http://127.0.0.1:9", "GEO_SITE_TOKEN": "x"}
    state = Deployment.start(env)
    try:
        assert state.fresh_site().deletions_held_because is not None
        one, _ = follower(state, reading("p0", deletion=Deletion.TAGS), reading("p0"))
        one.step()
        # Nobody has to release a mirror that is none.
        assert state.fresh_site().deletions_held_because is None
        sites.apply_environment(state.context.settings)
        assert (Policy.of(state.fresh_site()).most, state.fresh_site().deletions_held_because) == (Deletion.TAGS, None)

        # When the primary lets it, then nothing is deleted before somebody has looked once more
        one.step()
        assert Policy.of(state.fresh_site()).most is Deletion.MIRROR
        assert "lets it be a mirror from now on" in (state.fresh_site().deletions_held_because or "")

        # And a start changes nothing about that, nor holds it again once it is released
        replicator.release_deletions(state.fresh_site())
        sites.apply_environment(state.context.settings)
        assert state.fresh_site().deletions_held_because is None
    finally:
        state.close()


def test_who_follows_nobody_any_more_is_a_mirror_only_after_a_person_s_word(database_url: str) -> None:
    env = offline_environment(database_url, GEO_SITE_NAME=SITE, GEO_DELETION="mirror")
    following_env = env | {"GEO_ROLE": "secondary", "GEO_PRIMARY_URL": "http://127.0.0.1:9", "GEO_SITE_TOKEN": "x"}
    state = Deployment.start(following_env)
    try:
        one, _ = follower(state, reading("p0", deletion=Deletion.OFF))
        one.step()
        replicator.release_deletions(state.fresh_site())
        sites.apply_environment(Settings.from_env(env))
        assert Policy.of(state.fresh_site()) == Policy(Deletion.MIRROR)
        assert state.fresh_site().deletions_held_because is not None
    finally:
        state.close()


@pytest.mark.parametrize(
    "limits", [{"repositories": ("Team/App",)}, {"tags": ("semver:what",)}, {"protected": ("regex:(",)}]
)
def test_a_scope_that_cannot_be_read_changes_nothing_and_is_told(state: Deployment, limits: dict[str, Any]) -> None:
    one, _ = follower(state, reading("p0"), reading("p1", [told(7, "v1")], **limits))
    one.step()
    with pytest.raises(LogUnavailable, match="cannot read") as caught:
        one.step()
    assert caught.value.reason == "invalid_scope"
    assert (row().position, tags(), state.fresh_site().granted_repositories) == ("p0", [], "")


def test_a_token_of_another_site_is_not_used(state: Deployment) -> None:
    one, _ = follower(state, reading("p0", name="paris"))
    with pytest.raises(LogUnavailable, match="paris"):
        one.step()
    assert row().position is None


def test_a_log_that_cannot_be_read_is_tried_again_and_said(state: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a primary that is away, twice
    monkeypatch.setattr(following, "BACKOFF", (0.01, 0.02))
    gone = LogUnavailable("GET primary: connection refused", "unreachable")
    one, log = follower(state, gone, gone, reading("p0"))
    one._delay = 0.01
    failures: list[str | None] = []

    def note() -> None:
        with connection():
            failures.append(Row.get().failure)
        _linger()

    log.before = note
    with running(one):
        wait_until(lambda: row().position == "p0")

    # Then it was said while it was so, and no longer
    assert failures[:3] == [None, str(gone), str(gone)]
    assert (row().failure, row().failing_since) == (None, None)


def test_an_event_of_a_kind_that_we_do_not_know_stops_nothing(state: Deployment) -> None:
    one, _ = follower(state, reading("p0"), reading("p1", [told(7, "v1", action="rename"), told(8, "v2")]))
    one.step()
    one.step()
    assert tags() == ["v2"]
    assert "could not be read" in reason(state)
