"""One deployment copies to several sites: each has its own state and pace, and the primary is read once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from app.database import connection, now
from app.models import ContainerRepositoryRegistry as Registry
from app.models import SyncState
from app.replication import marking, replicator
from app.replication.work import Reach, _take, _urgencies, run_due
from tests.replication.several.lab import NAMES, Lab, row, site, work
from tests.support import images, wire
from tests.support.compare import assert_same
from tests.support.wait import wait_until

MIB = 1024 * 1024


def test_a_push_comes_to_every_site_and_each_blob_is_read_once(lab: Lab) -> None:
    # Given three sites, and images with small, middling and large layers, one of them shared
    geo = lab.start(WORKER_THREADS="6")
    base = images.layer(30_000)
    pushed = {
        "team/app": images.image([base, images.layer(2 * MIB)]),
        "team/web": images.image([base, images.layer(17 * MIB)]),
        "team/tiny": images.image(count=3, size=300),
    }
    for repository, image in pushed.items():
        lab.pushed(geo, repository, "v1", image)

    # When everything is synced, by several threads at once
    work(geo, threads=6)

    # Then every site has all of it, and no blob was read from the primary more than once
    for name in NAMES:
        for repository in pushed:
            assert row(geo, name, repository).state == SyncState.SYNCED
            assert_same(lab.primary, lab.secondaries[name], repository, "v1")
    digests = {blob.digest for image in pushed.values() for blob in image.blobs}
    read = {digest: lab.before_primary.count(f"GET .*/blobs/{digest}") for digest in digests}
    assert read == dict.fromkeys(digests, 1)


def test_a_site_that_does_not_answer_keeps_no_other_waiting(lab: Lab) -> None:
    # Given a site whose registry takes requests and never answers, and threads that are few
    geo = lab.start(WORKER_THREADS="4")
    answers = threading.Event()
    silent = lab.before["berlin"].rule(".*", gate=answers)
    repositories = [f"team/app-{number}" for number in range(6)]
    for repository in repositories:
        lab.pushed(geo, repository, "v1", images.image())
    geo.mark()

    with ThreadPoolExecutor(4) as pool:
        try:
            # When all threads work
            working = [pool.submit(run_due, geo.context) for _ in range(4)]
            silent.arrived.wait(10)

            # Then the other sites get everything meanwhile
            def there() -> bool:
                with connection():
                    done = Registry.select().where(
                        Registry.site.in_([site(name) for name in ("eu-west", "tokyo")])
                        & (Registry.state == SyncState.SYNCED)
                    )
                    return int(done.count()) == 2 * len(repositories)

            wait_until(there, 30, "the other sites")
            assert row(geo, "berlin", repositories[0]).state != SyncState.SYNCED
        finally:
            answers.set()
        for each in working:
            each.result()

    # And what it owes comes once it answers again
    work(geo)
    assert {row(geo, "berlin", repository).state for repository in repositories} == {SyncState.SYNCED}


def test_two_sites_that_do_not_answer_leave_the_third_a_thread(lab: Lab) -> None:
    # Given two sites whose registries never answer, with more to do than there are threads, and a third without work
    geo = lab.start(WORKER_THREADS="4", GEO_REPOSITORIES_TOKYO="new/*")
    answers = threading.Event()
    silent = [site(name) for name in ("berlin", "eu-west")]
    for each in silent:
        lab.before[each.name].rule(".*", gate=answers)
    for number in range(4):
        lab.pushed(geo, f"old/app-{number}", "v1", images.image())
    geo.mark()

    with ThreadPoolExecutor(4) as pool:
        try:
            # When each thread is at one of their rows, or found that there is none for it
            working = [pool.submit(run_due, geo.context) for _ in range(4)]

            def settled() -> bool:
                with connection():
                    held = Registry.select().where(Registry.site.in_(silent) & (Registry.state == SyncState.STARTED))
                    return int(held.count()) + sum(each.done() for each in working) == 4

            wait_until(settled)

            # Then what is pushed to the third is synced meanwhile
            lab.pushed(geo, "new/app", "v1", images.image())
            geo.mark()
            working.append(pool.submit(run_due, geo.context))
            wait_until(lambda: row(geo, "tokyo", "new/app").state == SyncState.SYNCED)
        finally:
            answers.set()
        for future in working:
            future.result()


def test_a_failure_is_one_site_s_alone_and_is_made_up_for_from_the_spool(lab: Lab) -> None:
    # Given a site that refuses what is written to it
    geo = lab.start()
    lab.before["tokyo"].rule("(POST|PUT|PATCH) ", status=500)
    image = images.image([images.layer(5000), images.layer(3 * MIB)])
    lab.pushed(geo, "team/app", "v1", image)

    # When everything is synced
    work(geo)

    # Then that site alone has failed, and says why
    assert {name: row(geo, name, "team/app").state for name in NAMES} == {
        "berlin": SyncState.SYNCED,
        "eu-west": SyncState.SYNCED,
        "tokyo": SyncState.FAILED,
    }
    assert "500" in (row(geo, "tokyo", "team/app").last_sync_failure or "")

    # And when it takes writes again, it gets what the others have without another look at the primary's blobs
    lab.before["tokyo"].clear()
    lab.before_primary.clear()
    replicator.ask([row(geo, "tokyo", "team/app").id])
    work(geo)
    assert row(geo, "tokyo", "team/app").state == SyncState.SYNCED
    assert_same(lab.primary, lab.secondaries["tokyo"], "team/app", "v1")
    assert lab.before_primary.count("GET .*/blobs/") == 0


def test_each_site_has_its_own_scope_and_its_own_policy(lab: Lab) -> None:
    # Given sites that differ in what they replicate and delete
    geo = lab.start(GEO_TAGS_BERLIN="v*", GEO_REPOSITORIES_EU_WEST="team/*", GEO_DELETION_TOKYO="off")
    for repository, tag in (("team/app", "v1"), ("team/app", "latest"), ("other/app", "v1")):
        lab.pushed(geo, repository, tag, images.image())
    work(geo)

    # Then each has its part
    held = {
        name: {path: wire.tags(each, path) for path in wire.catalog(each)} for name, each in lab.secondaries.items()
    }
    assert held == {
        "berlin": {"team/app": ["v1"], "other/app": ["v1"]},
        "eu-west": {"team/app": ["latest", "v1"]},
        "tokyo": {"team/app": ["latest", "v1"], "other/app": ["v1"]},
    }

    # When a tag is deleted
    digest = wire.digest_of(lab.primary, "team/app", "v1")
    assert digest is not None
    wire.delete_digest(lab.primary, "team/app", digest)
    geo.event("delete", "team/app", "v1", digest)
    work(geo)

    # Then it is kept where nothing may be deleted
    assert wire.digest_of(lab.secondaries["berlin"], "team/app", "v1") is None
    assert wire.digest_of(lab.secondaries["eu-west"], "team/app", "v1") is None
    assert wire.digest_of(lab.secondaries["tokyo"], "team/app", "v1") == digest


def test_a_push_to_any_site_goes_before_the_backlog_of_all(lab: Lab) -> None:
    # Given rows of two sites that nobody waits for, and one of the third that was just pushed
    geo = lab.start()
    lab.pushed(geo, "team/old", "v1", images.image())
    work(geo)
    with connection():
        for name in ("berlin", "eu-west"):
            marking.awaken(
                [row(geo, name, "team/old").id],
                since=now(),
                priority=marking.BACKFILL,
                full=True,
            )
    lab.pushed(geo, "team/new", "v1", images.image())
    geo.mark()

    # When a thread takes what comes next, three times
    taken = []
    for _ in range(3):
        claim = _take(geo.context, _urgencies(geo.context, Reach.ALL, unhurried=True))
        assert claim is not None
        taken.append(claim.path)

    # Then these are the three sites' rows of the push
    assert taken == ["team/new"] * 3
