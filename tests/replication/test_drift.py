"""Drift both ways: what stands on the secondary alone is shown, and goes only under `mirror`."""

from __future__ import annotations

import json

import pytest

from app.database import connection
from app.models import Reference, Site, SyncState
from app.replication import status
from tests.replication.conftest import Proxied
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import Deployment
from tests.support.registries import DistributionRegistry
from tests.support.replicated import replicated
from tests.support.wire import delete_digest, digest_of, push, retag, tags

pytestmark = pytest.mark.timeout(90)


def policy(geo: Deployment, deletion: str, *protected: str) -> None:
    with connection():
        values = {"deletion": deletion, "protected_tags": "\n".join(protected)}
        Site.update(**values).where(Site.id == geo.site.id).execute()


def counts(geo: Deployment) -> tuple[int, int, int]:
    """Drift, tags and synced tags of the site."""
    with connection():
        (found,) = [each for each in status.status().sites if each.name == geo.site.name]
        return found.drift, found.references, found.references_synced


def sync(geo: Deployment, repository: str) -> None:
    assert geo.row(repository).replicator.sync().state == SyncState.SYNCED


def test_what_the_secondary_has_alone_is_shown_and_not_touched(
    either: tuple[Deployment, DistributionRegistry], primary: DistributionRegistry, repository: str
) -> None:
    geo, secondary = either
    # Given a repository to whose copy somebody else pushed
    replicated(geo, primary, repository, "v1", "moved")
    theirs = push(secondary, repository, "theirs", images.image())

    # And a tag that moved unseen
    push(primary, repository, "moved", images.image())

    # When it is synced in full
    sync(geo, repository)

    # Then what differs is copied, and what is not ours is written down
    assert_same(primary, secondary, repository, "moved")
    assert digest_of(secondary, repository, "theirs") == theirs
    extra = geo.references(repository)["theirs"]
    assert (extra.state, extra.desired_digest, extra.observed_digest) == (SyncState.SYNCED, None, None)
    assert extra.drift_since is not None
    assert geo.attempts(repository, "theirs") == []
    assert counts(geo) == (1, 2, 2)

    # And again, nothing moves and nothing is forgotten
    sync(geo, repository)
    again = geo.references(repository)["theirs"]
    assert (again.drift_since, again.generation) == (extra.drift_since, extra.generation)
    assert geo.attempts(repository, "theirs") == []


def test_extras_cost_one_listing_and_no_request_each(
    proxied: Proxied,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
) -> None:
    geo, before_primary, before_secondary = proxied
    replicated(geo, primary, repository, "v1")
    for number in range(5):
        push(secondary, repository, f"theirs-{number}", images.image())
    for _ in range(2):
        before_primary.clear()
        before_secondary.clear()
        sync(geo, repository)
        assert before_secondary.count("tags/list") == before_primary.count("tags/list") == 1
        assert before_secondary.count("theirs") == before_primary.count("theirs") == 0
    assert counts(geo)[0] == 5


