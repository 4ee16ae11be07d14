"""What goes wrong in a sync: one tag, a line, a registry; and how it is made up for."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.models import SyncState
from tests.replication.conftest import Proxied
from tests.support import images
from tests.support.compare import assert_same
from tests.support.deployment import Deployment, environment, event
from tests.support.keys import TokenAuth, make_rsa
from tests.support.registries import DistributionRegistry, RegistryFactory
from tests.support.wire import digest_of, push, push_blob

pytestmark = pytest.mark.timeout(90)


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
    proxied: Proxied, primary: DistributionRegistry, repository: str
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
    proxied: Proxied,
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


def test_retry_after_is_obeyed(proxied: Proxied, primary: DistributionRegistry, repository: str) -> None:
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
