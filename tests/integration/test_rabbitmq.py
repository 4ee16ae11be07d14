"""The whole way with RabbitMQ as the queue: a push, the registry's own notification, the webhook, a copy."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.conftest import DeploymentFactory
from tests.support import images
from tests.support.compare import assert_same
from tests.support.rabbitmq import RabbitMQ
from tests.support.wait import wait_until
from tests.support.wire import digest_of, push

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


def test_a_push_is_synced(tmp_path: Path, deploy: DeploymentFactory) -> None:
    with RabbitMQ(tmp_path / "rabbitmq") as server:
        # Given a deployment whose queue is RabbitMQ
        pair = deploy(BROKER_URL=server.url)

        # When images are pushed, before and after the server was restarted
        for name in ("v1", "v2", "v3"):
            push(pair.primary, "team/app", name, images.image())
            if name == "v1":
                wait_until(
                    lambda: digest_of(pair.secondary, "team/app", "v1") is not None,
                    message=lambda: pair.geo.log_text[-3000:],
                )
                server.stop()
            if name == "v2":
                server.start()

        # Then all of them arrive
        for name in ("v1", "v2", "v3"):
            wait_until(
                lambda name=name: digest_of(pair.secondary, "team/app", name) is not None,  # type: ignore[misc]
                timeout=60,
                message=lambda: pair.geo.log_text[-3000:],
            )
            assert_same(pair.primary, pair.secondary, "team/app", name)

        # And nothing is left in the queues
        wait_until(lambda: server.waiting("events") + server.waiting("sync") == 0, timeout=30)
        assert "Traceback" not in pair.geo.log_text
