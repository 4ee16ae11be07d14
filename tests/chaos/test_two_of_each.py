"""Two schedulers, two cursors, and one of each with a clock that is stepped: one acts, and nothing happens twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.chaos.checker import Acknowledged
from tests.chaos.clock import Clock
from tests.chaos.figures import tell
from tests.chaos.length import length
from tests.chaos.pusher import Order
from tests.chaos.stage import ChaosStage, Member
from tests.chaos.writes import tags
from tests.support.keys import TokenAuth
from tests.support.postgres import Postgres

pytestmark = [pytest.mark.long, pytest.mark.timeout(length(900, 1800))]

#: Pushes, each of a tag of its own, with the clock at each offset.
PUSHES = length(20, 100)

#: Seconds by which the clock is stepped.
STEP = 300

DEADLINE = length(200.0, 400.0)

#: Seconds within which the other scheduler acts after the one that did stands still: its lease, and the time to look.
TAKEN_OVER = 90.0


@dataclass
class Pair:
    """A deployment with two schedulers and two workers; the second of each reads `clock`."""

    stage: ChaosStage
    clock: Clock
    schedulers: list[Member]
    #: Who held the right to act as the scheduler, by its fencing token.
    tenures: dict[int, str] = field(default_factory=dict)
    acknowledged: list[Acknowledged] = field(default_factory=list)

    def acting(self) -> Member | None:
        """The scheduler that acts, by its lease."""
        for owner, token in self.stage.rows.ask("SELECT owner, token FROM geo_leases WHERE name = 'scheduler'"):
            if owner is not None:
                self.tenures[int(token)] = str(owner)
                pid = int(str(owner).split(":")[1])
                return next((one for one in self.schedulers if pid in one.pids), None)
        return None

    def push(self, prefix: str) -> None:
        """Push tags of their own, and wait until they are there."""
        planned = [Order(f"{prefix}/app-{number % 5}", f"v{number}", (20_000, 100_000)) for number in range(PUSHES)]
        with self.stage.pusher(planned, pause=0.2) as pusher:
            self.stage.wait(lambda: self.acting() is not None and pusher.done, DEADLINE, self.stage.tell)
        self.stage.settle(DEADLINE)
        self.acting()
        self.acknowledged += pusher.acknowledged


@pytest.fixture
def pair(tmp_path: Path, token_auth: TokenAuth, postgres: Postgres) -> Iterator[Pair]:
    """On PostgreSQL: its clock is the one that all measure by. SQLite's is the machine's, which all processes share."""
    clock = Clock(tmp_path / "clock")
    stage = ChaosStage(tmp_path, token_auth, postgres=postgres, workers=1)
    # Open registries: that a token minted by a wrong clock is refused is the registry's business, and told by `check`.
    for registry in (stage.primary, stage.secondary):
        registry.token = None
    for name in [name for name in stage.env if name.startswith("GEO_REGISTRY_") and not name.endswith("_API_URL")]:
        del stage.env[name]
    env = clock.environment(stage.env)
    stage.workers.append(Member("worker-stepped", "worker", stage.home, env, lambda log: "ready for action" in log))
    stepped = Member("scheduler-stepped", "scheduler", stage.home, env, lambda log: True)
    with ExitStack() as stack:
        stack.enter_context(stage)
        stack.callback(stepped.kill)
        stepped.start()
        yield Pair(stage, clock, [stage.scheduler, stepped])


def test_one_acts_and_nothing_happens_twice(pair: Pair) -> None:
    # Given two of each, at work
    stage = pair.stage
    pair.push("right")
    first = pair.acting()
    assert first is not None

    # When the clock of one worker and one scheduler is stepped, forth and back, while images are pushed
    for prefix, step in (("before", STEP), ("behind", -STEP)):
        pair.clock.step(step)
        pair.push(prefix)

    # Then the same scheduler has acted all the time
    assert len(pair.tenures) == 1, pair.tenures

    # And when it stands still for longer than its lease lasts, the other acts
    pair.clock.step(STEP)
    other = next(one for one in pair.schedulers if one is not first)
    first.freeze()
    try:
        stage.wait(lambda: pair.acting() is other, TAKEN_OVER, lambda: f"{pair.tenures}\n{other.log_text[-3000:]}")
        pair.push("frozen")
    finally:
        first.thaw()

    # And goes on to act when the first one is back, whatever its clock does
    pair.clock.step(-STEP)
    pair.push("thawed")
    assert pair.acting() is other
    assert len(pair.tenures) == 2, pair.tenures

    # And in all that each tag was written once, by one attempt, although both workers were at it
    written = tags(stage.target.requests)
    pushed = Counter((each.repository, each.tag) for each in pair.acknowledged)
    copies = stage.rows.ask(
        "SELECT worker, count(*) FROM sync_attempts WHERE action = 'copy' AND outcome = 'synced' GROUP BY worker"
    )
    by_worker = {member.name: sum(int(n) for who, n in copies if _pid(who) in member.pids) for member in stage.workers}
    tell(
        "two of each, one clock stepped",
        pushes=pushed.total(),
        tags_written=written.total(),
        copies_by_worker=by_worker,
        events=stage.rows.events(),
        schedulers_that_acted=len(pair.tenures),
    )
    stage.judge(pair.acknowledged).raise_for_faults()
    assert written == pushed, f"twice: {written - pushed}, not at all: {pushed - written}"
    assert sum(int(count) for _, count in copies) == pushed.total()
    assert all(by_worker.values()), f"one worker did nothing, the run proves little: {by_worker}"


def _pid(owner: str) -> int:
    return int(owner.split(":")[1])
