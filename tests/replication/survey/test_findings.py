"""What a survey between real registries finds, what goes wrong with it, and what stands in the way."""

from __future__ import annotations

import json

import pytest

from app.database import connection, now
from app.models import ContainerRepository, Reference, Site, SyncAttempt, SyncState
from app.models import ContainerRepositoryRegistry as Registry
from app.replication import brake
from tests.replication.conftest import Deploy, Proxied
from tests.replication.survey.plans import actions, plan_of, survey_of, tags_of
from tests.support import images
from tests.support.deployment import Deployment
from tests.support.images import Blob
from tests.support.oci_registry import OciRegistry
from tests.support.referring import attach
from tests.support.registries import DistributionRegistry
from tests.support.replicated import replicated
from tests.support.wire import delete_digest, push, push_blob, retag

pytestmark = [pytest.mark.long, pytest.mark.timeout(90)]


# --- what it finds ----------------------------------------------------------------------------------------------------


def test_what_a_sync_does_is_what_was_planned(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a replicated repository; then a tag pushed, one moved and one deleted on the primary, without any event
    digests = replicated(geo, primary, repository, "same", "moved", "gone", "removed")
    new, moved = images.image(), images.index()
    push(primary, repository, "new", new)
    push(primary, repository, "moved", moved)
    delete_digest(primary, repository, digests["gone"])
    # And on the secondary one pushed and one deleted
    theirs = push(secondary, repository, "theirs", images.image())
    delete_digest(secondary, repository, digests["removed"])

    # When it is planned
    site = survey_of(geo, repository)

    # Then every difference is told, with its digests
    (plan,) = site.repositories
    found = tags_of(plan)
    assert actions(plan) == {"new": "copy", "moved": "move", "gone": "delete", "removed": "copy", "theirs": "drift"}
    assert (found["moved"].primary_digest, found["moved"].secondary_digest) == (moved.digest, digests["moved"])
    assert (found["gone"].primary_digest, found["gone"].secondary_digest) == (None, digests["gone"])
    assert (found["theirs"].primary_digest, found["theirs"].secondary_digest) == (None, theirs)
    assert plan.equal == 1
    assert not site.in_order

    # And the bytes are those of the blobs that the secondary lacks; those of `removed` are still there
    blobs = {blob.digest: len(blob.data) for image in (new, *moved.walk()) for blob in image.blobs}
    assert (plan.to_copy.blobs, plan.to_copy.bytes) == (len(blobs), sum(blobs.values()))
    assert plan.needs(found["new"])[0].bytes == sum(len(blob.data) for blob in new.blobs)
    assert found["removed"].lacking == ()

    # When it is synced
    assert geo.row(repository).replicator.sync().state == SyncState.SYNCED

    # Then so many bytes were copied, and nothing is left to do
    copied = sum(attempt.bytes_copied for attempt in geo.attempts(repository) if attempt.trigger == "full")
    assert copied == plan.to_copy.bytes
    after = survey_of(geo, repository)
    assert after.in_order
    assert actions(after.repositories[0]) == {"theirs": "drift"}
    assert after.repositories[0].equal == 4


def test_a_repository_that_the_secondary_does_not_know(
    geo: Deployment, primary: DistributionRegistry, repository: str
) -> None:
    # Given tags that share a layer, and one digest with two tags
    base = images.layer(4000)
    first, second = images.image([base]), images.image([base])
    push(primary, repository, "v1", first)
    push(primary, repository, "v2", second)
    retag(primary, repository, "v2", "latest")

    # When
    plan = plan_of(geo, repository)

    # Then nobody needs to have heard of it, and the layer counts once
    assert actions(plan) == {"latest": "copy", "v1": "copy", "v2": "copy"}
    assert plan.to_copy.bytes == len(base) + len(first.blobs[0].data) + len(second.blobs[0].data)
    # And planning it made no row of it
    with connection():
        assert not ContainerRepository.select().where(ContainerRepository.path == repository).exists()


def test_blobs_of_another_repository_are_mounted(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a layer that three repositories need, and another of which it is known who has it
    shared, known = images.layer(3000), images.layer(5000)
    for name in ("a", "b", "c"):
        push(primary, f"{repository}/{name}", "v1", images.image([shared, known] if name == "c" else [shared]))
    push_blob(secondary, f"{repository}/far", known)
    digest = Blob(known).digest
    geo.context.presence.proven(geo.context.destination().name, f"{repository}/far", [digest])

    # When they are planned together
    plans = survey_of(geo, *(f"{repository}/{name}" for name in ("c", "b", "a"))).repositories

    # Then it travels once
    assert [plan.path.rpartition("/")[2] for plan in plans] == ["a", "b", "c"]
    assert [plan.to_mount.bytes for plan in plans] == [0, len(shared), len(shared) + len(known)]
    assert plans[0].to_copy.bytes > len(shared) > plans[1].to_copy.bytes

    # And what is known wrongly is not believed
    geo.context.presence.proven(geo.context.destination().name, f"{repository}/nowhere", [digest])
    assert survey_of(geo, f"{repository}/c").to_mount.bytes == 0


def test_a_manifest_that_is_there_by_digest_is_not_looked_into(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given an index one of whose images the secondary has, and which names a third that the primary does not have
    made = images.index(sparse=[images.image()])
    for child in made.children:
        push(primary, repository, None, child)
    push(secondary, repository, None, made.children[0])
    for blob in made.blobs:
        push_blob(primary, repository, blob.data)
    # Distribution wants all that an index names to be there when it is pushed.
    sparse = images.image()
    made = images.index([*made.children, sparse])
    push(primary, repository, "v1", made)
    delete_digest(primary, repository, sparse.digest)

    # When
    plan = plan_of(geo, repository)

    # Then one image is to be copied
    assert actions(plan) == {"v1": "copy"}
    assert plan.to_copy.bytes == sum(len(blob.data) for blob in made.children[1].blobs)


def test_what_refers_to_a_tag_is_planned_with_it(deploy: Deploy, repository: str) -> None:
    with OciRegistry() as primary, OciRegistry() as secondary:
        # Given a tag that is in sync, and a new one; then both are signed, and the first signature is stamped
        geo = deploy(primary, secondary)
        old, new = images.image(), images.image()
        push(primary, repository, "old", old)
        geo.event("push", repository, "old", old.digest)
        geo.settle()
        push(primary, repository, "new", new)
        signatures = [images.artifact(layers=[images.layer(1000)], subject=image) for image in (old, new)]
        stamp = images.artifact(layers=[images.layer(500)], subject=signatures[0])
        for referrer in (*signatures, stamp):
            attach(primary, repository, referrer)
        primary.requests.clear()

        # When
        plan = plan_of(geo, repository)

        # Then what is attached is to be copied with its tag, and is asked for once
        assert actions(plan) == {"new": "copy", "old": "copy"}
        assert "2 of the manifests that refer to it" in (tags_of(plan)["old"].reason or "")
        blobs = {blob.digest: len(blob.data) for image in (new, *signatures, stamp) for blob in image.blobs}
        assert plan.to_copy.bytes == sum(blobs.values())
        assert len(set(primary.requests)) == len(primary.requests)

        # When it is synced, then nothing is left to do
        assert geo.row(repository).replicator.sync().state == SyncState.SYNCED
        assert survey_of(geo, repository).in_order


def test_digests_that_are_owed(geo: Deployment, primary: DistributionRegistry, repository: str) -> None:
    # Given digests that were pushed without a tag: one waits, one is gone before it was ever copied
    replicated(geo, primary, repository, "v1")
    loose, gone = images.image(), images.image()
    for image in (loose, gone):
        push(primary, repository, None, image)
        geo.event("push", repository, digest=image.digest)
    geo.mark()
    delete_digest(primary, repository, gone.digest)

    # Then the first is planned, and the other is nothing to do
    plan = plan_of(geo, repository)
    assert actions(plan) == {loose.digest: "copy"}
    assert not tags_of(plan)[loose.digest].is_tag
    assert plan.to_copy.bytes == sum(len(blob.data) for blob in loose.blobs)


@pytest.mark.parametrize(
    ("deletion", "protected", "ours", "theirs"),
    [
        ("off", "", "keep", "drift"),
        ("tags", "", "delete", "drift"),
        ("tags", "ou*", "keep", "drift"),
        ("mirror", "", "delete", "delete"),
        ("mirror", "*", "keep", "keep"),
    ],
)
def test_the_policy_of_the_site(
    geo: Deployment,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
    deletion: str,
    protected: str,
    ours: str,
    theirs: str,
) -> None:
    digests = replicated(geo, primary, repository, "stays", "ours")
    delete_digest(primary, repository, digests["ours"])
    push(secondary, repository, "theirs", images.image())
    with connection():
        Site.update(deletion=deletion, protected_tags=protected).where(Site.id == geo.site.id).execute()
    assert actions(plan_of(geo, repository)) == {"ours": ours, "theirs": theirs}


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_what_goes_wrong_with_one_repository_is_its_own(
    proxied: Proxied, primary: DistributionRegistry, repository: str
) -> None:
    # Given repositories of which one has a broken listing, and one is known to nobody
    geo, before_primary, before_secondary = proxied
    for name in ("bad", "good", "worse"):
        push(primary, f"{repository}/{name}", "v1", images.image())
    before_primary.rule(f"{repository}/bad/tags/list", status=500)
    before_secondary.rule(f"{repository}/worse/tags/list", status=404, body=b"<h1>no such page</h1>")

    # When
    site = survey_of(geo, *(f"{repository}/{name}" for name in ("bad", "good", "unknown", "worse")))

    # Then each has its own answer
    bad, good, unknown, worse = site.repositories
    assert bad.problem is not None
    assert bad.problem.reason == "server_error"
    assert actions(good) == {"v1": "copy"}
    assert unknown.problem is not None
    assert "does not know" in unknown.problem.message
    assert worse.problem is not None
    assert worse.problem.reason == "not_found"
    assert (site.problems, site.in_order) == (3, False)


@pytest.mark.parametrize("side", ["primary", "secondary"])
def test_what_cannot_be_told_of_one_tag_is_its_own(
    proxied: Proxied, primary: DistributionRegistry, repository: str, side: str
) -> None:
    geo, *proxies = proxied
    replicated(geo, primary, repository, "bad", "good")
    proxy = proxies[["primary", "secondary"].index(side)]
    proxy.rule("manifests/bad", status=502)
    plan = plan_of(geo, repository)
    assert actions(plan) == {"bad": "unclear"}
    assert "502" in (tags_of(plan)["bad"].reason or "")
    assert plan.equal == 1


def test_a_blob_that_cannot_be_asked_for_makes_its_tags_unclear(
    proxied: Proxied, primary: DistributionRegistry, repository: str
) -> None:
    geo, _, before_secondary = proxied
    broken = images.image()
    push(primary, repository, "bad", broken)
    push(primary, repository, "good", images.image())
    before_secondary.rule(f"HEAD .*{broken.blobs[1].digest}", status=503)
    plan = plan_of(geo, repository)
    assert actions(plan) == {"bad": "unclear", "good": "copy"}
    assert plan.to_copy == plan.needs(tags_of(plan)["good"])[0]


def test_a_tag_is_gone_only_by_the_primarys_own_word(
    proxied: Proxied, primary: DistributionRegistry, repository: str
) -> None:
    # Given a listing that lacks a tag which is there, and one whose absence only a proxy tells of
    geo, before_primary, _ = proxied
    digests = replicated(geo, primary, repository, "there", "gone", "v1")
    delete_digest(primary, repository, digests["gone"])
    page = json.dumps({"name": repository, "tags": ["v1"]}).encode()
    before_primary.rule("tags/list", status=200, body=page)
    before_primary.rule("manifests/gone", status=404, body=b"<h1>no such page</h1>")
    plan = plan_of(geo, repository)
    assert actions(plan) == {"gone": "unclear"}
    assert plan.equal == 2


def test_a_repository_that_lost_its_storage_deletes_nothing(
    proxied: Proxied, primary: DistributionRegistry, repository: str
) -> None:
    geo, before_primary, _ = proxied
    replicated(geo, primary, repository, "v1")
    unknown = json.dumps({"errors": [{"code": "NAME_UNKNOWN", "message": "unknown"}]}).encode()
    before_primary.rule("tags/list", status=404, body=unknown)
    (plan,) = survey_of(geo, repository).repositories
    assert plan.problem is not None
    assert plan.problem.reason == "repository_missing"
    assert "deletes nothing" in plan.problem.message


def test_a_registry_that_does_not_answer_is_not_asked_for_everything(proxied: Proxied, repository: str) -> None:
    # Given a primary that drops every connection
    geo, before_primary, _ = proxied
    before_primary.rule("", drop=True)

    # When many repositories are planned
    site = survey_of(geo, *(f"{repository}/{number}" for number in range(60)))

    # Then all are told of, and most were not asked for
    assert site.problems == 60
    told = [plan.problem.message for plan in site.repositories if plan.problem]
    assert any("check that the registry runs" in message for message in told)
    assert sum("not looked at" in message for message in told) > 30
    assert before_primary.count("tags/list") < 30


# --- what keeps it from happening -------------------------------------------------------------------------------------


def test_what_stands_in_the_way_is_said(
    geo: Deployment, primary: DistributionRegistry, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a paused site on which more is gone than goes unasked
    digests = replicated(geo, primary, repository, "stays", "v1", "v2")
    for name in ("v1", "v2"):
        delete_digest(primary, repository, digests[name])
    monkeypatch.setattr(brake, "FLOOR", 1)
    with connection():
        Site.update(enabled=False).where(Site.id == geo.site.id).execute()

    # Then both are said, with what to do
    site = survey_of(geo, repository)
    assert [each for each in site.obstacles if "geo sites resume secondary" in each]
    assert [each for each in site.obstacles if "geo sites release-deletions secondary" in each]

    # And so is that nothing may be deleted at all
    with connection():
        Site.update(deletions_held_because="its address changed").where(Site.id == geo.site.id).execute()
    assert [each for each in survey_of(geo, repository).obstacles if "its address changed" in each]
    with connection():
        assert Reference.select().count() == Registry.select().count() * 3


def test_what_was_deleted_within_the_hour_leaves_less_to_go_unasked(
    geo: Deployment, primary: DistributionRegistry, repository: str
) -> None:
    # Given two tags gone from the primary, and so many deletions within the hour that one more goes unasked
    digests = replicated(geo, primary, repository, "stays", "v1", "v2")
    for name in ("v1", "v2"):
        delete_digest(primary, repository, digests[name])
    row = {"registry": geo.row(repository), "reference": "x", "action": "delete", "trigger": "event", "worker": "w"}
    row |= {"outcome": "synced", "started_at": now(), "finished_at": now()}
    with connection():
        SyncAttempt.insert_many([row] * (brake.FLOOR - 1)).execute()

    # When it is planned
    (obstacle,) = survey_of(geo, repository).obstacles

    # Then it is said, as a sync would hold one of them
    assert "Of 2 deletions about 1 go unasked" in obstacle
    assert "geo sites release-deletions secondary" in obstacle
