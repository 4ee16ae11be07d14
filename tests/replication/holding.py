"""Rows that are claimed, and what becomes of their references: shared by the tests of claims, closings and outcomes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from app.database import connection
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Reference
from app.replication.claim import Claim
from app.replication.outcome import Done, Failed
from tests.support import images
from tests.support.deployment import Deployment, event

ONE = images.sha256(b"one")


def ask(state: Deployment, *tags: str, repository: str = "team/app") -> Registry:
    """Let these tags have been pushed, and their row be due."""
    state.store(*(event(tag=tag, repository=repository, digest=ONE) for tag in tags or ("v1",)))
    state.mark()
    return state.row(repository)


def taken(state: Deployment) -> Claim:
    """Take the next row, which there is."""
    claim = state.take()
    assert claim is not None
    return claim


def expire(claim: Claim) -> None:
    """Let the lease have run out, as the others measure it."""
    with connection():
        past = datetime.now(UTC) - timedelta(seconds=1)
        Registry.update(lease_expires_at=past).where(Registry.id == claim.registry_id).execute()


def done(reference: Reference, digest: str | None = ONE) -> Done:
    instant = datetime.now(UTC)
    return Done("copy", instant, instant, digest)


def failed(message: str = "broken", **fields: object) -> Failed:
    instant = datetime.now(UTC)
    values: dict[str, object] = {"reason": "unreachable", "temporary": True}
    return Failed(message=message, started_at=instant, finished_at=instant, **(values | fields))  # type: ignore[arg-type]
