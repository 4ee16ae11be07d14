"""Workers that are killed while images are pushed: everything arrives, without anybody's help."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.chaos.checker import Lease
from tests.chaos.conftest import ChaosFactory
from tests.chaos.figures import tell
from tests.chaos.length import length
from tests.chaos.pusher import Pusher, orders
from tests.chaos.stage import ChaosStage
from tests.support.running import processes_of

pytestmark = [pytest.mark.long, pytest.mark.timeout(length(600, 2400))]

PUSHES = length(50, 300)
KILLS = length(8, 50)

#: Seconds within which nothing may be held any more by who was killed.
PROMISED = 90.0

#: Seconds in which what is left is pushed after the last kill.
PUSHED = length(180.0, 600.0)

#: Seconds in which everything has to be in order after the last kill: a row whose workers died three times in a row
#: waits almost three minutes for the next.
DEADLINE = length(330.0, 600.0)

#: Bytes a second of a blob: a large one takes about ten seconds.
RATE = 100_000.0

#: Seconds between two pushes of one of the three who push, so that they go on for as long as the kills do.
PAUSE = 2.4


@dataclass
class Killings:
    """What was killed, and what the dead still hold."""

    stage: ChaosStage
    kills: int = 0
    #: Kills that hit a blob on its way.
    in_transfer: int = 0
    whole_groups: int = 0
    #: Seconds until somebody else had taken up what the dead held.
    taken: list[float] = field(default_factory=list)
    _dead: dict[Lease, float] = field(default_factory=dict)
    _pids: dict[int, float] = field(default_factory=dict)

    def kill(self, worker: Sequence[int]) -> None:
        """SIGKILL to a worker's whole process group, of these processes, or to one of those that its leader forked.

        Those of a worker that is ending by itself may be gone meanwhile: nothing counts as a kill that hit none.
        """
        rng = self.stage.rng
        whole = rng.random() < 0.5
        forked = [pid for pid in worker if not leads(pid)]
        chosen = worker if whole or not forked else [rng.choice(forked)]
        # What is under way for them stays so while somebody looks.
        victims = [pid for pid in chosen if sent(pid, signal.SIGSTOP)]
        in_transfer = self.stage.transfers_of(victims) > 0
        killed = [pid for pid in victims if sent(pid, signal.SIGKILL)]
        self._pids.update(dict.fromkeys(killed, time.monotonic()))
        if killed:
            self.kills += 1
            self.in_transfer += in_transfer
            self.whole_groups += whole
        self.look()

    def look(self) -> None:
        """See what the dead still hold: nothing may be theirs for longer than was promised."""
        now = time.monotonic()
        held: dict[Lease, float] = {}
        late = []
        for lease in [*self.stage.rows.leases(), *self.stage.rows.named()]:
            # Whoever holds something says on which host and in which process.
            killed_at = self._pids.get(int(lease.owner.split(":")[1]))
            if killed_at is None:
                continue
            held[Lease(lease.name, lease.owner, lease.token)] = killed_at
            # Past its time it is anybody's, and who takes it up depends on what else there is to do.
            if not lease.expired and now - killed_at > PROMISED:
                late.append(lease)
        self.taken += [now - killed_at for lease, killed_at in self._dead.items() if lease not in held]
        self._dead = held
        assert not late, f"still held {PROMISED:g} s after the death of their holders: {late}\n{self.stage.tell()}"


def leads(pid: int) -> bool:
    """Whether it leads its session, or is gone."""
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return True


def sent(pid: int, number: signal.Signals) -> bool:
    """Send a signal; whether there was still somebody to receive it."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("database", length(["postgresql"], ["sqlite", "postgresql"]))
