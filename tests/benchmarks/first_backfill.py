"""A first backfill: a new site before a primary of many small repositories, and what is pushed meanwhile."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from tests.benchmarks.bulk import MEMORY_LIMIT, Result
from tests.benchmarks.corpus import Client, Corpus, Tag
from tests.benchmarks.measure import Run, cpu_seconds, requests_to, since
from tests.benchmarks.ours import NAME, Ours
from tests.benchmarks.peers import Job
from tests.benchmarks.push import Lags, push_once, repository_in
from tests.benchmarks.race import Options
from tests.benchmarks.report import Aim, Row
from tests.benchmarks.stage import Stage, settle
from tests.support import images
from tests.support.ports import free_port
from tests.support.registries import DistributionRegistry
from tests.support.running import endpoint

#: Each with one tag: a configuration and a layer of its own.
REPOSITORIES = 10_000
LAYER = 4096

#: Where the fresh pushes go.
FRESH = "bench/fresh"

#: Seconds between two fresh pushes, and how many there are when all is at rest again.
BETWEEN, AT_REST = 1.0, 20

#: The column of those.
RESTING = "at rest"

#: Seconds after which it is given up, for each repository, and beside that.
_EACH, _PATIENCE = 0.5, 120.0


def first_backfill(options: Options) -> Result:
    repositories = options.scaled(REPOSITORIES, 10)
    # A file takes a page of memory, and a repository has some thirty of them on each side.
    with Stage(repositories * 2 * 40 * 4096 + 1024**3, options.storage) as stage, ExitStack() as stack:
        port = free_port()
        primary = stage.primary()
        secondary = stack.enter_context(stage.destination())
        began = time.monotonic()
        corpus = _filled(primary, repositories)
        # Not before: it would send all of this again and again, and then every fresh push behind it.
        primary.stop()
        primary.notify = (endpoint(port, ignore=True),)
        primary.start()
        options.say(f"  {repositories} repositories pushed in {time.monotonic() - began:.1f} s")
        folder = stack.enter_context(stage.directory(NAME))
        source = stack.enter_context(Client(primary))
        target = stack.enter_context(Client(secondary))
        before = requests_to(primary), requests_to(secondary)
        busy = _cpu(primary), _cpu(secondary)
        lags = Lags((FRESH,))
        began = time.monotonic()
        job = Job(primary.host, secondary.host, [*corpus.repositories, FRESH])
        ours = stack.enter_context(Ours(job, folder, options.env, port))
        waiting = [_link(secondary, tag) for tag in reversed(corpus.tags)]
        number = 0
        while _some_left(waiting):
            if time.monotonic() - began > _PATIENCE + _EACH * repositories:
                raise RuntimeError(f"{len(waiting)} of {repositories} repositories did not arrive")
            due = time.monotonic() + BETWEEN
            push_once(FRESH, f"new{number}", source, target, secondary, lags)
            number += 1
            while time.monotonic() < due and _some_left(waiting):
                time.sleep(0.02)
        seconds = time.monotonic() - began
        options.say(f"  all there after {seconds:.1f} s, {number} pushes meanwhile")
        run = Run(NAME, 0, seconds)
        settle(primary, secondary, patience=_PATIENCE + seconds)
        run.memory = ours.memory()
        run.cpu = {
            "tool": ours.cpu(),
            "primary": _cpu(primary) - busy[0],
            "destination": _cpu(secondary) - busy[1],
        }
        run.requests = {
            "primary": since(before[0], requests_to(primary)),
            "destination": since(before[1], requests_to(secondary)),
        }
        missing = target.missing(corpus)
        if missing:
            raise RuntimeError(f"not there as they should be: {len(missing)}, such as {missing[0]}")
        resting = Lags((FRESH,))
        for number in range(options.scaled(AT_REST, 3)):
            push_once(FRESH, f"rest{number}", source, target, secondary, resting)
        in_memory = stage.in_memory
    return Result(_rows(repositories, run, lags, resting), [run], corpus.least_cold, in_memory)


def _rows(repositories: int, run: Run, lags: Lags, resting: Lags) -> list[Row]:
    # What is pushed meanwhile reads nothing from the primary; on the secondary it is a fraction of the rest.
    asked = sum(count for what, count in run.requests["primary"].items() if what.startswith(("GET", "HEAD")))
    failures = {tool: why for each in (lags, resting) for tool, why in each.failures[FRESH].items()}
    meanwhile = lags.values[FRESH].get(NAME, [])
    assert run.seconds is not None
    return [
        Row("backfill", f"first backfill of {repositories} repositories of one small tag", "s", {NAME: [run.seconds]}),
        Row(
            "backfill-requests",
            "reading requests to the primary per repository, fresh pushes and verification included",
            "requests",
            # A listing, a manifest, a configuration and a layer; and one page of the catalog for many.
            {NAME: [asked / repositories], "least": [4.0]},
        ),
        Row(
            "backfill-written",
            "requests to the secondary per repository, fresh pushes and verification included",
            "requests",
            {NAME: [run.count("destination") / repositories]},
        ),
        Row("backfill-memory", "resident memory of a worker", "MB", {NAME: [run.memory / 1e6]}, [Aim(MEMORY_LIMIT)]),
        Row(
            "backfill-push",
            "a fresh push meanwhile: answered -> the secondary serves the tag",
            "ms",
            {NAME: meanwhile, RESTING: resting.values[FRESH].get(NAME, [])},
            [],
            failures,
            tail=True,
        ),
    ]


def _filled(primary: DistributionRegistry, repositories: int) -> Corpus:
    corpus = Corpus(size=repositories * LAYER)
    with Client(primary) as client:
        for number in range(repositories):
            repository, image = f"group-{number // 100:03}/app-{number:05}", images.image(count=1, size=LAYER)
            client.push(repository, "v1", image)
            corpus.tags.append(Tag.of(repository, "v1", image))
    return corpus


def _cpu(registry: DistributionRegistry) -> float:
    assert registry.process is not None
    return cpu_seconds(registry.process.pid)


def _link(registry: DistributionRegistry, tag: Tag) -> Path:
    return repository_in(registry, tag.repository) / "_manifests/tags" / tag.name / "current/link"


def _some_left(waiting: list[Path]) -> bool:
    """Whether some of these files are not there yet; those that are there are taken off the end."""
    while waiting and waiting[-1].exists():
        waiting.pop()
    return bool(waiting)
