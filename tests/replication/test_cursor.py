"""The cursor: events become marks, and the position moves with them or not at all."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from app.database import connection
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Cursor, Event, Reference, Site, SyncState
from app.replication import cursor, marking
from app.replication.cursor import Advance
from tests.support import images
from tests.support.deployment import Deployment, event
from tests.support.sessions import at_once

pytestmark = pytest.mark.timeout(60)

ONE, TWO = images.sha256(b"one"), images.sha256(b"two")

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def position(deployment: Deployment) -> Cursor:
    with connection():
        return Cursor.get(Cursor.site == deployment.site)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


# --- the position -----------------------------------------------------------------------------------------------------


def test_events_become_marks_and_the_position_moves(state: Deployment) -> None:
    # Given an event
    state.store(event(tag="v1", digest=ONE, at=NOON))

    # When the cursor advances
    assert state.mark() == Advance(1, 1)

    # Then its reference waits, the row is due, and the event is behind the cursor
    reference = state.references("team/app")["v1"]
    assert (reference.state, reference.desired_digest, reference.is_tag) == (SyncState.PENDING, ONE, True)
    assert reference.pending_since == reference.event_at == NOON
    assert state.due() == 1
    assert state.row("team/app").pending_since == NOON
    assert position(state).event_at == NOON
    assert state.mark() == Advance(0, 0)


def test_nothing_moves_when_marking_fails(state: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given events of two repositories, the second of which cannot be marked
    state.store(event(tag="v1"), event(tag="v1", repository="team/other"))
    before = position(state).position
    awaken, calls = marking.awaken, []

    def failing(*args: object, **options: object) -> None:
        calls.append(args)
        if len(calls) == 2:
            raise ZeroDivisionError
        awaken(*args, **options)  # type: ignore[arg-type]

    # When the cursor advances
    monkeypatch.setattr(marking, "awaken", failing)
    with pytest.raises(ZeroDivisionError):
        state.mark()

    # Then neither the position nor any mark is there
    assert position(state).position == before
    with connection():
        assert Reference.select().count() == Registry.select().count() == 0

    # And the next time all of it is
    assert state.mark() == Advance(2, 2)


def test_two_cursors_at_once_process_each_event_once(state: Deployment) -> None:
    # Given many events
    state.store(*(event(tag=f"v{number}", repository=f"team/app{number % 7}") for number in range(300)))

    # When several processes advance at once, in small steps
    def run(_: int) -> int:
        total = 0
        while step := cursor.advance(state.fresh_site(), 9).events:
            total += step
        return total

    counts = at_once(4, run)

    # Then each event was processed once: every reference was asked for exactly once
    assert sum(counts) == 300
    with connection():
        assert {row.generation for row in Reference.select()} == {0}
        assert Reference.select().count() == 300


def test_a_new_site_begins_at_the_head_and_asks_for_a_backfill(state: Deployment) -> None:
    site = state.fresh_site()
    assert site.reconcile_requested_at is not None
    assert position(state).position == 0


def test_the_time_of_the_newest_event_does_not_go_back(state: Deployment) -> None:
    # Given a cursor that has applied an event
    state.store(event(tag="v1", at=at(60)))
    state.mark()

    # When an older one comes later
    state.store(event(tag="v2", at=at(0)))
    state.mark()

    # Then the newest is still the newest
    assert position(state).event_at == at(60)


def test_unread_events_are_known_to_be_there(state: Deployment) -> None:
    with connection():
        assert not cursor.has_unread(state.site)
    state.store(event(tag="v1"))
    with connection():
        assert cursor.has_unread(state.site)
    state.mark()
    with connection():
        assert not cursor.has_unread(state.site)


# --- pushes -----------------------------------------------------------------------------------------------------------


def test_many_pushes_of_a_tag_are_one_reference(state: Deployment) -> None:
    # Given twenty pushes of one tag
    digests = [images.sha256(bytes([number])) for number in range(20)]
    state.store(*(event(tag="v1", digest=digest, at=at(number)) for number, digest in enumerate(digests)))

    # When they are marked
    state.mark()

    # Then there is one reference, waiting since the first, wanting the last
    (reference,) = state.references("team/app").values()
    assert reference.desired_digest == digests[-1]
    assert reference.pending_since == at(0)
    assert reference.event_at == at(19)
    assert state.due() == 1


def test_a_push_without_a_tag_is_a_reference_by_digest(state: Deployment) -> None:
    state.store(event(digest=ONE))
    state.mark()
    (reference,) = state.references("team/app").values()
    assert (reference.name, reference.is_tag) == (ONE, False)


def test_a_push_makes_a_row_in_backoff_due_at_once(state: Deployment) -> None:
    # Given a row and a reference that failed and wait for an hour
    state.store(event(tag="v1"))
    state.mark()
    later = datetime.now(UTC) + timedelta(hours=1)
    with connection():
        Registry.update(state=SyncState.FAILED, retry_at=later).execute()
        Reference.update(state=SyncState.FAILED, retry_at=later).execute()
    assert state.due() == 0

    # When the tag is pushed again
    state.store(event(tag="v1"))
    state.mark()

    # Then both are due now
    assert state.due() == 1
    reference = state.references("team/app")["v1"]
    assert (reference.state, reference.retry_at) == (SyncState.PENDING, None)


def test_a_push_during_a_sync_leaves_the_row_started_and_counts(state: Deployment) -> None:
    # Given a row that is being synced
    state.store(event(tag="v1"))
    state.mark()
    with connection():
        Registry.update(state=SyncState.STARTED, lease_expires_at=datetime.now(UTC) + timedelta(hours=1)).execute()
    before = state.row("team/app").generation

    # When another tag is pushed
    state.store(event(tag="v2"))
    state.mark()

    # Then it is still its holder's, who sees a new generation
    row = state.row("team/app")
    assert (row.state, row.generation) == (SyncState.STARTED, before + 1)
    assert state.due() == 0


def test_a_reference_that_somebody_else_makes_meanwhile_is_marked_all_the_same(
    state: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a repository whose full sync lists a new tag just while the event of its push is marked
    state.store(event(tag="v1"))
    state.mark()
    row = state.row("team/app")
    state.store(event(tag="v2", digest=TWO))
    look_up = marking._references

    def overtaken(registry: Registry, names: object) -> list[Reference]:
        found = look_up(registry, names)  # type: ignore[arg-type]
        Reference.insert(
            registry=row, name="v2", is_tag=True, trigger="full", pending_since=NOON, created_at=NOON
        ).execute()
        return found

    # When it is marked
    with monkeypatch.context() as patched:
        patched.setattr(marking, "_references", overtaken)
        state.mark()

    # Then the reference is the event's
    reference = state.references("team/app")["v2"]
    assert (reference.trigger, reference.desired_digest) == ("event", TWO)


# --- deletions --------------------------------------------------------------------------------------------------------


def settled(deployment: Deployment, **observed: str) -> None:
    """Let these tags (or digests) be known and synced."""
    deployment.store(*(event(tag=tag, digest=digest, at=at(-60)) for tag, digest in observed.items()))
    deployment.mark()
    with connection():
        for tag, digest in observed.items():
            Reference.update(state=SyncState.SYNCED, observed_digest=digest, pending_since=None).where(
                Reference.name == tag
            ).execute()
        Registry.update(state=SyncState.SYNCED, pending_since=None).execute()


def witnesses(deployment: Deployment) -> dict[str, str | None]:
    return {name: found.delete_witness for name, found in deployment.references("team/app").items()}


def test_a_deletion_by_tag_is_a_witness_against_that_tag(state: Deployment) -> None:
    settled(state, v1=ONE, v2=ONE)
    state.store(event("delete", tag="v1"))
    assert state.mark() == Advance(1, 1)
    assert witnesses(state) == {"v1": "event", "v2": None}
    assert state.references("team/app")["v1"].observed_digest == ONE


def test_a_deletion_by_digest_is_a_witness_against_all_tags_on_it(state: Deployment) -> None:
    settled(state, v1=ONE, v2=TWO, latest=ONE)
    state.store(event("delete", digest=ONE))
    state.mark()
    assert witnesses(state) == {"v1": "event", "v2": None, "latest": "event"}


def test_a_deletion_of_the_repository_is_a_witness_against_everything(state: Deployment) -> None:
    settled(state, v1=ONE, v2=TWO)
    state.store(event("delete"))
    state.mark()
    assert witnesses(state) == {"v1": "event", "v2": "event"}


def test_a_deletion_of_what_was_never_here_leaves_nothing_to_do(state: Deployment) -> None:
    settled(state, v1=ONE)
    state.store(event("delete", tag="nothing"), event("delete", digest=TWO))
    state.mark()
    assert witnesses(state) == {"v1": None}
    assert state.due() == 0


@pytest.mark.parametrize("kind", ["tag", "digest", "repository"])
def test_a_push_and_its_deletion_read_together_are_a_deletion(state: Deployment, kind: str) -> None:
    # Given a secondary that was behind: the push of a tag that it never saw, and its deletion
    target = {"tag": {"tag": "v1"}, "digest": {"digest": ONE}, "repository": {}}[kind]
    state.store(event(tag="v1", digest=ONE, at=at(0)), event("delete", **target, at=at(5)))

    # When both are read in one step
    state.mark()

    # Then nothing waits for a tag that will never come without a witness saying so
    assert all(found.delete_witness == "event" for found in state.references("team/app").values())


@pytest.mark.parametrize("kind", ["tag", "digest", "repository"])
def test_a_deletion_and_a_later_push_read_together_are_a_push(state: Deployment, kind: str) -> None:
    settled(state, v1=ONE)
    target = {"tag": {"tag": "v1"}, "digest": {"digest": ONE}, "repository": {}}[kind]
    state.store(event("delete", **target, at=at(0)), event(tag="v1", digest=ONE, at=at(5)))
    state.mark()
    assert witnesses(state) == {"v1": None}


def test_a_push_older_than_the_deletion_takes_no_witness_back(state: Deployment) -> None:
    # Given a deletion that arrived before the push that it followed, in one step and in two
    settled(state, v1=ONE, v2=ONE)
    state.store(
        event("delete", tag="v1", at=at(10)),
        event(tag="v1", digest=ONE, at=at(5)),
        event("delete", tag="v2", at=at(10)),
    )
    state.mark()
    state.store(event(tag="v2", digest=ONE, at=at(5)))
    state.mark()

    # Then both stay deletions
    assert witnesses(state) == {"v1": "event", "v2": "event"}
    assert state.references("team/app")["v2"].event_at == at(10)


def test_a_deletion_older_than_the_push_is_no_witness(state: Deployment) -> None:
    # Given a push that arrived before the deletion that it followed, in one step and in two
    settled(state, v1=ONE, v2=ONE)
    state.store(
        event(tag="v1", digest=TWO, at=at(10)),
        event("delete", tag="v1", at=at(5)),
        event(tag="v2", digest=TWO, at=at(10)),
    )
    state.mark()
    state.store(event("delete", tag="v2", at=at(5)))
    state.mark()

    # Then both are wanted, and a primary whose storage is late cannot make a deletion of it
    references = state.references("team/app")
    assert witnesses(state) == {"v1": None, "v2": None}
    assert references["v1"].desired_digest == TWO
    assert references["v2"].state == SyncState.PENDING
    assert references["v2"].event_at == at(10)


def test_a_later_push_takes_a_witness_back(state: Deployment) -> None:
    settled(state, v1=ONE)
    state.store(event("delete", tag="v1", at=at(5)))
    state.mark()
    state.store(event(tag="v1", digest=TWO, at=at(10)))
    state.mark()
    assert witnesses(state) == {"v1": None}


# --- scope ------------------------------------------------------------------------------------------------------------


def test_repositories_out_of_scope_are_read_over(state: Deployment) -> None:
    # Given a site that replicates team/** but not the team's secret
    with connection():
        Site.update(repositories="team/**\n!team/secret").where(Site.id == state.site.id).execute()
    state.store(*(event(tag="v1", repository=path) for path in ("team/app", "team/secret", "other/app", "team/a/b")))

    # When the events are read
    assert state.mark().events == 4

    # Then there are rows for what is in scope alone
    with connection():
        paths = {row.container_repository.path for row in Registry.select()}
    assert paths == {"team/app", "team/a/b"}


# --- beside each other ------------------------------------------------------------------------------------------------


def test_marking_backfill_and_claims_do_not_block_each_other(state: Deployment) -> None:
    # Given many repositories with many tags
    repositories = [f"team/app{number}" for number in range(12)]
    tags = [f"v{number}" for number in range(6)]
    state.store(*(event(tag=tag, repository=path) for path in repositories for tag in tags))
    state.mark()
    with connection():
        rows = {row.container_repository.path: row for row in Registry.select()}
        repository_ids = [row.container_repository_id for row in rows.values()]
    over = threading.Event()

    # When events, a backfill, people and retries mark the same rows in every order at once
    def act(place: int) -> None:
        for number in range(25):
            if place == 0:
                for path in repositories[:: -1 if number % 2 else 1]:
                    state.store(*(event(tag=tag, repository=path) for tag in tags[:: -1 if number % 3 else 1]))
                state.mark()
                if number == 24:
                    over.set()
            elif place == 1:
                marking.mark_full(state.fresh_site(), repository_ids[:: -1 if number % 2 else 1], priority=10)
            elif place == 2:
                marking.mark_full(state.fresh_site(), repository_ids, priority=5)
            elif not over.is_set():
                rows[repositories[number % 12]].replicator.mark()  # type: ignore[attr-defined]

    at_once(4, act)

    # Then none of them was refused for having waited crosswise
    with connection():
        assert Event.select().count() == state_events(state)
    assert state.due() == 12


def state_events(deployment: Deployment) -> int:
    return position(deployment).position
