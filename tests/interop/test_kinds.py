from __future__ import annotations

import pytest

from tests.interop import kinds
from tests.interop.kinds import tags_in, version_in

BUILT = """/home/geo/go/bin/zot: go1.26.8
\tpath\tzotregistry.dev/zot/v2/cmd/zot
\tmod\tzotregistry.dev/zot/v2\tv2.1.20\th1:abc=
\tdep\tgithub.com/other/thing\tv9.9.9\th1:def=
\tbuild\t-compiler=gc
\tbuild\t-tags=events,search
\tbuild\tCGO_ENABLED=0
"""


@pytest.mark.parametrize(
    ("facts", "words", "version"),
    [
        (BUILT, "unknown", "v2.1.20"),
        ("", "docker-registry github.com/docker/distribution 2.8.2+ds1", "2.8.2+ds1"),
        ("/usr/bin/docker-registry: go1.19.8\n\tpath\tcommand-line-arguments\n", "registry 2.8.2", "2.8.2"),
        ("", "", "unknown"),
    ],
)
def test_a_version_is_what_the_linker_says_or_the_program(facts: str, words: str, version: str) -> None:
    assert version_in(facts, words) == version


def test_a_program_tells_what_it_was_built_with() -> None:
    assert tags_in(BUILT) == ["events", "search"]
    assert tags_in("") == []


def test_what_is_part_of_the_tests_is_always_there() -> None:
    kind = kinds.find(kinds.STAND_IN)
    assert kind is not None
    assert not kind.notifies
