"""What breaks while everything runs, each by itself and one after the other."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import requests

from tests.soak.mix import Mix
from tests.soak.stage import PRIMARY, SECONDARY, SoakStage

#: Seconds that a line is cut, and that a registry refuses; drawn anew each time.
CUT, REFUSED = (5.0, 20.0), (3.0, 10.0)

#: Waits so long, looking after everything meanwhile.
Wait = Callable[[float], None]


@dataclass
class Faults:
    """`next_one()` does the next fault and returns its name; `ours` are those that end processes of the product."""

    stage: SoakStage
    mix: Mix
    seed: int
    wait: Wait
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._ours: list[Callable[[], None]] = []
        self._theirs: list[Callable[[], None]] = []

    def next_one(self, *, ours: bool) -> str:
        """:param ours: it may end processes of the product. All come once before any comes again."""
        if ours:
            fault = self._filled(self._ours, self._ending()).pop()
        else:
            fault = self._filled(self._theirs, self._outside()).pop()
        name = fault.__name__.strip("_").replace("_", " ")
        fault()
        self.done[name] += 1
        return name

    def _filled(self, line: list[Callable[[], None]], known: Sequence[Callable[[], None]]) -> list[Callable[[], None]]:
        if not line:
            line += known
            self._random.shuffle(line)
        return line

    def _ending(self) -> Sequence[Callable[[], None]]:
        return (
            self._worker_killed,
            self._scheduler_killed,
            self._web_killed,
            self._primary_deployment_restarted,
            self._secondary_deployment_restarted,
        )

    def _outside(self) -> Sequence[Callable[[], None]]:
        return (
            self._secondary_registry_restarted,
            self._primary_registry_restarted,
            self._feed_cut,
            self._primary_registry_out_of_reach,
            self._secondary_registry_refuses,
            self._valkey_killed,
            self._postgresql_restarted,
        )

    def _worker_killed(self) -> None:
        _kill(self.stage.pids(SECONDARY, "worker"))

    def _scheduler_killed(self) -> None:
        _kill(self.stage.pids(SECONDARY, "scheduler"))

    def _web_killed(self) -> None:
        _kill(self.stage.pids(PRIMARY, "web"))

    def _primary_deployment_restarted(self) -> None:
        self.stage.one.stop()
        self.wait(1.0)
        self.stage.one.start()

    def _secondary_deployment_restarted(self) -> None:
        self.stage.two.stop()
        self.wait(1.0)
        self.stage.two.start()

    def _secondary_registry_restarted(self) -> None:
        self.stage.sites.secondary.stop()
        self.wait(self._random.uniform(*REFUSED))
        self.stage.sites.secondary.start()

    def _primary_registry_restarted(self) -> None:
        with self.mix.held:
            # What it has not told of is lost with it; a new one makes a look at everything due.
            with contextlib.suppress(requests.RequestException, AssertionError):
                self.stage.sites.primary.stop()
            self.stage.sites.primary.start()

    def _feed_cut(self) -> None:
        self.stage.feed.pause()
        self.wait(self._random.uniform(*CUT))
        self.stage.feed.cut()
        self.stage.feed.resume()

    def _primary_registry_out_of_reach(self) -> None:
        self.stage.source.pause()
        self.wait(self._random.uniform(*CUT))
        self.stage.source.cut()
        self.stage.source.resume()

    def _secondary_registry_refuses(self) -> None:
        self.stage.target.rule("/v2/", status=503, headers={"Retry-After": "1"}, body=b"busy")
        self.wait(self._random.uniform(*REFUSED))
        self.stage.target.clear()

    def _valkey_killed(self) -> None:
        _kill(self.stage.pids(SECONDARY, "valkey"))

    def _postgresql_restarted(self) -> None:
        self.stage.postgres.stop()
        self.wait(self._random.uniform(1.0, 3.0))
        self.stage.postgres.start()


def _kill(pids: Sequence[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
