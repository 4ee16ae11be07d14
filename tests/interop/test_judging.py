from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.models import SyncState
from tests.interop import kinds
from tests.interop.judging import judge, refer_alike
from tests.interop.results import Outcome
from tests.interop.stage import Stage, Told
from tests.support import images
from tests.support.oci_registry import OciRegistry
from tests.support.referring import attach
from tests.support.wire import push

REPOSITORY = "team/app"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Two registries, and nothing between them."""
    kind = kinds.find(kinds.STAND_IN)
    assert kind is not None
    with OciRegistry() as primary, OciRegistry() as secondary:
        made = Stage(tmp_path, kind, kind)
        made.primary, made.secondary = primary, secondary
        yield made


def told(state: SyncState, reason: str | None = None) -> Told:
    return {"state": state, "failure_reason": reason, "failure": reason and f"words on {reason}"}


def test_what_is_said_to_be_there_is_looked_for(stage: Stage) -> None:
    # Given a tag on the primary alone, and one on both sides
    image = images.index()
    for tag in ("lost", "there"):
        push(stage.primary, REPOSITORY, tag, image)
    push(stage.secondary, REPOSITORY, "there", image)

    # When both are said to be synced
    there, lost = (judge(stage, tag, REPOSITORY, tag, told(SyncState.SYNCED)) for tag in ("there", "lost"))

    # Then
    assert there.outcome is Outcome.ARRIVED
    assert (lost.outcome, lost.reason) == (Outcome.WRONG, "team/app:lost is not on the secondary")


@pytest.mark.parametrize(
    ("name", "reason", "outcome"),
    [
        ("oci", "manifest_invalid", Outcome.REFUSED),
        ("oci", "server_error", Outcome.WRONG),
        ("oci", "digest_mismatch", Outcome.WRONG),
        ("schema1", "digest_mismatch", Outcome.REFUSED),
    ],
)
def test_a_failure_is_a_refusal_by_its_reason(stage: Stage, name: str, reason: str, outcome: Outcome) -> None:
    result = judge(stage, name, REPOSITORY, "v1", told(SyncState.FAILED, reason))
    assert result.outcome is outcome
    assert reason in result.reason


def test_what_nobody_knows_and_what_does_not_end_are_wrong(stage: Stage) -> None:
    assert judge(stage, "oci", REPOSITORY, "v1", None).outcome is Outcome.WRONG
    assert judge(stage, "oci", REPOSITORY, "v1", told(SyncState.STARTED)).outcome is Outcome.WRONG


def test_both_sides_have_to_list_the_same_referrers(stage: Stage) -> None:
    # Given an image on both sides, and nothing attached
    image = images.image()
    for registry in (stage.primary, stage.secondary):
        push(registry, REPOSITORY, "v1", image)
    assert not refer_alike(stage, REPOSITORY, image.digest)

    # When something is attached on one side, and then on the other
    signature = images.artifact(subject=image)
    attach(stage.primary, REPOSITORY, signature)
    assert not refer_alike(stage, REPOSITORY, image.digest)
    attach(stage.secondary, REPOSITORY, signature)

    # Then
    assert refer_alike(stage, REPOSITORY, image.digest)
