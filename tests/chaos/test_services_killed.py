"""Everything but the workers is killed while images are pushed: what was acknowledged is applied."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import requests

from tests.chaos.checker import Acknowledged
from tests.chaos.conftest import ChaosFactory
from tests.chaos.figures import tell
from tests.chaos.length import length
from tests.chaos.pusher import Pusher, orders
from tests.chaos.stage import ChaosStage, Member
from tests.support.envelopes import envelope, push_event
from tests.support.images import OCI_MANIFEST
from tests.support.registries import DistributionRegistry

pytestmark = [pytest.mark.long, pytest.mark.timeout(length(600, 2400))]

#: How often each is killed, and how many pushes each of the two ways of events carries.
ROUNDS = length(1, 6)
PUSHES = length(30, 150)

#: Seconds between two pushes of one thread, so that they go on for as long as the kills do.
PAUSE = length(2.0, 2.5)

#: Seconds that what was killed stays away, at most.
AWAY = 2.0

#: Seconds in which what is left is pushed after the last kill, and in which all is in order after that.
PUSHED = length(180.0, 600.0)
DEADLINE = length(240.0, 600.0)

#: Seconds between two tries to deliver an event.
AGAIN = 0.2


@dataclass
class Sender:
    """Sends events as a registry does, each until it is acknowledged, and never again after that."""

    stage: ChaosStage
    #: The identities of what was answered with a 2xx.
    acknowledged: set[str] = field(default_factory=set)
    tries: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    over: threading.Event = field(default_factory=threading.Event)

    def send(self, pushed: Acknowledged) -> None:
        """Tell of a push. Without a source: a registry process that is new would make everything be looked at."""
        target = {
            "mediaType": OCI_MANIFEST,
            "repository": pushed.repository,
            "tag": pushed.tag,
            "digest": pushed.digest,
        }
        event = push_event(pushed.repository, pushed.tag, target=target, source={})
        while not self.over.is_set():
            with self._lock:
                self.tries += 1
            try:
                answer = self.stage.post(envelope(event))
            except requests.RequestException:
                self.over.wait(AGAIN)
                continue
            if answer.ok:
                with self._lock:
                    self.acknowledged.add(event["id"])
                return
            assert answer.status_code == 503, f"{answer.status_code} {answer.text[:300]}"
            self.over.wait(AGAIN)


def back_door(stage: ChaosStage) -> DistributionRegistry:
    """The primary's storage by another process, which notifies nobody."""
    shared = {"storage": {"filesystem": {"rootdirectory": str(stage.primary.storage)}}}
    return DistributionRegistry(stage.storage / "back-door", token=stage.primary.token, config=shared)


@dataclass
class Killings:
    """Kills one after the other, and has each come back."""

    stage: ChaosStage
    kills: int = 0

    def member(self, member: Member) -> Callable[[], None]:
        def kill() -> None:
            self.stage.absent.add(member)
            member.kill()
            self._away()
            self.stage.absent.discard(member)

        return kill

    def valkey(self, *, wiped: bool) -> None:
        self.stage.valkey.kill()
        if wiped:
            self.stage.wipe_valkey()
        self._away()
        self.stage.valkey.start()

    def postgres(self) -> None:
        assert self.stage.postgres is not None
        self.stage.postgres.kill()
        self._away()
        self.stage.postgres.start()

    def everything(self) -> list[Callable[[], None]]:
        """What a round kills, in an order of its own."""
        stage = self.stage
        kills = [
            self.member(stage.web),
            self.member(stage.scheduler),
            lambda: self.valkey(wiped=False),
            lambda: self.valkey(wiped=True),
            self.postgres,
        ]
        stage.rng.shuffle(kills)
        return kills

    def _away(self) -> None:
        self.kills += 1
        until = time.monotonic() + self.stage.rng.uniform(0.2, AWAY)
        self.stage.wait(lambda: time.monotonic() > until, 30)


def test_every_acknowledged_event_is_applied(chaos: ChaosFactory) -> None:
    # Given a deployment on PostgreSQL, a registry that notifies it and somebody who sends events himself
    stage = chaos(database="postgresql", rate=3_000_000.0)
    sender = Sender(stage)
    killings = Killings(stage)
    notified = orders(PUSHES, stage.rng, repositories=10, prefix="team/notified", large=800_000)
    told = orders(PUSHES, stage.rng, repositories=10, prefix="team/told", large=800_000)

    # When web, scheduler, Valkey (with its data, without it) and PostgreSQL are killed while images are pushed
    with (
        back_door(stage) as door,
        stage.pusher(notified, threads=2, pause=PAUSE) as first,
        Pusher(door, told, threads=2, pause=PAUSE, told=sender.send) as second,
    ):
        try:
            for _ in range(ROUNDS):
                for kill in killings.everything():
                    moment = time.monotonic() + stage.rng.uniform(0.5, 4.0)
                    stage.wait(lambda at=moment: time.monotonic() > at, 30)  # type: ignore[misc]
                    kill()
            pushed_meanwhile = first.pushed + second.pushed
            first.pause = second.pause = 0.0
            stage.wait(lambda: first.done and second.done, PUSHED, stage.tell)
        finally:
            sender.over.set()
    seconds = stage.settle(DEADLINE)

    # Then every event that was acknowledged is in the log, and what it told of is on the secondary
    tell(
        "services killed",
        kills=killings.kills,
        pushes=first.pushed + second.pushed,
        pushed_meanwhile=pushed_meanwhile,
        events_acknowledged=len(sender.acknowledged),
        tries=sender.tries,
        notified=stage.primary.notifications()[0]["Successes"],
        notifications_refused=stage.primary.notifications()[0]["Errors"],
        settled_after=seconds,
    )
    assert sender.acknowledged <= stage.rows.event_keys()
    assert len(sender.acknowledged) == PUSHES
    stage.judge([*first.acknowledged, *second.acknowledged]).raise_for_faults()

    # And no look at everything has hidden a lost one
    assert stage.rows.ask("SELECT count(*) FROM geo_registry_instances WHERE reconcile_asked_at IS NOT NULL")[0] == (0,)
