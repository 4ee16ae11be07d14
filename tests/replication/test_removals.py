"""Removals, between two registries that a test can change under way."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.database import connection
from app.models import Reference, Site
from app.replication import attempt, backlog, brake, sync, work
from app.replication import removals as removal
from app.replication.claim import LeaseLost
from app.replication.removals import Removals
from tests.replication.conftest import Deploy
from tests.support import images
from tests.support.deployment import Deployment, event
from tests.support.oci_content import Refused
from tests.support.oci_registry import OciRegistry
from tests.support.replicated import replicated
from tests.support.wire import delete_digest, delete_tag, digest_of, push, tags

REPOSITORY = "team/app"


class Watched(OciRegistry):
    """Tells of each manifest that is deleted, before or after it is."""

    before: Callable[[str], None] = staticmethod(lambda _reference: None)
    after: Callable[[str], None] = staticmethod(lambda _reference: None)

    def _delete_manifest(self, request: Any, name: str, reference: str) -> Any:
        self.before(reference)
        answer = super()._delete_manifest(request, name, reference)
        self.after(reference)
        return answer


@pytest.fixture
def between() -> Any:
    with ExitStack() as stack:
        yield stack.enter_context(Watched()), stack.enter_context(Watched())


def gone(geo: Deployment, primary: OciRegistry, count: int) -> list[str]:
    """Replicate so many tags and delete them on the primary; nothing is synced yet."""
    names = [f"t{n}" for n in range(count)]
    made = push(primary, REPOSITORY, names[0], images.image())
    for name in names[1:]:
        push(primary, REPOSITORY, name, images.image())
    assert made
    geo.store(*(event(repository=REPOSITORY, tag=name) for name in names))
    geo.settle()
    for name in names:
        delete_tag(primary, REPOSITORY, name)
    geo.store(*(event("delete", REPOSITORY, tag=name) for name in names))
    return names


def test_one_release_lets_all_go_that_was_held_and_counts_none_of_it(
    deploy: Deploy, between: tuple[Watched, Watched]
) -> None:
    # Given more deletions than two times those that go unasked
    primary, secondary = between
    geo = deploy(primary, secondary)
    replicated(geo, primary, "team/more", "v1")
    gone(geo, primary, 2 * brake.FLOOR + 5)
    geo.settle()
    assert len(tags(secondary, REPOSITORY)) == brake.FLOOR + 5

    # When they are released once, then all go
    assert brake.release(geo.fresh_site()) == brake.FLOOR + 5
    work.run_due(geo.context)
    assert tags(secondary, REPOSITORY) == []
    assert {each.trigger for each in geo.attempts(REPOSITORY)} >= {"released"}

    # And what comes after them is let through as if nothing had been deleted
    delete_tag(primary, "team/more", "v1")
    geo.event("delete", "team/more", tag="v1")
    geo.settle()
    assert tags(secondary, "team/more") == []


def test_once_held_the_rest_is_held_without_asking(deploy: Deploy, between: tuple[Watched, Watched]) -> None:
    # Given a site on which nothing may be deleted
    primary, secondary = between
    geo = deploy(primary, secondary)
    gone(geo, primary, 6)
    with connection():
        Site.update(deletions_held_because="it is new").where(~Site.primary).execute()
    asked = secondary.count("HEAD .*/manifests/t") + secondary.count("GET .*/manifests/t")

    # When they are looked at
    geo.settle()

    # Then all are said to be held, and the secondary was asked for each by the copies alone, and for one more
    held = [each.failure_reason for each in geo.references(REPOSITORY).values()]
    assert held == ["deletion_brake"] * 6
    now_asked = secondary.count("HEAD .*/manifests/t") + secondary.count("GET .*/manifests/t")
    assert now_asked - asked <= 6 + 2


def test_deletions_whose_answer_is_lost_count(deploy: Deploy, between: tuple[Watched, Watched]) -> None:
    # Given a registry that deletes, and a proxy before it that answers for it too early
    primary, secondary = between
    geo = deploy(primary, secondary)
    gone(geo, primary, brake.FLOOR + 10)

    def lost(_reference: str) -> None:
        raise Refused(504, "UNAVAILABLE", "timeout")

    secondary.after = lost

    # When it is tried again and again
    geo.settle()
    for _ in range(20):
        if len(tags(secondary, REPOSITORY)) == 10:
            break
        geo.retry(REPOSITORY)
    for _ in range(3):
        geo.retry(REPOSITORY)

    # Then no more went than go unasked
    assert len(tags(secondary, REPOSITORY)) == 10


def test_the_brake_does_not_go_by_a_workers_clock(
    deploy: Deploy, between: tuple[Watched, Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a worker whose clock is slow by more than the brake's window
    primary, secondary = between
    geo = deploy(primary, secondary)
    gone(geo, primary, brake.FLOOR + 5)
    slow = lambda: datetime.now(UTC) - timedelta(minutes=61)  # noqa: E731
    monkeypatch.setattr(attempt, "utcnow", slow)
    monkeypatch.setattr(sync, "utcnow", slow)

    # When, then
    geo.settle()
    assert len(tags(secondary, REPOSITORY)) == 5


def test_a_site_that_is_paused_deletes_nothing_more(deploy: Deploy, between: tuple[Watched, Watched]) -> None:
    # Given a site that is paused while the first of several is deleted
    primary, secondary = between
    geo = deploy(primary, secondary)
    gone(geo, primary, 5)

    def pause(_reference: str) -> None:
        with connection():
            Site.update(enabled=False).where(~Site.primary).execute()

    secondary.before = pause

    # When, then
    geo.settle()
    assert len(tags(secondary, REPOSITORY)) == 4

    # And the rest goes once it is resumed
    with connection():
        Site.update(enabled=True).where(~Site.primary).execute()
    secondary.before = lambda _reference: None
    work.run_due(geo.context)
    assert tags(secondary, REPOSITORY) == []


def test_what_is_pushed_again_while_it_waits_stays(
    deploy: Deploy, between: tuple[Watched, Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a tag that is pushed again after the primary said that it is gone, and no event of it
    primary, secondary = between
    geo = deploy(primary, secondary)
    gone(geo, primary, 1)
    real, pushed = Removals.add, []

    def add(self: Removals, reference: Reference) -> None:
        pushed.append(push(primary, REPOSITORY, "t0", images.image()))
        real(self, reference)

    monkeypatch.setattr(Removals, "add", add)

    # When, then it is copied, not deleted
    geo.settle()
    assert len(pushed) == 1
    assert digest_of(secondary, REPOSITORY, "t0") == pushed[0]
    assert "delete" not in {each.action for each in geo.attempts(REPOSITORY)}


def test_many_are_gathered_and_carried_out_some_at_a_time(
    deploy: Deploy, between: tuple[Watched, Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given more than are gathered at a time
    primary, secondary = between
    geo = deploy(primary, secondary)
    gone(geo, primary, 12)
    monkeypatch.setattr(removal, "LIMIT", 3)
    monkeypatch.setattr(backlog, "BATCH", 2)
    real, most = Removals.add, [0]

    def add(self: Removals, reference: Reference) -> None:
        real(self, reference)
        most[0] = max(most[0], len(self))

    monkeypatch.setattr(Removals, "add", add)

    # When, then all go, though never more waited than that, and what had been read before
    geo.settle()
    assert tags(secondary, REPOSITORY) == []
    assert 3 <= most[0] <= 3 + sync.SLOTS + backlog.BATCH


def test_a_kept_index_keeps_what_it_lists(deploy: Deploy) -> None:
    # Given an index under a protected tag, whose images and itself are deleted on the primary by digest
    with OciRegistry(sparse=True) as primary, OciRegistry(sparse=True) as secondary:
        geo = deploy(primary, secondary, GEO_DELETION="tags+untagged", GEO_PROTECTED_TAGS="stable")
        made = images.index()
        push(primary, REPOSITORY, "stable", made)
        below = [each.digest for each in made.walk() if each is not made]
        geo.store(
            *(event(repository=REPOSITORY, digest=digest) for digest in below),
            event(repository=REPOSITORY, tag="stable", digest=made.digest),
        )
        geo.settle()
        for digest in (made.digest, *below):
            delete_digest(primary, REPOSITORY, digest)

        # When
        geo.store(*(event("delete", REPOSITORY, digest=digest) for digest in (made.digest, *below)))
        geo.settle()

        # Then all of it is there
        assert digest_of(secondary, REPOSITORY, "stable") == made.digest
        assert [digest for digest in below if digest_of(secondary, REPOSITORY, digest) is None] == []


def test_a_holder_that_lost_its_row_deletes_nothing(deploy: Deploy, between: tuple[Watched, Watched]) -> None:
    # Given a worker about to delete, whose fencing token was moved on because the registries are others now
    primary, secondary = between
    geo = deploy(primary, secondary)
    gone(geo, primary, 1)
    geo.mark()
    claim = geo.take()
    assert claim is not None
    with connection():
        type(geo.row(REPOSITORY)).update(lease_token=claim.token + 1).execute()
        (reference,) = Reference.select()

    # When, then
    with pytest.raises(LeaseLost):
        Removals(claim, geo.context, attempt.utcnow).carry_out(reference, attempt.utcnow())
    assert tags(secondary, REPOSITORY) == ["t0"]