def test_killed_workers_lose_nothing(chaos: ChaosFactory, database: str) -> None:
    # Given a deployment whose workers are started again when they die
    stage = chaos(database=database, rate=RATE)
    killings = Killings(stage)

    # When workers are killed at random moments while images are pushed
    # Many repositories: what a dead worker holds is nobody's for a while, and the others must have something to copy.
    planned = orders(PUSHES, stage.rng, repositories=length(40, 150), tags=3, share=1.0)
    with stage.pusher(planned, pause=PAUSE) as pusher:
        stage.wait(lambda: stage.source.transfers, 60, stage.tell)
        while killings.kills < KILLS:
            victim = stage.rng.choice(stage.workers)
            stage.wait(lambda one=victim: one.ready and len(one.pids) > 1, 120)  # type: ignore[misc]
            moment = time.monotonic() + stage.rng.uniform(0.5, 5.0)
            stage.wait(lambda at=moment: time.monotonic() > at, 30)  # type: ignore[misc]
            if not victim.ready:
                continue
            killings.kill(victim.pids)
            # On a slow machine the kills take longer: the pushes are to go on until the last.
            ahead = pusher.pushed * KILLS > killings.kills * PUSHES
            pusher.pause = PAUSE * (4 if ahead else 1)
        pushed_meanwhile, pusher.pause = pusher.pushed, 0.0
        stage.wait(lambda: pusher.done, PUSHED, stage.tell)

    # Then everything arrives, and nothing is held by the dead for longer than was promised
    settle(killings, pusher, database=database, pushed_meanwhile=pushed_meanwhile)


def test_geo_up_has_them_back(chaos: ChaosFactory) -> None:
    # Given everything under the supervisor of one command
    stage = chaos(supervised=True, rate=RATE)
    killings = Killings(stage)
    kills = length(3, 10)

    # When its workers are killed while images are pushed
    planned = orders(length(20, 60), stage.rng, repositories=20, tags=3, share=1.0)
    with stage.pusher(planned, pause=PAUSE) as pusher:
        while killings.kills < kills:
            # Again only once they are at work, at a moment that nobody chose.
            stage.wait(lambda: stage.transfers_of(supervised_workers(stage)), 120, stage.tell)
            moment = time.monotonic() + stage.rng.uniform(0.0, 3.0)
            stage.wait(lambda at=moment: time.monotonic() > at, 30)  # type: ignore[misc]
            killings.kill(supervised_workers(stage))
        pushed_meanwhile, pusher.pause = pusher.pushed, 0.0
        stage.wait(lambda: pusher.done, PUSHED, stage.tell)

    # Then everything arrives, and the one command has not been started again
    settle(killings, pusher, database="sqlite", pushed_meanwhile=pushed_meanwhile)
    assert stage.up.starts == 1


def supervised_workers(stage: ChaosStage) -> list[int]:
    """The worker's leader and the processes that it forked, as `geo up` runs them."""
    found = []
    for pid in processes_of(stage.home):
        with contextlib.suppress(OSError):
            if b"dramatiq" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found


def settle(killings: Killings, pusher: Pusher, **figures: object) -> None:
    """Wait until nothing is held by the dead and all is in order; tell the figures, and judge."""
    stage = killings.stage
    killed_at = time.monotonic()
    looked = 0.0

    def nothing_held() -> bool:
        nonlocal looked
        if time.monotonic() - looked > 0.5:
            looked = time.monotonic()
            killings.look()
        return looked > killed_at and not stage.rows.leases()

    stage.wait(nothing_held, PROMISED + 60, stage.tell)
    seconds = stage.settle(DEADLINE)
    tell(
        "workers killed",
        **figures,
        kills=killings.kills,
        of_whole_groups=killings.whole_groups,
        in_a_running_transfer=killings.in_transfer,
        pushes=len(pusher.acknowledged),
        leases_of_the_dead=len(killings.taken),
        taken_over_after_at_most=max(killings.taken, default=0.0),
        settled_after=seconds,
    )
    stage.judge(pusher.acknowledged).raise_for_faults()
    assert len(pusher.acknowledged) == len(pusher.orders)
    assert 2 * killings.in_transfer >= killings.kills, "too few kills hit a running transfer: the run proves little"
