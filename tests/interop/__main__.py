"""The interop run: every registry that is installed with every one, `make interop`, or `python -m tests.interop`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from tests.benchmarks.machine import commit
from tests.interop import kinds, suite
from tests.interop.kinds import Kind
from tests.interop.pairing import run
from tests.interop.report import PAGE, Report, Tried, markdown, written
from tests.interop.results import Pairing, share

#: Seconds after which no further pairing is begun.
LIMIT = 3600.0


def main() -> int:
    options = _arguments()
    # Whatever was started is ended on the way out.
    signal.signal(signal.SIGTERM, _leave)
    found, missing = _found(options.registries)
    if not found:
        _say("there is no registry to try")
        return 2
    program = None if options.without_suite else suite.find()
    report = Report(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit(),
        registries=[Tried(kind.name, kind.title, kind.version, kind.notifies) for kind in found],
        missing=[kinds.title(name) for name in missing],
        suite=None if program is None else suite.version(program),
    )
    _say(", ".join(f"{kind.title} {kind.version}" for kind in found))
    for name in report.missing:
        _say(f"{name} is not installed")
    end = time.monotonic() + options.timeout
    for first, second in [(first, second) for first in found for second in found]:
        if time.monotonic() > end:
            _say(f"{options.timeout:g} s are over")
            break
        with tempfile.TemporaryDirectory(prefix="geo-interop-") as path:
            pairing = run(first, second, Path(path), short=options.short, program=program)
        report.pairings.append(pairing)
        _tell(first, second, pairing)
        if options.json is not None:
            # After each: an interrupted run leaves what it has.
            options.json.write_text(json.dumps(report.document(), indent=1, ensure_ascii=False) + "\n")
    return _end(report, options.page)


def _end(report: Report, page: Path | None) -> int:
    if page is None:
        print(markdown(report))  # noqa: T201 - what it was asked for
    elif report.complete:
        page.write_text(written(page.read_text(), report))
        _say(f"the results are in {page}")
    else:
        _say(f"not every pairing was tried: {page} stays as it is")
        return 1
    return int(any(pairing.troubles for pairing in report.pairings))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.interop", description=__doc__)
    parser.add_argument(
        "--registries",
        type=lambda text: text.split(","),
        default=list(kinds.NAMES),
        help=f"only these, of {', '.join(kinds.NAMES)}; the page is then left alone",
    )
    parser.add_argument("--short", action="store_true", help="a few of the formats; the page is then left alone")
    parser.add_argument("--without-suite", action="store_true", help="leave the conformance suite out")
    parser.add_argument("--timeout", type=float, default=LIMIT, help="seconds after which no pairing is begun")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results there")
    parser.add_argument("--print", action="store_true", help="print the results in place of writing them to the page")
    options = parser.parse_args()
    unknown = sorted(set(options.registries) - set(kinds.NAMES))
    if unknown:
        parser.error(f"no such registry: {', '.join(unknown)}")
    partly = options.short or options.without_suite or options.print or options.registries != list(kinds.NAMES)
    options.page = None if partly else PAGE
    return options


def _found(names: list[str]) -> tuple[list[Kind], list[str]]:
    looked = {name: kinds.find(name) for name in names}
    return [kind for kind in looked.values() if kind is not None], [name for name in names if looked[name] is None]


def _tell(first: Kind, second: Kind, pairing: Pairing) -> None:
    arrived, taken = share(pairing.formats)
    _say(f"{first.title} -> {second.title}: {arrived} of {taken} formats, {pairing.seconds:g} s")
    for trouble in pairing.troubles:
        _say(f"    {trouble}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(143)


if __name__ == "__main__":
    sys.exit(main())
