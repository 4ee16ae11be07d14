"""The short form of the interop run: what is installed here replicates, and what is refused is refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from app.models import SyncState
from tests.interop import kinds
from tests.interop.kinds import Kind
from tests.interop.pairing import run
from tests.interop.results import Outcome, share
from tests.interop.stage import Stage
from tests.support import images, parts
from tests.support.wire import digest_of, push

#: Each as primary and as secondary, with one of another kind.
PAIRS = [
    ("2.8", "3"),
    ("3", "2.8"),
    ("2.8", kinds.STAND_IN),
    (kinds.STAND_IN, "2.8"),
    ("zot", "2.8"),
    ("2.8", "zot"),
    ("olareg", "2.8"),
    ("2.8", "olareg"),
]


def installed(name: str) -> Kind:
    kind = kinds.find(name)
    if kind is None and name == "2.8":
        parts.require("docker-registry", "/usr/bin/docker-registry")
    if kind is None:
        pytest.skip(f"{name} is not installed (optional)")
    return kind


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize(("primary", "secondary"), PAIRS)
def test_two_registries_replicate(tmp_path: Path, primary: str, secondary: str) -> None:
    # Given two registries
    first, second = installed(primary), installed(secondary)

    # When some of every kind is pushed to one, attached, deleted
    pairing = run(first, second, tmp_path, short=True)

    # Then all of it is on the other, but for what that refuses with a reason
    assert pairing.troubles == []
    assert pairing.referrers is not None
    assert pairing.deletion is not None
    for results in (pairing.formats, pairing.content):
        arrived, taken = share(results)
        refused = [result for result in results if result.outcome is Outcome.REFUSED]
        assert arrived + len(refused) == taken
        assert arrived > len(refused)


@pytest.mark.long
def test_a_primary_that_should_tell_of_a_push_and_does_not_is_found_out(tmp_path: Path) -> None:
    # Given a registry of which notifications are expected, and that sends none
    silent = replace(installed(kinds.STAND_IN), notifies=True)
    with Stage(tmp_path, silent, installed(kinds.STAND_IN), patience=2) as stage:
        # When something is pushed
        image = images.image()
        push(stage.primary, "team/app", "v1", image)

        # Then it is missing, also when it got there another way
        assert stage.bring("team/app", ["v1"]) == {}
        stage.sync("team/app")
        assert digest_of(stage.secondary, "team/app", "v1") == image.digest
        assert stage.references("team/app")["v1"]["state"] == SyncState.SYNCED
        assert stage.bring("team/app", ["v1"]) == {}
