"""Selective sync between real registries: what is out of scope is not brought, and what leaves it is kept."""

from __future__ import annotations

import pytest

from app.database import connection, transaction
from app.models import Site, SyncState
from app.replication import backfill, membership, replicator
from app.replication.explain import explain
from app.replication.explanation import Cause, Explanation
from app.replication.membership import Moved
from app.replication.plan import Action
from app.replication.replicator import UnknownRepository
from app.replication.status import SiteStatus, status
from app.replication.survey import survey
from app.settings import Deletion
from tests.support import images
from tests.support.deployment import Deployment, event
from tests.support.registries import DistributionRegistry
from tests.support.replicated import replicated
from tests.support.wire import delete_digest, digest_of, push, tags

pytestmark = pytest.mark.timeout(90)


def narrow(geo: Deployment, *tag_patterns: str, repositories: tuple[str, ...] = ()) -> None:
    """The scope from now on, as a start with another environment would write it down."""
    with transaction():
        values = {"tags": "\n".join(tag_patterns), "repositories": "\n".join(repositories)}
        Site.update(**values).where(Site.id == geo.site.id).execute()


def full(geo: Deployment, repository: str) -> None:
    assert geo.row(repository).replicator.sync().state == SyncState.SYNCED


def counted(geo: Deployment) -> SiteStatus:
    with connection():
        return next(site for site in status().sites if site.name == geo.site.name)


def why(path: str, name: str) -> Explanation:
    with connection():
        (told,) = explain(path, name, replication_enabled=True)
        return told


