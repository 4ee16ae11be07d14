"""Registries that cannot tell are no mismatch."""

from __future__ import annotations

import pytest

from app.models import SyncState, VerificationState
from app.replication.verification import work
from tests.replication.conftest import Proxied
from tests.replication.verification.stage import remove_file, replicated, run_due, told, verify
from tests.support import images
from tests.support.registries import DistributionRegistry

pytestmark = pytest.mark.timeout(90)


def test_a_secondary_that_does_not_answer_is_no_mismatch(
    proxied: Proxied, primary: DistributionRegistry, repository: str
) -> None:
    # Given a repository that was found whole
    geo, _, before_secondary = proxied
    replicated(geo, primary, repository, {f"v{number}": images.image() for number in range(3)})
    assert verify(geo, repository).in_order

    # When the secondary breaks every connection off
    broken = before_secondary.rule("manifests", drop=True)
    found = verify(geo, repository)

    # Then nothing is said to be missing, nothing is repaired, and it is tried again later
    assert (found.broken, found.in_order) == (0, False)
    row = geo.row(repository)
    assert row.verification_state == VerificationState.PENDING
    assert "could not be told" in (row.verification_failure or "")
    assert row.verification_retry_at is not None
    assert {each.state for each in geo.references(repository).values()} == {SyncState.SYNCED}
    assert work.run_due(geo.context) == 0

    # And it is whole again when the registry is back
    broken.times = 0
    assert run_due(geo) == 1
    row = geo.row(repository)
    assert (row.verification_state, row.verification_failure) == (VerificationState.SUCCEEDED, None)


@pytest.mark.parametrize(
    ("status", "body"), [(500, b""), (404, b"<h1>not here</h1>"), (404, b""), (200, b"{}"), (403, b"")]
)
def test_an_answer_that_tells_nothing_is_no_mismatch(
    proxied: Proxied, primary: DistributionRegistry, repository: str, status: int, body: bytes
) -> None:
    # Given one of two manifests that the secondary, or a proxy before it, says strange things of
    geo, _, before_secondary = proxied
    replicated(geo, primary, repository, {"v1": images.image(), "v2": images.image()})
    strange = before_secondary.rule("manifests/v1", status=status, body=body)

    # When
    found = verify(geo, repository, "manifests")

    # Then it could not be told, and the other is verified
    assert not found.in_order
    if status != 200:
        assert (found.broken, found.unsure) == (0, 1)
        assert geo.references(repository)["v1"].state == SyncState.SYNCED
        assert geo.row(repository).verification_failure_reason != "mismatch"
    assert geo.row(repository).verification_state == VerificationState.FAILED
    assert geo.references(repository)["v2"].verified_digest is not None

    # And what was not seen is looked at again
    strange.times = 0
    geo.settle()
    before_secondary.requests.clear()
    assert run_due(geo) == 1
    assert geo.row(repository).verification_state == VerificationState.SUCCEEDED
    assert before_secondary.count("manifests/v2") == 0


def test_a_moment_in_which_a_registry_cannot_tell_is_looked_past(
    proxied: Proxied, primary: DistributionRegistry, repository: str
) -> None:
    geo, _, before_secondary = proxied
    replicated(geo, primary, repository, {"v1": images.image()})
    unknown = b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}'
    before_secondary.rule("GET .*/manifests/v1", status=404, body=unknown, times=2)
    assert verify(geo, repository).in_order


def test_while_the_primary_is_away_the_secondary_is_verified_all_the_same(
    proxied: Proxied, primary: DistributionRegistry, secondary: DistributionRegistry, repository: str
) -> None:
    # Given a lost blob, and a primary that does not answer
    geo, before_primary, _ = proxied
    made = images.image()
    replicated(geo, primary, repository, {"v1": made, "v2": images.image()})
    away = before_primary.rule("", drop=True)

    # When nothing is missing
    found = verify(geo, repository)

    # Then that is told, and why it is not all
    assert (found.looked_at, found.broken, found.in_order) == (2, 0, False)
    row = geo.row(repository)
    assert (row.verification_failure_reason or "").startswith("primary_")
    assert "primary" in (row.verification_failure or "")

    # And when something is, it is named
    lost = made.blobs[-1]
    remove_file(secondary, lost.digest)
    assert {digest for *_, digest, _ in told(verify(geo, repository))} == {lost.digest}
    away.times = 0
    geo.settle()
    run_due(geo)
    assert geo.row(repository).verification_state == VerificationState.SUCCEEDED
