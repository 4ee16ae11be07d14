"""The benchmark suite: `make bench`, or `python -m tests.benchmarks --help`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from tests.benchmarks import bulk, machine, peers, report
from tests.benchmarks.bulk import Result
from tests.benchmarks.ceiling import ceiling
from tests.benchmarks.first_backfill import first_backfill
from tests.benchmarks.ours import NAME
from tests.benchmarks.push import pushed
from tests.benchmarks.race import Options
from tests.benchmarks.scale import scale
from tests.benchmarks.sites import sites
from tests.benchmarks.size import size
from tests.support import parts

#: In the order in which they run.
SCENARIOS: dict[str, Callable[[Options], Result]] = {
    "cold": partial(bulk.cold, far=False),
    "cold-far": partial(bulk.cold, far=True),
    "unchanged": partial(bulk.unchanged, far=False),
    "unchanged-far": partial(bulk.unchanged, far=True),
    "large": bulk.big_images,
    "layer-far": bulk.slow_layer,
    "push": pushed,
    "memory": bulk.memory,
    "changed": bulk.changed,
    "line": ceiling,
    "size": size,
    "backfill": first_backfill,
    "sites": sites,
    "scale": scale,
}

#: Run only when they are asked for: the table of aims does not have them.
EXTRA = ("changed", "line", "size", "backfill", "sites", "scale")

#: Where the registry is: Debian's package.
REGISTRY = ("docker-registry", "/usr/bin/docker-registry")


def main() -> int:
    options = _arguments()
    if options.markdown is not None:
        print(report.markdown(json.loads(options.markdown.read_text())))
        return 0
    if parts.find(*REGISTRY) is None:
        _say("there is no docker-registry to measure with")
        return 2
    # Whatever was started is ended on the way out.
    signal.signal(signal.SIGTERM, _leave)
    known = peers.found()
    tools = options.tools.split(",") if options.tools else [NAME, *(peer.name for peer in known)]
    asked = Options(
        rounds=options.rounds,
        scale=options.scale,
        timeout=options.timeout,
        peers=[peer for peer in known if peer.name in tools],
        ours=NAME in tools,
        storage=options.storage,
        at_once=options.at_once,
        env=dict(given.split("=", 1) for given in options.set),
        plans=options.plans,
        say=_say,
    )
    names = options.scenario or [name for name in SCENARIOS if name not in EXTRA]
    document = _heading(asked)
    _say(f"{', '.join(f'{name} {version}' for name, version in document['versions'].items())}")
    failed = False
    for name in names:
        began = time.monotonic()
        _say(f"{name} ...")
        try:
            result = SCENARIOS[name](asked)
        except (AssertionError, OSError, RuntimeError) as error:
            _say(f"{name} could not be measured: {error}")
            failed = True
            continue
        _add(document, name, result, time.monotonic() - began)
        if options.json is not None:
            # After each scenario: an interrupted run leaves what it has.
            options.json.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
        print(report.table(result.rows), flush=True)
    if len(names) > 1:
        print("\n" + report.table([report.Row.load(row) for row in document["rows"]]))
    return int(failed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--scenario",
        type=lambda text: text.split(","),
        action="extend",
        help=f"one or more of {', '.join(SCENARIOS)} (default: all but {', '.join(EXTRA)})",
    )
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies sizes and numbers, to try things out")
    parser.add_argument("--timeout", type=float, default=300.0, help="seconds after which a run is given up")
    parser.add_argument("--tools", help=f"only these, such as {NAME},crane")
    parser.add_argument("--at-once", type=int, help="repositories that the peers copy at a time")
    parser.add_argument("--storage", type=Path, help="where registries keep their storage (default: in memory)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of ours")
    parser.add_argument("--plans", action="store_true", help="size: show what the database makes of each query")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="print the table of such a file, run nothing")
    options = parser.parse_args()
    unknown = sorted(set(options.scenario or []) - SCENARIOS.keys())
    if unknown:
        parser.error(f"no such scenario: {', '.join(unknown)}")
    return options


def _heading(options: Options) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": machine.commit(),
        "machine": machine.machine(),
        "versions": machine.versions(options.peers),
        "options": {
            "rounds": options.rounds,
            "scale": options.scale,
            "at_once": options.at_once,
            "settings": dict(options.env),
        },
        "storage_in_memory": True,
        "rows": [],
        "scenarios": {},
    }


def _add(document: dict[str, Any], name: str, result: Result, seconds: float) -> None:
    document["storage_in_memory"] = document["storage_in_memory"] and result.in_memory
    document["rows"] += [row.document() for row in result.rows]
    document["scenarios"][name] = {
        "seconds": round(seconds, 1),
        "in_memory": result.in_memory,
        "least_requests": result.least,
        "runs": [asdict(run) for run in result.runs],
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(143)


if __name__ == "__main__":
    sys.exit(main())