def test_events_bring_the_tags_in_scope_alone(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a site that takes releases below 2
    narrow(geo, "semver:>=1.2 <2", "stable")

    # When tags in and out of scope are pushed, and told of
    for tag in ("1.1.0", "1.2.0", "v1.9", "2.0.0", "stable", "latest"):
        geo.store(event(repository=repository, tag=tag, digest=push(primary, repository, tag, images.image())))
    geo.settle()

    # Then those in scope are there, and nothing is waiting or wrong
    assert tags(secondary, repository) == ["1.2.0", "stable", "v1.9"]
    assert sorted(geo.references(repository)) == ["1.2.0", "stable", "v1.9"]
    assert geo.row(repository).state == SyncState.SYNCED

    # And it says why
    assert why(repository, "latest").cause is Cause.OUT_OF_SCOPE
    assert "GEO_TAGS" in why(repository, "latest").why
    assert why(repository, "stable").cause is Cause.SYNCED


def test_a_full_sync_and_a_plan_agree_with_the_scope(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given tags that no event told of, and one on the secondary alone that is out of scope
    narrow(geo, "v*")
    for tag in ("v1", "v2", "nightly"):
        push(primary, repository, tag, images.image())
    push(secondary, repository, "theirs", images.image())
    replicator.find(geo.fresh_site(), repository, geo.context.primary)

    # When it is planned, then only what is in scope is
    plan = survey(geo.context, geo.fresh_site(), [repository])
    (planned,) = plan.repositories
    assert [(tag.name, tag.action) for tag in planned.tags] == [("v1", Action.COPY), ("v2", Action.COPY)]
    assert planned.out_of_scope == 2

    # And a full sync does just that: nothing else is brought, and nothing is drift
    full(geo, repository)
    assert tags(secondary, repository) == ["theirs", "v1", "v2"]
    assert sorted(geo.references(repository)) == ["v1", "v2"]
    assert survey(geo.context, geo.fresh_site(), [repository]).in_order


def test_what_leaves_the_scope_is_kept_whatever_becomes_of_it(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given tags that were replicated under the strictest policy, and one that fails
    digests = replicated(geo, primary, repository, "v1", "old", "gone")
    with connection():
        Site.update(deletion=Deletion.MIRROR.value).where(Site.id == geo.site.id).execute()
    geo.store(event(repository=repository, tag="broken", digest=images.sha256(b"nowhere")))
    geo.settle()
    assert geo.row(repository).state == SyncState.FAILED

    # When the scope leaves all but one of them out
    narrow(geo, "v*")
    assert membership.settle(geo.site) == Moved(references_left=3)

    # Then what is there is settled and out of scope, and what never was is forgotten
    references = geo.references(repository)
    assert {name: row.in_scope for name, row in references.items()} == {"v1": True, "old": False, "gone": False}
    assert {row.state for row in references.values()} == {SyncState.SYNCED}

    # When one moves on the primary, and another is deleted there, and everything is told of and looked at
    moved = push(primary, repository, "old", images.image())
    delete_digest(primary, repository, digests["gone"])
    geo.store(
        event(repository=repository, tag="old", digest=moved),
        event("delete", repository, digest=digests["gone"]),
        event("delete", repository, tag="gone"),
    )
    geo.settle()
    full(geo, repository)

    # Then both stand where they stood
    assert digest_of(secondary, repository, "old") == digests["old"]
    assert digest_of(secondary, repository, "gone") == digests["gone"]
    site = counted(geo)
    assert (site.references, site.references_synced, site.references_failed, site.drift) == (1, 1, 0, 0)
    assert (site.synced, site.pending, site.failed, site.references_out_of_scope) == (1, 0, 0, 2)
    told = why(repository, "old")
    assert told.cause is Cause.OUT_OF_SCOPE
    assert digests["old"] in told.why

    # And a verification of everything finds nothing wrong
    assert geo.row(repository).replicator.verify("tags").in_order

    # When the scope is widened again
    narrow(geo)
    membership.settle(geo.site)
    full(geo, repository)

    # Then it is brought up to date, by the policy
    assert digest_of(secondary, repository, "old") == moved
    assert digest_of(secondary, repository, "gone") is None
    assert counted(geo).references_out_of_scope == 0


def test_a_repository_that_leaves_the_scope_is_left_alone(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a replicated repository in which something fails now
    digests = replicated(geo, primary, repository, "v1")
    geo.store(event(repository=repository, tag="broken", digest=images.sha256(b"nowhere")))
    geo.settle()

    # When it is left out
    narrow(geo, repositories=(f"!{repository}",))
    assert membership.settle(geo.site) == Moved(repositories_left=1, references_left=2)

    # Then nothing is due, shown as failed, or done by hand
    row = geo.row(repository)
    assert (row.in_scope, row.state, row.last_sync_failure) == (False, SyncState.SYNCED, None)
    site = counted(geo)
    assert (site.total, site.failed, site.out_of_scope, site.references) == (0, 0, 1, 0)
    assert geo.due() == 0
    with pytest.raises(UnknownRepository, match="outside"):
        row.replicator.sync()

    # And what somebody asked for all the same is settled
    assert membership.settle_strays() == 1
    assert geo.row(repository).state == SyncState.SYNCED
    assert digest_of(secondary, repository, "v1") == digests["v1"]

    # When it is taken in again, then a walk brings it up to date
    narrow(geo, repositories=(repository,))
    moved = push(primary, repository, "v1", images.image())
    assert backfill.mark_all(geo.fresh_site(), geo.context.primary) == 1
    geo.settle()
    assert digest_of(secondary, repository, "v1") == moved
    assert geo.row(repository).in_scope
    assert geo.reference(repository, "v1").in_scope  # type: ignore[union-attr]


def test_what_is_attached_comes_and_what_is_part_of_something_else_does_not(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a site that takes one tag, an image under it, its signature, and an index that is left out
    narrow(geo, "v1")
    signed, left_out = images.image(), images.index()
    push(primary, repository, "v1", signed)
    tag, signature = images.cosign_signature(signed)
    push(primary, repository, tag, signature)
    push(primary, repository, "nightly", left_out)
    sbom = images.artifact(subject=signed)
    push(primary, repository, None, sbom)

    # When all is told of, as a registry does: every manifest by its digest, too
    children = [child.digest for child in left_out.children]
    geo.store(
        *(event(repository=repository, digest=digest) for digest in [*children, sbom.digest]),
        event(repository=repository, tag="nightly", digest=left_out.digest),
        event(repository=repository, tag="v1", digest=signed.digest),
        event(repository=repository, tag=tag, digest=signature.digest),
    )
    geo.settle()

    # Then the image and what is attached to it are there, and nothing of the other
    assert tags(secondary, repository) == sorted(["v1", tag])
    assert digest_of(secondary, repository, sbom.digest) == sbom.digest
    assert [digest for digest in children if digest_of(secondary, repository, digest)] == []
    assert geo.row(repository).state == SyncState.SYNCED
    assert why(repository, children[0]).cause is Cause.OUT_OF_SCOPE
    assert why(repository, signed.digest).cause is Cause.SYNCED
