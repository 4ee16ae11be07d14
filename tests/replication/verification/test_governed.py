"""Governed: what the primary's deployment asks of a site's verification holds beside the site's own settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from app.database import connection, now
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Reference, Site, SyncState, VerificationState
from app.replication.verification import asking, claim, references
from app.settings import VerificationLevel as Level
from tests.support.deployment import Deployment, offline_environment

pytestmark = pytest.mark.timeout(60)

DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def state(database_url: str) -> Iterator[Deployment]:
    """A site's own deployment that verifies nothing by itself, with a repository that was copied."""
    env = offline_environment(database_url, GEO_ROLE="secondary", GEO_SITE_NAME="berlin")
    env |= {"GEO_PRIMARY_URL": "http://127.0.0.1:9", "GEO_SITE_TOKEN": "x"}
    env |= {"GEO_VERIFICATION": "off", "GEO_VERIFICATION_INTERVAL": "off"}
    deployment = Deployment.start(env)
    deployment.event("push", "team/app", "v1")
    deployment.mark()
    with connection():
        Registry.update(state=SyncState.SYNCED).execute()
    try:
        yield deployment
    finally:
        deployment.close()


def ask(state: Deployment, level: Level | None) -> None:
    with connection():
        asked = None if level is None else level.value
        Site.update(granted_verification=asked).where(Site.id == state.site.id).execute()


def shown() -> VerificationState:
    with connection():
        return VerificationState(Registry.get().verification_state)


def due(state: Deployment) -> int:
    with connection():
        return claim.count_due(state.context.settings, 10)


def test_what_the_primary_asks_for_is_verified_although_we_would_not(state: Deployment) -> None:
    # Given nothing to verify
    settings = state.context.settings
    assert settings.verification is None
    asking.switch(settings)
    assert (shown(), due(state), claim.claim_next(settings)) == (VerificationState.DISABLED, 0, None)

    # When the primary asks for it
    ask(state, Level.BLOBS)
    asking.switch(settings)

    # Then it is due, and taken as far as it asked
    assert (shown(), due(state)) == (VerificationState.PENDING, 1)
    taken = claim.claim_next(settings)
    assert taken is not None
    assert taken.level is Level.BLOBS


def test_of_both_levels_the_deeper_is_taken(state: Deployment) -> None:
    ask(state, Level.MANIFESTS)
    for own, expected in ((Level.TAGS, Level.MANIFESTS), (Level.CONTENT, Level.CONTENT)):
        with connection():
            Registry.update(verification_state=VerificationState.PENDING).execute()
        taken = claim.claim_next(replace(state.context.settings, verification=own))
        assert taken is not None
        assert taken.level is expected


def test_who_follows_nobody_is_asked_by_nobody(state: Deployment) -> None:
    ask(state, Level.BLOBS)
    with connection():
        assert claim.count_due(replace(state.context.settings, source=None), 10) == 0


def test_what_nobody_has_seen_is_looked_at_as_the_primary_asks_however_little_was_asked_for(state: Deployment) -> None:
    # Given a tag that was just copied, and one that was verified before
    state.event("push", "team/app", "v2")
    state.mark()
    with connection():
        Registry.update(state=SyncState.SYNCED).execute()
        seen = {"verified_digest": DIGEST, "verified_at": now()}
        Reference.update(state=SyncState.SYNCED, desired_digest=DIGEST, observed_digest=DIGEST).execute()
        Reference.update(**seen).where(Reference.name == "v1").execute()
        row = Registry.get()
    ask(state, Level.CONTENT)

    # When a person asks for a quick look at everything
    asking.reverify(row.id, Level.TAGS)
    claimed = claim.claim_next(state.context.settings)
    assert claimed is not None

    # Then the quick look is for what was seen before
    looked_at = {each.name: each.level for batch in references.batches(claimed) for each in batch}
    assert looked_at == {"v1": Level.TAGS, "v2": Level.CONTENT}
    claim.release(claimed)
