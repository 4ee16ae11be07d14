"""The report: what a run left behind becomes tables, plots and a verdict."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.soak.report import Report

MIB = 1024 * 1024

KINDS = {
    "primary": ("web", "web leader", "scheduler", "supervisor", "valkey"),
    "secondary": ("worker", "worker leader", "scheduler", "web", "web leader", "supervisor", "valkey"),
}

TABLES = {
    "primary": {"geo_events": 3, "geo_sites": 0},
    "secondary": {"geo_events": 3, "sync_attempts": 4, "container_repository_references": 1, "geo_leases": 0},
}


def sample(number: int) -> dict[str, Any]:
    """The look after so many pushes, one every five seconds; the tests look every half minute."""
    return {
        "t": 5.0 * number,
        "phase": "run" if number < 700 else "quiet",
        "done": {"events": 3 * number, "blobs": 2 * number, "there": 100},
        "processes": [
            {
                "site": site,
                "kind": kind,
                "pid": place,
                "born": 1,
                "rss": 80 * MIB,
                "pss": 60 * MIB,
                "fds": 40,
                "sockets": 20,
                "threads": 10,
                "connections": {"primary registry": 1, "secondary registry": 2, "feed": 1, "PostgreSQL": 1},
            }
            for site, kinds in KINDS.items()
            for place, kind in enumerate(kinds)
        ],
        "tables": {site: {name: 5 + per * number for name, per in each.items()} for site, each in TABLES.items()},
        "bytes": {
            "primary database": 1000 * number,
            "secondary database": 1000 * number,
            "secondary write-ahead log": MIB,
            "secondary spool": 50 * MIB,
        },
        "queues": {site: {"events": 0, "sync": 1, "verification": 1} for site in KINDS},
        "valkey": {
            site: {"memory": 1000 * number, "clients": 5, "cache keys": number, "queue keys": 4} for site in KINDS
        },
        "postgresql": {"idle": 5, "active": 1},
        "newest_event": 3 * number,
        "heard": 3 * number,
        "backlog": number // 6 % 3,
        "unverified": number // 6 % 4,
        "lags": [0.2, 0.3] if number // 6 % 2 else [],
    }


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A run of an hour in which all was well."""
    lines = [json.dumps(sample(number)) for number in range(0, 720, 6)]
    (tmp_path / "samples.jsonl").write_text("\n".join(lines) + "\n")
    run = {
        "date": "2026-01-01T00:00:00+00:00",
        "commit": "abc",
        "machine": {"cpus": 2, "processor": "one", "memory_gib": 23.5, "kernel": "Linux 6"},
        "versions": {"Python": "3.11"},
        "plan": {"seconds": 3600.0, "quiet": 100.0, "seed": 7},
        "worked_seconds": 3500.0,
        "processors": 0.4,
        "settled_after": 3.0,
        "done": {"pushes": 700, "events": 2100, "blobs": 1400, "bytes": 10**9, "moved": 600, "index": 100},
        "faults": [[100.0, "feed cut"], [200.0, "feed cut"]],
        "consents": 0,
        "verdict": {
            **{kind: [] for kind in ("lost", "stuck", "wrongly_deleted", "wrongly_synced", "left")},
            "looked": {"repositories": 4, "tags": 100, "manifests": 130, "blobs": 300, "bytes": 10**8},
        },
    }
    (tmp_path / "run.json").write_text(json.dumps(run))
    return tmp_path


def change(out: Path, **changes: Any) -> None:
    run = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps({**run, **changes}))


def spoil(out: Path, spoiler: Any) -> Report:
    """The report of the same run with every sample changed."""
    samples = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    for each in samples:
        spoiler(round(each["t"] / 5), each)
    (out / "samples.jsonl").write_text("\n".join(map(json.dumps, samples)))
    return Report.read(out)


def test_a_run_in_which_all_was_well_is_good(out: Path) -> None:
    report = Report.read(out)

    assert report.summary().endswith("0 beyond their limits, 0 faults")
    assert report.good


