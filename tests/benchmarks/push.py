"""One tag is pushed: how long until the secondary serves it, in a small repository and in one of 10,000 tags."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import InitVar, dataclass, field
from pathlib import Path

from tests.benchmarks.bulk import Result
from tests.benchmarks.corpus import Client
from tests.benchmarks.ours import NAME, Ours
from tests.benchmarks.peers import Job, Peer
from tests.benchmarks.race import Options
from tests.benchmarks.report import Aim, Row
from tests.benchmarks.stage import Stage, settle
from tests.support import images
from tests.support.images import Image
from tests.support.ports import free_port
from tests.support.registries import DistributionRegistry
from tests.support.running import endpoint

SMALL, CROWDED = "bench/small", "bench/crowded"

#: Tags of the crowded repository, and how many manifests they share.
TAGS, MANIFESTS = 10_000, 100

#: Pushes to each of the two repositories in a round.
PUSHES = 20

#: Seconds between two looks at the secondary's storage; then one request proves that it is served.
_LOOK = 0.001

#: Seconds after which a push counts as lost.
_PATIENCE = 60.0

#: Seconds for the first sync of the crowded repository, which is not measured.
_FILLING = 900.0


@dataclass
class Lags:
    """Milliseconds by repository and tool."""

    repositories: InitVar[Sequence[str]] = (SMALL, CROWDED)
    values: dict[str, dict[str, list[float]]] = field(init=False)
    failures: dict[str, dict[str, list[str]]] = field(init=False)

    def __post_init__(self, repositories: Sequence[str]) -> None:
        self.values = {repository: {} for repository in repositories}
        self.failures = {repository: {} for repository in repositories}

    def add(self, repository: str, tool: str, seconds: float | None, failure: str | None = None) -> None:
        if seconds is None:
            self.failures[repository].setdefault(tool, []).append(failure or "did not arrive")
        else:
            self.values[repository].setdefault(tool, []).append(seconds * 1000)


def pushed(options: Options) -> Result:
    lags = Lags()
    tags = options.scaled(TAGS, 10)
    pushes = options.scaled(PUSHES, 2)
    copiers = [peer for peer in options.peers if peer.copy is not None]
    with Stage(1024**3, options.storage) as stage, ExitStack() as stack:
        port = free_port()
        primary = stage.primary([endpoint(port, ignore=True)])
        secondary = stack.enter_context(stage.destination())
        with _stopped(primary, secondary):
            _crowd(primary, secondary, tags)
        folder = stack.enter_context(stage.directory(NAME))
        job = Job(primary.host, secondary.host, [SMALL, CROWDED])
        others = {peer.name: stack.enter_context(stage.destination()) for peer in copiers}
        ours = stack.enter_context(Ours(job, folder, options.env, port))
        filled = ours.sync(_FILLING)
        if filled.failure is not None:
            raise RuntimeError(f"the crowded repository could not be synced: {filled.failure}")
        options.say(f"  {tags} tags found equal in {filled.seconds:.1f} s")
        # Its verification goes on for some time.
        settle(primary, secondary, patience=_FILLING)
        source = stack.enter_context(Client(primary))
        target = stack.enter_context(Client(secondary))
        for number in range(-2, options.rounds * pushes):
            for repository in (SMALL, CROWDED):
                # Two to warm up: a push to processes that have opened no connection yet is not the usual one.
                counted = lags if number >= 0 else Lags()
                push_once(repository, f"new{number}", source, target, secondary, counted)
                if repository == SMALL:
                    for peer in copiers:
                        _copy(peer, primary, others[peer.name], f"new{number}", folder, options, counted)
            if number >= 0 and number % pushes == pushes - 1:
                options.say(f"  round {number // pushes + 1}: {len(lags.values[SMALL].get(NAME, []))} pushes to each")
        in_memory = stage.in_memory
    yardstick = next((peer.name for peer in copiers if peer.name == "crane"), "skopeo")
    small, crowded = lags.values[SMALL], lags.values[CROWDED]
    title = "push answered -> the secondary serves the tag; a peer's copy of it"
    rows = [
        Row("push", title, "ms", small, [Aim(1, yardstick)], lags.failures[SMALL], tail=True),
        Row(
            "push-crowded",
            f"the same in a repository of {tags} tags",
            "ms",
            crowded | {"small repository": small.get(NAME, [])},
            [Aim(1.2, "small repository", faster=False)],
            lags.failures[CROWDED],
            tail=True,
        ),
    ]
    return Result(rows, in_memory=in_memory)


def push_once(
    repository: str, tag: str, source: Client, target: Client, secondary: DistributionRegistry, lags: Lags
) -> None:
    """Push an image and wait until the secondary serves it."""
    image = _image()
    source.push(repository, tag, image)
    answered = time.monotonic()
    # Looking at the file costs the registry nothing, as a thousand requests a second would.
    link = repository_in(secondary, repository) / "_manifests/tags" / tag / "current/link"
    while True:
        if link.exists():
            body = target.fetch(repository, tag)
            if body == image.manifest:
                lags.add(repository, NAME, time.monotonic() - answered)
                return
        if time.monotonic() - answered > _PATIENCE:
            lags.add(repository, NAME, None)
            return
        time.sleep(_LOOK)


def _copy(
    peer: Peer,
    primary: DistributionRegistry,
    destination: DistributionRegistry,
    tag: str,
    folder: Path,
    options: Options,
    lags: Lags,
) -> None:
    image = f"{SMALL}:{tag}"
    timed = peer.copy_one(f"{primary.host}/{image}", f"{destination.host}/{image}", folder, options.timeout)
    lags.add(SMALL, peer.name, None if timed.failure else timed.seconds, timed.failure)


def _image() -> Image:
    """Two platforms of three layers, all new, 600 kB in all."""
    return images.index([images.image(count=3, size=100_000, architecture=name) for name in ("amd64", "arm64")])


def _crowd(primary: DistributionRegistry, secondary: DistributionRegistry, tags: int) -> None:
    """Give both sides the same repository of so many tags, by way of their storage: pushing takes minutes."""
    built = [images.image(size=64) for _ in range(min(MANIFESTS, tags))]
    with DistributionRegistry(primary.path / "filling") as filling, Client(filling) as client:
        for image in built:
            client.push(CROWDED, None, image)
    for registry in (primary, secondary):
        shutil.copytree(filling.storage, registry.storage, dirs_exist_ok=True)
        manifests = repository_in(registry, CROWDED) / "_manifests"
        for number in range(tags):
            digest = built[number % len(built)].digest
            folder = manifests / f"tags/tag{number:05}"
            for place in (folder / "current", folder / "index/sha256" / digest.partition(":")[2]):
                place.mkdir(parents=True)
                (place / "link").write_text(digest)
    shutil.rmtree(filling.path)


@contextmanager
def _stopped(*registries: DistributionRegistry) -> Iterator[None]:
    for registry in registries:
        registry.stop()
    yield
    for registry in registries:
        registry.start()


def repository_in(registry: DistributionRegistry, name: str) -> Path:
    """Where the registry's storage has that repository."""
    return registry.storage / "docker/registry/v2/repositories" / name
