"""Workers whose queue and caches are where Sentinels say, while the server that they had is killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import images
from tests.support.deployment import environment
from tests.support.registries import DistributionRegistry
from tests.support.sentinel import Sentinels
from tests.support.stage import Stage
from tests.support.wait import wait_until
from tests.support.wire import digest_of, push

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


def test_a_failover_loses_nothing(
    tmp_path: Path, primary: DistributionRegistry, secondary: DistributionRegistry
) -> None:
    # Given a worker and a scheduler at two servers that Sentinels watch
    with Sentinels(tmp_path / "sentinels") as sentinels:
        env = environment(
            primary,
            secondary,
            f"sqlite:///{tmp_path}/geo.db",
            REDIS_URL=sentinels.url(),
            WORKER_PROCESSES="1",
            WORKER_THREADS="4",
            LOG_FORMAT="json",
        )
        with Stage(tmp_path, env) as stage:
            worker = stage.worker("worker")
            scheduler = stage.run("scheduler", "scheduler")

            def arrived(name: str) -> bool:
                return digest_of(secondary, name, "v1") == digest_of(primary, name, "v1")

            def pushed(name: str) -> None:
                push(primary, name, "v1", images.image())
                stage.geo.event("push", name, "v1")

            pushed("team/before")
            wait_until(lambda: arrived("team/before"), message=lambda: worker.log_text[-3000:])

            # When the master is killed, and things are pushed before, while and after the other one is made it
            names = [f"team/app{number}" for number in range(6)]
            for number, name in enumerate(names):
                pushed(name)
                if number == 1:
                    sentinels.master.kill()
                if number == 3:
                    wait_until(lambda: sentinels.master_port() == sentinels.replica.port, 60, sentinels.log_text)

            # Then everything arrives, by the same processes
            wait_until(
                lambda: all(arrived(name) for name in names),
                timeout=60,
                message=lambda: worker.log_text[-3000:] + scheduler.log_text[-2000:],
            )
            assert worker.running
            assert scheduler.running

            # And a wake goes its way again without waiting for the scheduler
            scheduler.stop()
            pushed("team/after")
            stage.send()
            wait_until(lambda: arrived("team/after"), timeout=15, message=lambda: worker.log_text[-3000:])