def test_a_loss_is_not_good(out: Path) -> None:
    # Given
    verdict = json.loads((out / "run.json").read_text())["verdict"]
    change(out, verdict={**verdict, "lost": ["team/app:v1: is gone"]})

    # When
    report = Report.read(out)

    # Then
    assert not report.good
    assert "lost: team/app:v1: is gone" in report.summary()


def leaking_worker(number: int, each: dict[str, Any]) -> None:
    worker = next(one for one in each["processes"] if (one["site"], one["kind"]) == ("secondary", "worker"))
    worker["pss"] += 16_000 * number


def a_row_too_many(number: int, each: dict[str, Any]) -> None:
    each["tables"]["secondary"]["sync_attempts"] += 7 * number


def a_table_that_should_not_grow(number: int, each: dict[str, Any]) -> None:
    each["tables"]["secondary"]["geo_leases"] += number // 10


def a_table_that_nobody_thought_of(number: int, each: dict[str, Any]) -> None:
    each["tables"]["primary"]["geo_new"] = number


def sessions(number: int, each: dict[str, Any]) -> None:
    each["postgresql"]["idle"] += number // 30


def a_spool_beyond_its_limit(number: int, each: dict[str, Any]) -> None:
    each["bytes"]["secondary spool"] = 70 * MIB if number == 600 else 0


def a_queue_that_fills(number: int, each: dict[str, Any]) -> None:
    each["queues"]["secondary"]["sync"] = 100 if number == 600 else 0


def work_that_is_left(number: int, each: dict[str, Any]) -> None:
    each["backlog"] = number // 20


@pytest.mark.parametrize(
    ("spoiler", "name"),
    [
        (leaking_worker, "secondary: worker, PSS"),
        (a_row_too_many, "secondary: sync_attempts"),
        (a_table_that_should_not_grow, "secondary: geo_leases"),
        (a_table_that_nobody_thought_of, "primary: geo_new"),
        (sessions, "PostgreSQL, sessions"),
        (a_spool_beyond_its_limit, "secondary: spool"),
        (a_queue_that_fills, "queue sync"),
        (work_that_is_left, "repositories not in order"),
    ],
)
def test_what_grows_is_found_and_nothing_else(out: Path, spoiler: Any, name: str) -> None:
    # When
    report = spoil(out, spoiler)

    # Then
    assert [finding.name for finding in report.broken] == [name]
    assert f"| {name} |" in report.markdown()
    assert "| broken |" in report.markdown()


def test_what_is_forgotten_after_minutes_may_not_grow(out: Path) -> None:
    # Given the same rows for each event, in a run that keeps them for ten minutes
    change(out, plan={"seconds": 3600.0, "quiet": 100.0, "seed": 7, "settings": {"GEO_KEEP_EVENTS": "10m"}})

    # When
    report = Report.read(out)

    # Then
    tables = {"primary: geo_events", "secondary: geo_events", "secondary: sync_attempts"}
    assert {finding.name for finding in report.broken} == tables


def test_what_is_missing_is_not_good(out: Path) -> None:
    # Given samples without one kind of process
    def away(number: int, each: dict[str, Any]) -> None:
        each["processes"] = [one for one in each["processes"] if one["kind"] != "worker"]

    # When
    report = spoil(out, away)

    # Then
    assert {finding.why for finding in report.broken} == {"nothing was measured"}


def test_table_and_plots_are_written(out: Path) -> None:
    # When
    Report.read(out).write(out)

    # Then
    text = (out / "soak.md").read_text()
    assert "| pushes | 700, of them 600 moved tags, 100 indexes of two platforms |" in text
    assert "feed cut (2)" in text
    assert re.search(r"\| lag p50 / p99, second half \| 0\.\d\d / 0\.\d\d s", text)
    plots = sorted(path.name for path in out.glob("*.svg"))
    assert len(plots) == 7
    for name in plots:
        assert len(ET.fromstring((out / name).read_text())) > 10
