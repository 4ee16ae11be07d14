"""A run: everything at work for so long, then quiet, then the verdict. Its figures go to a file as they come."""

from __future__ import annotations

import contextlib
import json
import os
import random
import sqlite3
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import requests

from tests.benchmarks import machine
from tests.chaos.checker import Fault, Reader
from tests.soak.faults import Faults
from tests.soak.kernel import processor_seconds
from tests.soak.mix import Mix
from tests.soak.sampler import Sampler
from tests.soak.stage import SoakStage, big_files

#: How long what is past is kept, so that it has an end within the run.
KEPT = {"GEO_KEEP_EVENTS": "10m", "GEO_KEEP_HISTORY": "10m"}

#: What comes seldom, in a run of minutes.
OFTEN = {
    "GEO_RECONCILE_INTERVAL": "40s",
    "GEO_VERIFICATION_INTERVAL": "60s",
    "GEO_KEEP_EVENTS": "30s",
    "GEO_KEEP_HISTORY": "30s",
}

#: How often the product is asked whether everything is in order before what it says counts: a look at everything, which
#: comes every few minutes, may begin at any moment.
TRIES = 3

#: Seconds in which everything has to be in order after the last push.
DEADLINE = 900.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, how much and what."""

    #: Seconds of pushes and faults, and of quiet after them.
    seconds: float
    quiet: float
    seed: int
    #: Seconds between two operations, two faults, two samples.
    pause: float
    fault: float
    sample: float
    #: New tags that are there before the oldest are deleted; seconds between two looks of whoever consents to more
    #: deletions than go unasked.
    releases: int
    consent: float
    #: Processors that the whole run may take on average, the registries and the tests included.
    processors: float
    settings: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, minutes: float, seed: int | None = None, **more: Any) -> Plan:
        """What fits so many minutes."""
        seconds = minutes * 60
        drawn = random.SystemRandom().randrange(1 << 32) if seed is None else seed
        known = {
            "quiet": min(120.0, seconds / 6),
            "pause": 1.5 if minutes > 5 else 0.5,
            "fault": max(9.0, min(75.0, seconds / 40)),
            "sample": 5.0 if minutes > 5 else 1.0,
            "releases": 120 if minutes > 5 else 15,
            "consent": 90.0 if minutes > 5 else 15.0,
            "processors": 0.45 if minutes > 5 else 2.0,
        }
        settings = {**(KEPT if minutes > 5 else OFTEN), **more.pop("settings", {})}
        return cls(seconds=seconds, seed=drawn, settings=settings, **{**known, **more})


class Run:
    """`Run(plan, out).go()` leaves `samples.jsonl` and `run.json` in `out`, and the logs."""

    def __init__(self, plan: Plan, out: Path) -> None:
        self.plan = plan
        self.out = out
        self.faults: list[tuple[float, str]] = []
        self._began = 0.0
        self._sampled = float("-inf")
        self._asked_consent = float("-inf")
        self._consents = 0

    def go(self) -> dict[str, Any]:
        """Return what is in `run.json`.

        Raises:
            AssertionError: when something did not come up, or not everything was in order by the deadline.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        heading = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": machine.commit(),
            "machine": machine.machine(),
            "versions": machine.versions([]),
            "plan": asdict(self.plan),
        }
        say(f"seed {self.plan.seed}, {self.plan.seconds / 60:g} minutes")
        with (
            SoakStage(big_files(self.out), self.plan.settings) as self.stage,
            Sampler(self.stage) as self._sampler,
            (self.out / "samples.jsonl").open("w") as self._file,
        ):
            self._began = time.monotonic()
            self._processor = processor_seconds(os.getpid())
            with self._mix() as self.mix:
                self._work()
            worked = time.monotonic() - self._began
            used = processor_seconds(os.getpid()) - self._processor
            say(f"worked {worked:.0f} s, {self.mix.counted()}")
            settled = self._settle()
            say(f"settled after {settled:.1f} s")
            self._phase("quiet", self.plan.quiet)
            document = {
                **heading,
                "worked_seconds": round(worked, 1),
                "processors": round(used / worked, 3),
                "settled_after": round(settled, 1),
                "done": self.mix.counted(),
                "faults": self.faults,
                "consents": self._consents,
                "verdict": self._verdict(),
            }
        (self.out / "run.json").write_text(json.dumps(document, indent=1) + "\n")
        return document

    def _mix(self) -> Mix:
        plan = self.plan
        return Mix(self.stage.sites.primary, plan.seed, plan.pause, plan.releases, self._may)

    def _work(self) -> None:
        """Faults at their times; those that end our own processes in the first half alone, so that in the second, which
        is judged, each has a long life."""
        plan = self.plan
        faults = Faults(self.stage, self.mix, plan.seed, lambda seconds: self._phase("fault", seconds))
        ours = False
        while (elapsed := time.monotonic() - self._began) < plan.seconds:
            self._phase("run", min(plan.fault, plan.seconds - elapsed))
            elapsed = time.monotonic() - self._began
            # The last of them early enough that what waits because of it is not taken for a loss of pace.
            if elapsed < plan.seconds - plan.fault:
                ours = not ours and elapsed < plan.seconds * 0.45
                name = faults.next_one(ours=ours)
                self.faults.append((round(elapsed, 1), name))
                say(f"{elapsed:6.0f} s {name}")

    def _phase(self, name: str, seconds: float) -> None:
        """Let so much time pass, sampling meanwhile."""
        ends = time.monotonic() + seconds
        while (now := time.monotonic()) < ends:
            if now - self._sampled >= self.plan.sample:
                self._sampled = now
                self._sample(name)
            if now - self._asked_consent >= self.plan.consent:
                self._asked_consent = now
                self._consent()
            time.sleep(0.1)

    def _sample(self, phase: str) -> None:
        began = time.monotonic()
        document = {"t": round(began - self._began, 2), "phase": phase, "done": self.mix.counted()}
        document |= self._sampler.sample()
        document["took"] = round(time.monotonic() - began, 3)
        self._file.write(json.dumps(document, separators=(",", ":")) + "\n")
        self._file.flush()

    def _consent(self) -> None:
        """More deletions in an hour than go unasked wait for a person; we are that."""
        with contextlib.suppress(sqlite3.Error, AssertionError):
            if self.stage.held_deletions():
                self.stage.release_deletions()
                self._consents += 1

    def _may(self) -> bool:
        """Whether there is processor time left for another operation, after a minute's credit."""
        used = processor_seconds(os.getpid()) - self._processor
        return used <= self.plan.processors * (time.monotonic() - self._began + 60)

    def _settle(self) -> float:
        began = time.monotonic()
        while why := self._unsettled():
            if time.monotonic() - began > DEADLINE:
                raise AssertionError(f"not in order after {DEADLINE:g} s: {why}\n{self.stage.tell()}")
            self._phase("settling", 1.0)
        return time.monotonic() - began

    def _unsettled(self) -> str:
        try:
            return self.stage.unsettled()
        except (sqlite3.OperationalError, psycopg.OperationalError, requests.RequestException) as error:
            return str(error)

    def _verdict(self) -> dict[str, Any]:
        """Both registries read anew, every byte; and nothing is left of what was deleted."""
        for _ in range(TRIES):
            self._settle()
            verdict = self.stage.checker.judge(self.mix.acknowledged, deleted=self.mix.deleted)
            if not verdict.stuck:
                break
        left = [str(fault) for fault in self._left()]
        kinds = ("lost", "stuck", "wrongly_deleted", "wrongly_synced")
        found = {kind: [str(fault) for fault in getattr(verdict, kind)] for kind in kinds}
        say(f"verdict: {verdict.figures}; left over {len(left)}")
        looked = {name: getattr(verdict, name) for name in ("repositories", "tags", "manifests", "blobs", "bytes")}
        return {**found, "left": left, "looked": looked}

    def _left(self) -> list[Fault]:
        """Tags on the secondary that the primary does not have."""
        found = []
        with Reader(self.stage.sites.primary) as ours, Reader(self.stage.sites.secondary) as theirs:
            for repository in theirs.repositories():
                more = set(theirs.tags(repository)) - set(ours.tags(repository))
                found += [Fault(f"{repository}:{tag}", "is not on the primary") for tag in sorted(more)]
        return found


def say(text: str) -> None:
    """A line for whoever watches."""
    sys.stdout.write(f"{datetime.now(UTC):%H:%M:%S} {text}\n")
    sys.stdout.flush()
