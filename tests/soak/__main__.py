"""The soak: `make soak`, or `python -m tests.soak --help`."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from tests.soak.report import Report
from tests.soak.run import Plan, Run, say


def main() -> int:
    options = _arguments()
    # Whatever was started is ended on the way out.
    signal.signal(signal.SIGTERM, _leave)
    if not options.judge:
        more = {name: value for name in ("pause", "processors") if (value := getattr(options, name)) is not None}
        settings = dict(given.split("=", 1) for given in options.set)
        Run(Plan.of(options.minutes, options.seed, settings=settings, **more), options.out).go()
    report = Report.read(options.out)
    report.write(options.out)
    say(report.summary())
    return 0 if report.good else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--out", type=Path, default=Path("build/soak"), help="where figures, table and plots go")
    parser.add_argument("--seed", type=int, help="of pushes and faults (default: drawn)")
    parser.add_argument("--pause", type=float, help="seconds between two pushes")
    parser.add_argument("--processors", type=float, help="what the whole run may use on average, such as 0.45")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of both sites")
    parser.add_argument("--judge", action="store_true", help="judge the figures that are in DIR already; run nothing")
    options = parser.parse_args()
    options.out = options.out.resolve()
    return options


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(143)


if __name__ == "__main__":
    sys.exit(main())
