"""The short form of the interop run: what is installed here replicates, and what is refused is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.interop import kinds
from tests.interop.kinds import Kind
from tests.interop.pairing import run
from tests.interop.results import Outcome, share
from tests.support import parts

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
