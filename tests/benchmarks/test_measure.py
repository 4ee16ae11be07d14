from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from tests.benchmarks.corpus import Corpus, Tag
from tests.benchmarks.measure import TIMED_OUT, Timed, run_commands, since
from tests.support.processes import clean_environment


def _run(path: Path, *programs: str, timeout: float = 20, at_once: int = 1) -> Timed:
    commands = [[sys.executable, "-c", program] for program in programs]
    env = clean_environment()
    return run_commands(commands, log=path / "log", env=env, cwd=path, timeout=timeout, at_once=at_once)


def test_commands_run_one_after_the_other_or_together(tmp_path: Path) -> None:
    # Given two commands that each wait for the other to have begun, and a third
    program = (
        "import pathlib, time\npathlib.Path('{0}').touch()\nwhile not pathlib.Path('{1}').exists(): time.sleep(.01)"
    )

    # When
    together = _run(tmp_path, program.format("a", "b"), program.format("b", "a"), "", at_once=2)

    # Then
    assert together.failure is None
    assert together.cpu > 0
    assert together.memory > 1_000_000


def test_a_failure_is_told_with_the_last_line(tmp_path: Path) -> None:
    # When
    timed = _run(tmp_path, "print('first', flush=True)\nraise SystemExit('it is broken')", "")

    # Then
    assert timed.failure == "exit 1: it is broken"


def test_what_takes_too_long_is_ended(tmp_path: Path) -> None:
    # When
    timed = _run(tmp_path, "import time\ntime.sleep(600)", timeout=0.3)

    # Then
    assert timed.failure == TIMED_OUT
    assert timed.seconds < 20


def test_only_what_was_added_is_counted() -> None:
    assert since(
        Counter({"GET blob 200": 2, "HEAD blob 404": 1}), Counter({"GET blob 200": 5, "HEAD blob 404": 1})
    ) == {"GET blob 200": 3}


def test_the_least_is_each_manifest_and_each_blob_once_and_the_listings() -> None:
    # Given two repositories whose three tags share a layer, two of them all
    one = Tag("a", "v1", "m1", "t", frozenset({"m1"}), frozenset({"base", "c1"}))
    same = Tag("a", "v2", "m1", "t", frozenset({"m1"}), frozenset({"base", "c1"}))
    other = Tag("b", "v1", "m2", "t", frozenset({"m2", "child"}), frozenset({"base", "c2"}))

    # When
    corpus = Corpus([one, same, other])

    # Then: catalog and two listings, three manifests, three blobs; unchanged, each tag is looked at
    assert corpus.least_cold == 3 + 3 + 3
    assert corpus.least_unchanged == 3 + 3
