"""The running API against its own description: schemathesis makes up requests, good and bad, and all checks are on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.api import feed, site_auth
from app.api.openapi import document
from app.api.resources import guard
from app.database import connection
from app.models import Reference, SyncState
from app.replication import awaiting, site_reports
from app.web.throttle import Throttle
from tests.api.stand import REMOTE, Stand, stand
from tests.support.deployment import ADMIN_TOKEN
from tests.support.keys import TokenAuth
from tests.support.processes import clean_environment

CONFIG = Path(__file__).with_name("schemathesis.toml")

#: The digest in the document's examples.
EXAMPLE = "sha256:" + "0" * 64

#: Seconds that a request waits at most that was made up.
MOMENT = 0.05


@pytest.fixture
def served(tmp_path: Path, token_auth: TokenAuth, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stand]:
    """Nothing is limited or waited for: thousands of requests come from one address, half of them wrong."""
    monkeypatch.setattr(guard, "throttle", Throttle(limit=10**9))
    monkeypatch.setattr(site_auth, "throttle", Throttle(limit=10**9))
    monkeypatch.setattr(site_reports, "MIN_INTERVAL", 0)
    monkeypatch.setattr(feed, "MAX_WAIT", MOMENT)
    patient = awaiting.wait
    monkeypatch.setattr(
        awaiting, "wait", lambda awaited, seconds, **more: patient(awaited, min(seconds, MOMENT), **more)
    )
    with stand(tmp_path, token_auth, GEO_API_RATE_LIMIT="0") as running:
        with connection():
            # What the examples of the document ask for.
            there = {"desired_digest": EXAMPLE, "observed_digest": EXAMPLE, "verified_digest": EXAMPLE}
            created = running.seeded.failed.created_at
            for row_id in (1, running.seeded.failed.id):
                common = {"registry": row_id, "name": "v1", "is_tag": True, "created_at": created}
                Reference.create(**common, **there, state=SyncState.SYNCED)
        yield running


def check(served: Stand, path: Path, *options: str) -> None:
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"]
    done = subprocess.run(
        [*command, f"{served.url}/openapi.json", "--continue-on-failure", "--seed", "1", *options],
        env=clean_environment(
            ADMIN_TOKEN=ADMIN_TOKEN,
            SITE=REMOTE,
            SITE_TOKEN=served.site_token,
            NOTIFICATION_SECRET="tests-notification-secret",
        ),
        cwd=path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2000:]
    # Every operation was asked something that it took
    taken = {operation for operation, statuses in served.answered.items() if any(status < 300 for status in statuses)}
    assert operations() <= taken


def operations() -> set[tuple[str, str]]:
    return {(method.upper(), path) for path, methods in document()["paths"].items() for method in methods}


@pytest.mark.long
@pytest.mark.timeout(300)
def test_boundaries_of_every_parameter(served: Stand, tmp_path: Path) -> None:
    check(served, tmp_path, "--phases", "examples,coverage")


@pytest.mark.long
@pytest.mark.timeout(900)
def test_whatever_may_be_asked(served: Stand, tmp_path: Path) -> None:
    check(served, tmp_path, "--max-examples", "50")
