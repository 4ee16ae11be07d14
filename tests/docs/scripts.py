"""Which pages are run, and on which stage. A page that is not here may have no shell block but marked ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.docs import stages
from tests.docs.stages import Setting


@dataclass(frozen=True, slots=True)
class Script:
    """How one page is run: all its shell blocks that are not marked, in their order."""

    page: str
    setting: Setting
    name: str = ""
    #: Whether `make test` leaves it to `make test-long`.
    long: bool = False

    def __str__(self) -> str:
        return f"{self.page}{' ' if self.name else ''}{self.name}"


SCRIPTS = (
    Script("docs/quick-start.md", stages.bare),
    Script("docs/distribution.md", stages.distribution("2.8"), "2.8", long=True),
    Script("docs/distribution.md", stages.distribution("3"), "3", long=True),
    Script("docs/gitlab.md", stages.bare),
    Script("docs/operate.md", stages.running, long=True),
    Script("docs/troubleshooting.md", stages.running, long=True),
    Script("docs/two-sites.md", stages.two_sites, long=True),
)

#: Pages whose blocks are run in the checkout itself, with these words added: they take long, and fixed ports.
CHECKOUT: Mapping[str, Mapping[str, str]] = {
    "README.md": {"make demo": 'make demo ARGS="--once --port {port}"'},
    "docs/performance.md": {
        "--json bench.json": "--json {scratch}/bench.json --scenario unchanged --rounds 1 --scale 0.02 --tools ours",
        "--markdown bench.json": "--markdown {scratch}/bench.json",
        "--scenario cold-far,unchanged-far,layer-far --tools ours,crane,regsync,crane-defaults,regsync-defaults": (
            "--scenario cold-far --rounds 1 --scale 0.02 --tools ours"
        ),
        "--scenario size --rounds 3": "--scenario size --rounds 1 --scale 0.01",
        "--scenario scale --rounds 3": "--scenario scale --rounds 1 --scale 0.05",
    },
}

#: Pages whose blocks are all run by a test elsewhere.
ELSEWHERE: Mapping[str, str] = {
    "docs/api.md": "tests/api/test_reference.py",
    "docs/reliability.md": "tests/soak/test_soak.py",
}
