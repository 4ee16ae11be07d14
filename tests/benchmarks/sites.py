"""One pull for many: what three sites cost the primary, beside one."""

from __future__ import annotations

import re
import sys
from contextlib import ExitStack

import requests

from tests.benchmarks.bulk import Result
from tests.benchmarks.corpus import MIB, large, shared_base
from tests.benchmarks.measure import run_commands
from tests.benchmarks.ours import NAME, Ours
from tests.benchmarks.peers import Job
from tests.benchmarks.race import Options
from tests.benchmarks.report import Aim, Row
from tests.benchmarks.stage import Stage, emptied, settle
from tests.support.registries import DistributionRegistry

#: The sites beside the first.
FURTHER = ("two", "three")

#: Repositories of five small images each, and layers of this size in two large ones.
REPOSITORIES, LARGE = 20, 64 * MIB

_BYTES = re.compile(r'^registry_http_response_size_bytes_sum\{handler="\w+"\} ([0-9.e+]+)$', re.MULTILINE)


def sites(options: Options) -> Result:
    """Small images with a shared base, and two large ones, cold, to one site and to three at once."""
    repositories = options.scaled(REPOSITORIES, 2)
    bytes_read: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    failures: dict[str, list[str]] = {}
    with Stage(8 * (repositories * 4 * MIB + 4 * LARGE), options.storage) as stage:
        primary = stage.primary()
        shared_base(primary, repositories, 5)
        large(primary, ["bench/big-0", "bench/big-1"], 2, options.scaled(LARGE, MIB))
        for number in range(options.rounds):
            for tool, further in (("one site", ()), (NAME, FURTHER)):
                failure, took, read = _run(stage, primary, further, options)
                options.say(f"  round {number + 1} {tool}: {took:.2f} s, {read / 1e6:.1f} MB {failure or ''}")
                if failure is not None:
                    failures.setdefault(tool, []).append(failure)
                    continue
                bytes_read.setdefault(tool, []).append(read / 1e6)
                seconds.setdefault(tool, []).append(took)
        in_memory = stage.in_memory
    limit = [Aim(1.1, "one site", False)]
    title = "three sites at once, cold"
    rows = [
        Row("sites-bytes", f"read from the primary, {title}", "MB", bytes_read, limit, failures),
        Row("sites", title, "s", seconds, [], failures),
    ]
    return Result(rows, in_memory=in_memory)


def _run(
    stage: Stage, primary: DistributionRegistry, further: tuple[str, ...], options: Options
) -> tuple[str | None, float, float]:
    """What failed, the seconds until all sites had everything, and the bytes that the primary gave out."""
    with ExitStack() as stack:
        first = stack.enter_context(stage.destination())
        others = {name: stack.enter_context(stage.destination()) for name in further}
        folder = stack.enter_context(stage.directory("sites"))
        env = {**options.env, "GEO_SITE_NAME": ",".join(("one", *further))}
        env |= {f"GEO_SECONDARY_REGISTRY_URL_{name.upper()}": each.url for name, each in others.items()}
        ours = Ours(Job(primary.host, first.host, ()), folder, env)
        with emptied(primary):
            # A service begins to copy as soon as it finds anything.
            stack.enter_context(ours)
            settle(primary, first, *others.values())
        before = _given(primary)
        timed = run_commands(
            [[sys.executable, "-m", "app", "sync", "--all", "--wait", "--site", name] for name in ("one", *further)],
            log=folder / "sync.log",
            env=ours.environment,
            cwd=folder,
            timeout=options.timeout,
            at_once=1 + len(further),
        )
        return timed.failure, timed.seconds, _given(primary) - before


def _given(registry: DistributionRegistry) -> float:
    """Bytes of all answers so far."""
    with requests.Session() as session:
        session.trust_env = False
        text = session.get(f"http://127.0.0.1:{registry.debug_port}/metrics", timeout=10).text
    found = _BYTES.findall(text)
    assert found, "the registry does not tell how many bytes it gave out"
    return sum(map(float, found))
