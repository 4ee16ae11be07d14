"""What a sync does, between two real registries."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.database import connection, now
from app.models import ContainerRepositoryRegistry as Registry
from app.models import SyncState
from app.replication import event_log, marking, replicator
from app.replication import sync as syncs
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import Deployment, environment, event
from tests.support.keys import TokenAuth, make_rsa
from tests.support.proxy import Proxy
from tests.support.registries import DistributionRegistry, RegistryFactory
from tests.support.sessions import Session
from tests.support.wait import wait_until
from tests.support.wire import digest_of, push, push_blob, retag

pytestmark = pytest.mark.timeout(90)

#: Starts a deployment between proxies before the two registries.
Proxied = Callable[..., tuple[Deployment, Proxy, Proxy]]


def test_a_pushed_tag_reaches_the_secondary(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given an image on the primary, and the event that says so
    digest = push(primary, repository, "v1", images.image(count=3))
    geo.event("push", repository, "v1", digest)

    # When the event is processed
    assert geo.settle() == 1

    # Then the secondary has it byte for byte, and the row says so
    assert_same(primary, secondary, repository, "v1")
    row = geo.row(repository)
    assert row.state == SyncState.SYNCED
    assert row.retry_count == 0
    assert row.last_synced_at is not None
    reference = geo.reference(repository, "v1")
    assert reference is not None
    assert reference.observed_digest == digest

    # And the attempt tells what it took
    (attempt,) = geo.attempts(repository)
    assert (attempt.action, attempt.trigger, attempt.new_digest, attempt.old_digest) == ("copy", "event", digest, None)
    assert attempt.bytes_copied > 3 * 256
    assert attempt.lag_seconds is not None


def test_what_is_pushed_by_digest_alone_is_copied(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given an image without a tag, and a digest that the primary does not have any more
    digest = push(primary, repository, None, images.image())
    geo.store(event(repository=repository, digest=digest), event(repository=repository, digest=images.sha256(b"gone")))

    # When the events are processed
    geo.settle()

    # Then it is there, and neither holds the row back
    assert_same(primary, secondary, repository, digest)
    assert geo.row(repository).state == SyncState.SYNCED
    assert set(geo.references(repository)) == {digest}


def test_a_digest_that_fails_does_not_hold_the_row_back(
    geo: Deployment, primary: DistributionRegistry, repository: str
) -> None:
    # Given an untagged image one of whose blobs is lost, beside a good tag
    broken = images.image()
    push(primary, repository, None, broken)
    primary.blob_path(broken.blobs[-1].digest).unlink()
    good = push(primary, repository, "v1", images.image())
    geo.store(event(repository=repository, digest=broken.digest), event(repository=repository, tag="v1", digest=good))

    # When the events are processed
    geo.settle()

    # Then the row is synced, and the digest's own row says what is wrong with it
    assert geo.row(repository).state == SyncState.SYNCED
    reference = geo.references(repository)[broken.digest]
    assert reference.state == SyncState.FAILED
    assert reference.retry_at is not None


def test_the_children_of_an_index_pushed_before_it_travel_once(
    proxied: tuple[Deployment, Proxy, Proxy], primary: DistributionRegistry, repository: str
) -> None:
    # Given a multi-platform image, whose children a registry names in events of their own
    geo, _, before_secondary = proxied
    made = images.index()
    push(primary, repository, "v1", made)
    geo.store(
        *(event(repository=repository, digest=child.digest) for child in made.children),
        event(repository=repository, tag="v1", digest=made.digest),
    )

    # When the events are processed
    geo.settle()

    # Then each blob was uploaded once
    blobs = {blob.digest for part in made.walk() for blob in part.blobs}
    assert before_secondary.count(r"^PUT .*/blobs/uploads/") == len(blobs)
    assert geo.row(repository).state == SyncState.SYNCED


# --- what changes -----------------------------------------------------------------------------------------------------


def test_a_tag_that_moves_moves_on_the_secondary(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a tag that was replicated
    first = push(primary, repository, "latest", images.image())
    geo.event("push", repository, "latest", first)
    geo.settle()

    # When it moves
    second = push(primary, repository, "latest", images.image())
    geo.event("push", repository, "latest", second)
    geo.settle()

    # Then the secondary follows, and keeps the digest that it left: somebody may be pinned to it
    assert digest_of(secondary, repository, "latest") == second
    assert digest_of(secondary, repository, first) == first
    assert [(a.old_digest, a.new_digest) for a in geo.attempts(repository)] == [(None, first), (first, second)]


def test_an_unchanged_tag_copies_nothing(
    proxied: tuple[Deployment, Proxy, Proxy], primary: DistributionRegistry, repository: str
) -> None:
    # Given a tag that was replicated
    geo, before_primary, before_secondary = proxied
    digest = push(primary, repository, "v1", images.index())
    geo.event("push", repository, "v1", digest)
    geo.settle()
    before_primary.clear()
    before_secondary.clear()

    # When its event comes again, and when a person asks for a full sync
    geo.event("push", repository, "v1", digest)
    geo.settle()
    assert geo.row(repository).replicator.sync().state == SyncState.SYNCED

    # Then the primary's blobs are not read and nothing is written
    assert before_primary.count("/blobs/") == 0
    assert before_secondary.count("^(PUT|POST|PATCH|DELETE)") == 0
    # And only the event leaves an attempt: a full sync looks at thousands that nobody asked about
    assert [attempt.action for attempt in geo.attempts(repository)] == ["copy", "keep"]
    assert len(before_primary.requests) + len(before_secondary.requests) <= 6


def test_blobs_that_are_there_are_not_copied_again(
    proxied: tuple[Deployment, Proxy, Proxy], primary: DistributionRegistry, repository: str
) -> None:
    # Given an image, and a later one on the same base
    geo, before_primary, _ = proxied
    base = [images.layer() for _ in range(3)]
    geo.event("push", repository, "v1", push(primary, repository, "v1", images.image(base)))
    geo.settle()
    before_primary.clear()

    # When the later one is replicated
    geo.event("push", repository, "v2", push(primary, repository, "v2", images.image([*base, images.layer()])))
    geo.settle()

    # Then its own layer and configuration travel alone
    assert before_primary.count("GET .*/blobs/") == 2
    assert geo.row(repository).state == SyncState.SYNCED


def test_twenty_quick_pushes_end_at_the_last(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a worker that processes events while one tag is pushed twenty times
    with Session() as worker:
        over = worker.start(lambda: wait_until(lambda: geo.settle() < 0 or digest_of(primary, repository, "end")))
        made = [images.image() for _ in range(20)]
        for each in made:
            geo.event("push", repository, "v1", push(primary, repository, "v1", each))
        retag(primary, repository, "v1", "end")
        over.result(30)

    # When it is done
    geo.settle()

    # Then the secondary stands where the primary stands
    assert digest_of(secondary, repository, "v1") == made[-1].digest
    assert geo.row(repository).state == SyncState.SYNCED


# --- failures ---------------------------------------------------------------------------------------------------------


def test_one_bad_tag_does_not_stop_the_others(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given five tags, one of which has lost a blob in the primary's storage
    made = {f"v{number}": images.image() for number in range(5)}
    for tag, each in made.items():
        push(primary, repository, tag, each)
    primary.blob_path(made["v2"].blobs[-1].digest).unlink()
    geo.store(*(event(repository=repository, tag=tag, digest=each.digest) for tag, each in made.items()))

    # When the events are processed
    geo.settle()

    # Then the others are there; the bad one is not, not even its tag
    for tag in ("v0", "v1", "v3", "v4"):
        assert_same(primary, secondary, repository, tag)
    assert digest_of(secondary, repository, "v2") is None

    # And the row is failed, naming the tag, the registry and its answer
    row = geo.row(repository)
    assert (row.state, row.retry_count) == (SyncState.FAILED, 1)
    assert row.retry_at is not None
    for part in (f"{repository}:v2", primary.host, "404", made["v2"].blobs[-1].digest):
        assert part in geo.failure(repository)

    # When the blob is back and the time has come
    push_blob(primary, repository, made["v2"].blobs[-1].data)
    geo.retry(repository)

    # Then all is well
    assert_same(primary, secondary, repository, "v2")
    row = geo.row(repository)
    assert (row.state, row.retry_count, row.last_sync_failure) == (SyncState.SYNCED, 0, None)


@pytest.mark.parametrize("what", ["truncated", "altered"])
def test_a_damaged_blob_is_never_written(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str, what: str
) -> None:
    # Given a blob that is damaged in the primary's storage
    made = images.image([images.layer(200_000)])
    push(primary, repository, "v1", made)
    path = primary.blob_path(made.blobs[-1].digest)
    data = path.read_bytes()
    path.write_bytes(data[:-100] if what == "truncated" else data[:-1] + bytes([data[-1] ^ 1]))
    geo.event("push", repository, "v1", made.digest)

    # When the event is processed, then nothing arrives and the failure says why
    geo.settle()
    assert digest_of(secondary, repository, "v1") is None
    assert geo.references(repository)["v1"].failure_reason in {"digest_mismatch", "size_mismatch"}


def test_a_wrong_key_says_what_to_check(
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    database_url: str,
    repository: str,
    tmp_path: Path,
) -> None:
    # Given a deployment whose key the secondary does not know
    other = make_rsa(tmp_path, "other")
    env = environment(
        primary,
        secondary,
        database_url,
        GEO_SECONDARY_REGISTRY_KEY_PATH=str(other.key_path),
        GEO_SECONDARY_REGISTRY_CERTIFICATE_PATH=str(other.certificate_path),
    )
    geo = Deployment.start(env)
    try:
        geo.event("push", repository, "v1", push(primary, repository, "v1", images.image()))

        # When it copies
        geo.settle()

        # Then the failure names registry and status, and what to look at
        row = geo.row(repository)
        assert row.state == SyncState.FAILED
        for part in (f"{repository}:v1", secondary.host, "401", "issuer", "service", "key pair", "clock"):
            assert part in geo.failure(repository)
    finally:
        geo.close()


def test_a_secondary_that_is_down_is_made_up_for(
    primary: DistributionRegistry,
    registry_factory: RegistryFactory,
    token_auth: TokenAuth,
    database_url: str,
    repository: str,
) -> None:
    # Given a secondary that is down
    secondary = registry_factory("secondary", token=token_auth)
    geo = Deployment.start(environment(primary, secondary, database_url))
    try:
        secondary.stop()
        made = [push(primary, repository, f"v{number}", images.image()) for number in range(8)]
        geo.store(*(event(repository=repository, tag=f"v{n}", digest=digest) for n, digest in enumerate(made)))

        # When its events are processed, again and again
        geo.settle()
        for count in (1, 2, 3):
            row = geo.row(repository)
            assert (row.state, row.retry_count) == (SyncState.FAILED, count)
            assert secondary.host in geo.failure(repository)
            assert row.retry_at > datetime.now(UTC)
            assert geo.due() == 0
            geo.retry(repository)

        # And when it is back and the time has come
        secondary.start()
        geo.retry(repository)

        # Then it has everything
        row = geo.row(repository)
        assert (row.state, row.retry_count, row.last_sync_failure) == (SyncState.SYNCED, 0, None)
        for number in range(8):
            assert_same(primary, secondary, repository, f"v{number}")
    finally:
        geo.close()


def test_a_registry_that_is_down_is_not_asked_for_every_tag(
    proxied: tuple[Deployment, Proxy, Proxy], primary: DistributionRegistry, repository: str
) -> None:
    # Given fifty tags and a registry that breaks off every talk
    geo, before_primary, _ = proxied
    before_primary.rule("manifests", drop=True)
    geo.store(*(event(repository=repository, tag=f"v{number}") for number in range(50)))

    # When they are synced
    geo.settle()

    # Then after a few the rest is left for later
    assert before_primary.count("manifests") < 20
    assert geo.row(repository).state == SyncState.FAILED


def test_a_transfer_that_is_cut_is_made_whole_later(
    proxied: tuple[Deployment, Proxy, Proxy],
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
) -> None:
    geo, before_primary, _ = proxied
    made = images.image([images.layer(300_000)])
    push(primary, repository, "v1", made)
    geo.event("push", repository, "v1", made.digest)

    # Given a primary whose blobs break off at once, when it is synced
    broken = before_primary.rule("GET .*/blobs/", drop=True)
    geo.settle()

    # Then nothing arrived, for that reason
    assert broken.arrived.is_set()
    reference = geo.references(repository)["v1"]
    assert (reference.state, reference.failure_reason) == (SyncState.FAILED, "connection_lost")
    assert digest_of(secondary, repository, "v1") is None

    # And when they break in the middle, once, it arrives whole, if need be by the next try
    before_primary.clear()
    cut = before_primary.rule(f"GET .*{made.blobs[-1].digest}", cut=100_000, times=1)
    geo.retry(repository)
    geo.retry(repository)
    assert cut.arrived.is_set()
    assert_same(primary, secondary, repository, "v1")


def test_retry_after_is_obeyed(
    proxied: tuple[Deployment, Proxy, Proxy], primary: DistributionRegistry, repository: str
) -> None:
    geo, before_primary, _ = proxied
    body = json.dumps({"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]}).encode()
    before_primary.rule("manifests", status=429, body=body, headers={"Retry-After": "600"})
    geo.event("push", repository, "v1", push(primary, repository, "v1", images.image()))
    geo.settle()
    for moment in (geo.row(repository).retry_at, geo.references(repository)["v1"].retry_at):
        assert moment is not None
        assert moment > datetime.now(UTC) + timedelta(seconds=590)


def test_a_tag_that_the_primary_does_not_have_yet_is_tried_again_soon(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given the event of a push that the primary's storage does not show yet
    made = images.image()
    geo.event("push", repository, "v1", made.digest)

    # When it is processed
    geo.settle()

    # Then that is a failure of the moment
    reference = geo.references(repository)["v1"]
    assert reference.state == SyncState.FAILED
    assert reference.retry_at is not None
    assert reference.retry_at < datetime.now(UTC) + timedelta(minutes=1)

    # And the next try brings it
    push(primary, repository, "v1", made)
    geo.retry(repository)
    assert_same(primary, secondary, repository, "v1")


# --- beside each other ------------------------------------------------------------------------------------------------


def test_an_event_during_a_sync_is_not_lost(
    proxied: tuple[Deployment, Proxy, Proxy],
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
) -> None:
    geo, _, before_secondary = proxied
    # Given a sync that is just about to write the tag
    first = push(primary, repository, "v1", images.image())
    geo.event("push", repository, "v1", first)
    gate = before_secondary.rule("PUT .*/manifests/v1$", gate=_closed(), times=1)
    with Session() as worker:
        running = worker.start(geo.settle)
        assert gate.arrived.wait(20)

        # When the tag is pushed again, and the sync goes on
        second = push(primary, repository, "v1", images.image())
        geo.event("push", repository, "v1", second)
        geo.mark()
        assert gate.gate is not None
        gate.gate.set()
        running.result(30)

    # Then the second push arrives without another event, and only then is the row synced
    assert digest_of(secondary, repository, "v1") == second
    assert geo.row(repository).state == SyncState.SYNCED
    assert [attempt.new_digest for attempt in geo.attempts(repository)] == [first, second]


def test_a_tag_pushed_during_a_long_copy_is_copied_beside_it(
    proxied: tuple[Deployment, Proxy, Proxy],
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
) -> None:
    geo, before_primary, _ = proxied
    # Given a large blob that is under way
    large = images.image([images.layer(400_000)])
    push(primary, repository, "large", large)
    slow = before_primary.rule(f"GET .*{large.blobs[-1].digest}", gate=_closed())
    geo.event("push", repository, "large", large.digest)
    with Session() as worker:
        running = worker.start(geo.settle)
        assert slow.arrived.wait(20)

        # When another tag of the same repository is pushed
        small = push(primary, repository, "small", images.image())
        geo.event("push", repository, "small", small)
        geo.mark()

        # Then it is there long before the large one, which is not disturbed
        wait_until(lambda: digest_of(secondary, repository, "small") == small, 10)
        wait_until(lambda: geo.references(repository)["small"].state == SyncState.SYNCED)
        assert not running.done()
        assert geo.row(repository).state == SyncState.STARTED
        assert slow.gate is not None
        slow.gate.set()
        running.result(30)
    assert_same(primary, secondary, repository, "large")
    assert geo.row(repository).state == SyncState.SYNCED


def test_a_process_that_has_to_stop_gives_the_row_back(
    proxied: tuple[Deployment, Proxy, Proxy],
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    geo, before_primary, _ = proxied
    monkeypatch.setattr(syncs, "GRACE", 0.3)
    # Given a long copy, and tags that wait for a slot
    large = images.image([images.layer(3_000_000)])
    push(primary, repository, "large", large)
    slow = before_primary.rule(f"GET .*{large.blobs[-1].digest}", rate=400_000)
    geo.event("push", repository, "large", large.digest)
    with Session() as worker:
        running = worker.start(geo.settle)
        assert slow.arrived.wait(20)

        # When the process has to end
        geo.context.stopping.set()

        # Then it lets go soon, and the row is due at once, for somebody else
        running.result(6)
    row = geo.row(repository)
    assert (row.state, row.lease_owner, row.retry_at, row.retry_count) == (SyncState.PENDING, None, None, 0)
    assert geo.references(repository)["large"].state == SyncState.PENDING
    assert geo.due() == 1
    assert digest_of(secondary, repository, "large") is None

    # And that one brings it to its end
    geo.context.stopping.clear()
    before_primary.clear()
    geo.settle()
    assert_same(primary, secondary, repository, "large")


def test_a_process_that_has_to_stop_ends_what_is_nearly_done(
    proxied: tuple[Deployment, Proxy, Proxy],
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
) -> None:
    geo, before_primary, _ = proxied
    made = images.image([images.layer(200_000)])
    push(primary, repository, "v1", made)
    slow = before_primary.rule(f"GET .*{made.blobs[-1].digest}", rate=200_000)
    geo.event("push", repository, "v1", made.digest)
    with Session() as worker:
        running = worker.start(geo.settle)
        assert slow.arrived.wait(20)
        geo.context.stopping.set()
        running.result(8)
    assert_same(primary, secondary, repository, "v1")
    assert geo.references(repository)["v1"].state == SyncState.SYNCED


def test_a_holder_whose_lease_was_taken_over_writes_no_tag(
    proxied: tuple[Deployment, Proxy, Proxy],
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
) -> None:
    geo, before_primary, _ = proxied
    # Given a worker in the middle of a copy
    old = images.image([images.layer(100_000)])
    push(primary, repository, "v1", old)
    slow = before_primary.rule(f"GET .*{old.blobs[-1].digest}", gate=_closed(), times=1)
    geo.event("push", repository, "v1", old.digest)
    geo.mark()
    former = geo.take()
    assert former is not None
    with Session() as worker:
        running = worker.start(lambda: syncs.sync(former, geo.context))
        assert slow.arrived.wait(20)

        # When it is thought dead, and another one takes over and copies what is there by now
        with connection():
            past = datetime.now(UTC) - timedelta(seconds=1)
            Registry.update(lease_expires_at=past).where(Registry.id == former.registry_id).execute()
        new = push(primary, repository, "v1", images.image())
        successor = geo.take()
        assert successor is not None
        assert successor.takeover
        assert syncs.sync(successor, geo.context).state == SyncState.SYNCED

        # And the former learns of it by his heartbeat and goes on
        with connection():
            former.lease.beat()
        assert slow.gate is not None
        slow.gate.set()
        closed = running.result(30)

    # Then he wrote nothing, neither there nor in the database
    assert closed.state is None
    assert digest_of(secondary, repository, "v1") == new
    assert geo.row(repository).state == SyncState.SYNCED
    assert [attempt.new_digest for attempt in geo.attempts(repository)] == [new]


def test_a_late_write_of_a_former_holder_is_found_and_overwritten(
    proxied: tuple[Deployment, Proxy, Proxy],
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
) -> None:
    geo, _, before_secondary = proxied
    # Given a row that is taken over from a holder who is not quite dead
    new = push(primary, repository, "v1", images.image())
    geo.event("push", repository, "v1", new)
    geo.mark()
    former = geo.take()
    assert former is not None
    with connection():
        past = datetime.now(UTC) - timedelta(seconds=1)
        Registry.update(lease_expires_at=past).where(Registry.id == former.registry_id).execute()

    # When his write of an older digest arrives just after the new holder's
    written = before_secondary.rule(r"HEAD .*/manifests/v1$", gate=_closed(), times=1)
    before_secondary.rule(r"HEAD .*/manifests/v1$", times=1)
    with Session() as worker:
        running = worker.start(geo.settle)
        assert written.arrived.wait(20)
        push(secondary, repository, "v1", images.image())
        assert written.gate is not None
        written.gate.set()
        running.result(30)

    # Then the new holder sees it, and puts it right the next time
    assert geo.references(repository)["v1"].failure_reason == "overwritten"
    geo.retry(repository)
    assert digest_of(secondary, repository, "v1") == new
    assert geo.row(repository).state == SyncState.SYNCED


def _closed() -> threading.Event:
    return threading.Event()


def test_one_thread_is_left_for_what_was_just_pushed(
    primary: DistributionRegistry, secondary: DistributionRegistry, database_url: str, repository: str
) -> None:
    # Given two threads, and two repositories to fill, of which the first does not get on
    with Proxy(primary) as before_primary:
        env = environment(primary, secondary, database_url, WORKER_THREADS="2")
        geo = Deployment.start(env | {"GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": before_primary.url})
        try:
            old = [f"{repository}-old-{number}" for number in range(2)]
            for name in old:
                push(primary, name, "v1", images.image())
            with connection():
                ids = event_log.repository_ids(old, now())
            marking.mark_full(geo.fresh_site(), list(ids.values()), priority=marking.BACKFILL)
            slow = before_primary.rule(f"GET .*{repository}-old-.*/tags/list", gate=_closed())
            with Session() as first:
                filling = first.start(lambda: replicator.run_due(geo.context))
                assert slow.arrived.wait(20)

                # When another repository is pushed to
                digest = push(primary, repository, "v1", images.image())
                geo.event("push", repository, "v1", digest)

                # Then the second thread brings that, and leaves the backfill to the first
                assert geo.settle() == 1
                assert digest_of(secondary, repository, "v1") == digest
                assert slow.gate is not None
                slow.gate.set()
                assert filling.result(30) == 2
        finally:
            geo.close()