def test_drift_ends_on_either_side(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given two tags that only the secondary has
    replicated(geo, primary, repository, "v1")
    gone = push(secondary, repository, "gone", images.image())
    push(secondary, repository, "pushed", images.image())
    sync(geo, repository)
    assert counts(geo) == (2, 1, 1)

    # When one goes there, and the primary gets the other, without a word
    delete_digest(secondary, repository, gone)
    push(primary, repository, "pushed", images.image())
    sync(geo, repository)

    # Then neither is drift
    assert set(geo.references(repository)) == {"v1", "pushed"}
    assert counts(geo) == (0, 2, 2)
    assert_same(primary, secondary, repository, "pushed")


@pytest.mark.parametrize(("code", "body"), [(500, b""), (200, b""), (404, b"<h1>Not Found</h1>"), (401, b"")])
def test_a_secondary_that_cannot_be_listed_is_copied_to_all_the_same(
    proxied: Proxied,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
    code: int,
    body: bytes,
) -> None:
    # Given drift that is known, and a secondary whose listing does not work
    geo, _, before_secondary = proxied
    replicated(geo, primary, repository, "v1")
    push(secondary, repository, "theirs", images.image())
    sync(geo, repository)
    push(primary, repository, "v2", images.image())
    before_secondary.rule("tags/list", status=code, body=body)
    policy(geo, "mirror")

    # When it is synced in full
    sync(geo, repository)

    # Then the primary's tags are there, and what was known stands
    assert_same(primary, secondary, repository, "v2")
    assert geo.references(repository)["theirs"].drift_since is not None
    assert "theirs" in tags(secondary, repository)
    assert not geo.row(repository).full_sync


def test_referrers_tags_are_no_drift(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a tag by which a registry without the referrers API is told of them
    digests = replicated(geo, primary, repository, "v1")
    tag = digests["v1"].replace(":", "-")
    push(secondary, repository, tag, images.index())
    policy(geo, "mirror")

    # When
    sync(geo, repository)

    # Then it is nobody's extra
    assert set(geo.references(repository)) == {"v1"}
    assert tag in tags(secondary, repository)


# --- mirror -----------------------------------------------------------------------------------------------------------


def test_a_mirror_deletes_by_name_what_the_primary_lacks(
    either: tuple[Deployment, DistributionRegistry], primary: DistributionRegistry, repository: str
) -> None:
    geo, secondary = either
    # Given extras known and unknown, one of them on the digest of a tag of ours, and one that is protected
    digests = replicated(geo, primary, repository, "v1")
    push(secondary, repository, "known", images.image())
    sync(geo, repository)
    push(secondary, repository, "new", images.image())
    push(secondary, repository, "stable", images.image())
    retag(secondary, repository, "v1", "same")

    # When the site becomes a mirror
    policy(geo, "mirror", "stable")
    sync(geo, repository)

    # Then they go, and the protected one is shown
    assert tags(secondary, repository) == ["stable", "v1"]
    assert digest_of(secondary, repository, "v1") == digests["v1"]
    assert set(geo.references(repository)) == {"stable", "v1"}
    assert geo.references(repository)["stable"].drift_since is not None
    assert [each.action for each in geo.attempts(repository, "new")] == ["delete"]


def test_a_mirror_does_not_delete_what_the_primary_has_after_all(
    proxied: Proxied,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
) -> None:
    # Given a listing of the primary that leaves a tag out
    geo, before_primary, _ = proxied
    replicated(geo, primary, repository, "v1")
    push(secondary, repository, "v2", images.image())
    push(primary, repository, "v2", images.image())
    page = json.dumps({"name": repository, "tags": ["v1"]}).encode()
    before_primary.rule("tags/list", status=200, body=page)
    policy(geo, "mirror")

    # When, then the second witness is asked, and says that it is there
    sync(geo, repository)
    assert_same(primary, secondary, repository, "v2")


@pytest.mark.parametrize(
    ("code", "body"), [(404, b"<h1>Not Found</h1>"), (500, b""), (401, b""), (200, b"<h1>Welcome</h1>")]
)
def test_a_mirror_deletes_nothing_on_one_word(
    proxied: Proxied,
    primary: DistributionRegistry,
    secondary: DistributionRegistry,
    repository: str,
    code: int,
    body: bytes,
) -> None:
    # Given an extra, and a primary whose manifests somebody else answers for
    geo, before_primary, _ = proxied
    replicated(geo, primary, repository, "v1")
    theirs = push(secondary, repository, "theirs", images.image())
    before_primary.rule("manifests/theirs", status=code, body=body)
    policy(geo, "mirror")

    # When
    assert geo.row(repository).replicator.sync().state == SyncState.FAILED

    # Then
    assert digest_of(secondary, repository, "theirs") == theirs


def test_a_mirror_of_a_repository_that_the_primary_does_not_know_deletes_nothing(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a repository that is on the secondary alone, and an event that names it
    push(secondary, repository, "v1", images.image())
    policy(geo, "mirror")
    geo.event("delete", repository)
    geo.mark()

    # When it is synced in full
    sync(geo, repository)

    # Then an unknown name is no complete listing: it is drift
    assert tags(secondary, repository) == ["v1"]
    assert geo.references(repository)["v1"].drift_since is not None


def test_a_mirror_brakes(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given more extras than go unasked
    replicated(geo, primary, repository, "v1")
    made = images.image()
    for number in range(23):
        push(secondary, repository, f"theirs-{number:02}", made)
    policy(geo, "mirror")

    # When
    closed = geo.row(repository).replicator.sync()

    # Then some go, the rest waits, and says for what
    assert closed.state == SyncState.FAILED
    assert "release-deletions" in geo.failure(repository)
    assert len(tags(secondary, repository)) == 1 + 3


# --- protected tags ---------------------------------------------------------------------------------------------------


def test_a_protected_tag_is_kept_and_still_moves(
    geo: Deployment, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given protected tags
    policy(geo, "tags", "stable", "regex:v[0-9]+")
    digests = replicated(geo, primary, repository, "stable", "v1", "other")

    # When one moves, then so does the copy
    moved = push(primary, repository, "stable", images.image())
    geo.event("push", repository, "stable", moved)
    geo.settle()
    assert digest_of(secondary, repository, "stable") == moved

    # When all go
    for digest in (*digests.values(), moved):
        if digest_of(primary, repository, digest):
            delete_digest(primary, repository, digest)
            geo.event("delete", repository, digest=digest)
    geo.settle()

    # Then the protected ones stay
    assert tags(secondary, repository) == ["stable", "v1"]
    kept = geo.references(repository)["stable"]
    assert (kept.state, kept.desired_digest, kept.observed_digest) == (SyncState.SYNCED, None, moved)
    assert geo.row(repository).state == SyncState.SYNCED
    assert counts(geo)[0] == 0

    # And go once they are no longer protected, and looked at again
    policy(geo, "tags")
    sync(geo, repository)
    assert tags(secondary, repository) == []
    with connection():
        assert Reference.select().where(Reference.registry == geo.row(repository)).count() == 0
