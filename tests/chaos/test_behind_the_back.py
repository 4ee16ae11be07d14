"""What is removed behind the secondary's back is found by a verification, and exactly that is repaired."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from tests.chaos.checker import Acknowledged
from tests.chaos.conftest import ChaosFactory
from tests.chaos.figures import tell
from tests.chaos.length import length
from tests.chaos.stage import ChaosStage
from tests.chaos.writes import blobs, deletions, manifests
from tests.support import images
from tests.support.images import Image
from tests.support.registries import DistributionRegistry
from tests.support.wire import push

pytestmark = [pytest.mark.long, pytest.mark.timeout(length(600, 900))]

DEADLINE = length(120.0, 240.0)

#: GitLab's number of the state in which a verification has found all to be there.
SUCCEEDED = 2


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that is removed, and what has to be uploaded again because of it: no more."""

    repository: str
    #: What a verification has to name.
    digest: str
    blobs: frozenset[str] = frozenset()
    manifests: frozenset[str] = frozenset()


def test_what_is_removed_is_found_and_exactly_that_is_repaired(chaos: ChaosFactory) -> None:
    # Given repositories in order, each with an index of two images, another tag beside it, and one that stays whole
    stage = chaos()
    names = ("team/blob", "team/child", "team/tag", "team/whole")
    pushed = {name: images.index([images.image(count=3), images.image(count=3)]) for name in names}
    acknowledged = [Acknowledged(name, "v1", push(stage.primary, name, "v1", one)) for name, one in pushed.items()]
    acknowledged += [Acknowledged(name, "v2", push(stage.primary, name, "v2", images.image())) for name in names]
    stage.settle(DEADLINE)
    # The verification that comes by itself after a sync would find some of it before it is asked for.
    stage.wait(lambda: verified(stage), DEADLINE, stage.tell)
    stage.checker.note()

    # When a blob, a child manifest and a tag are removed from the secondary's storage
    damages = [
        remove_blob(stage.secondary, "team/blob", pushed["team/blob"]),
        remove_child(stage.secondary, "team/child", pushed["team/child"]),
        remove_tag(stage.secondary, "team/tag", "v1", pushed["team/tag"]),
    ]
    found_broken = stage.checker.judge(acknowledged)
    assert len(found_broken.lost) == len(damages), found_broken.figures
    stage.target.clear()

    # Then a verification names each, and nothing else
    for damage in damages:
        found = verify(stage, damage.repository, status=1)
        assert {each["digest"] for each in found["findings"]} == {damage.digest}, found
        # And in what it is missing: the tag, and the child that it belongs to, which was pushed by its digest before.
        assert "v1" in {each["reference"] for each in found["findings"]}, found
    assert verify(stage, "team/whole", status=0)["in_order"]

    # And what was removed is brought back, and nothing else is uploaded
    stage.settle(DEADLINE)
    for name in names:
        stage.wait(lambda name=name: verify(stage, name)["in_order"], DEADLINE, stage.tell)  # type: ignore[misc]
    uploaded, put = blobs(stage.target.requests), manifests(stage.target.requests)
    tell("removed behind the back", damages=len(damages), blobs_uploaded=uploaded.total(), manifests_put=put.total())
    stage.judge(acknowledged).raise_for_faults()
    assert uploaded == Counter((damage.repository, digest) for damage in damages for digest in damage.blobs)
    # A manifest may be put although it is served, since a registry's cache can serve what its storage has not; but
    # only below what is broken, and what was missing is among them.
    assert {(damage.repository, reference) for damage in damages for reference in damage.manifests} <= put.keys()
    assert {repository for repository, _ in put} <= {damage.repository for damage in damages}
    assert not deletions(stage.target.requests)


def remove_blob(registry: DistributionRegistry, repository: str, index: Image) -> Damage:
    digest = index.children[0].blobs[1].digest
    registry.blob_path(digest).unlink()
    return Damage(repository, digest, blobs=frozenset({digest}))


def remove_child(registry: DistributionRegistry, repository: str, index: Image) -> Damage:
    digest = index.children[1].digest
    algorithm, _, encoded = digest.partition(":")
    shutil.rmtree(_of(registry, repository) / "_manifests/revisions" / algorithm / encoded)
    registry.blob_path(digest).unlink()
    return Damage(repository, digest, manifests=frozenset({digest}))


def remove_tag(registry: DistributionRegistry, repository: str, tag: str, index: Image) -> Damage:
    shutil.rmtree(_of(registry, repository) / "_manifests/tags" / tag)
    return Damage(repository, index.digest, manifests=frozenset({tag}))


def _of(registry: DistributionRegistry, repository: str) -> Any:
    return registry.storage / "docker/registry/v2/repositories" / repository


def verified(stage: ChaosStage) -> bool:
    """Whether all that was brought has been looked at, and all is well."""
    return all(
        state == SUCCEEDED
        for (state,) in stage.rows.ask("SELECT verification_state FROM container_repository_registry")
    )


def verify(stage: ChaosStage, repository: str, status: int | None = None) -> dict[str, Any]:
    """What `geo verify` says of a repository."""
    done = subprocess.run(
        [sys.executable, "-m", "app", "verify", repository, "--level", "blobs", "--json"],
        env=stage.env,
        cwd=stage.home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert status is None or done.returncode == status, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    document: dict[str, Any] = json.loads(done.stdout)
    return document
