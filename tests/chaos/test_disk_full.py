"""A disk that is full: it is said clearly, nothing acknowledged is lost, and all goes on when there is room."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.chaos.checker import Acknowledged
from tests.chaos.disk import Disk
from tests.chaos.figures import tell
from tests.chaos.length import length
from tests.chaos.pusher import orders
from tests.chaos.stage import ChaosStage
from tests.support import images
from tests.support.keys import TokenAuth
from tests.support.postgres import Postgres
from tests.support.wire import push

pytestmark = [pytest.mark.long, pytest.mark.timeout(length(600, 1200))]

PUSHES = length(30, 100)

DEADLINE = length(240.0, 400.0)

#: Bytes of a blob that goes through the spool, and bytes a second of it.
LARGE, RATE = 24 * 1024 * 1024, 4_000_000.0


def test_the_spool_s_disk_is_full(tmp_path: Path, token_auth: TokenAuth) -> None:
    with Disk(tmp_path / "spool") as disk:
        stage = ChaosStage(tmp_path, token_auth, rate=RATE, env={"GEO_SPOOL_DIR": str(disk.path)})
        with stage:
            # Given a large blob on its way through the spool
            acknowledged = [_push_large(stage, "v1")]
            stage.wait(lambda: _spooled(disk, partial=True), 90, stage.tell)

            # When its disk is full in the middle of that
            disk.fill()
            room = disk.free
            stage.settle(DEADLINE)

            # Then it arrives all the same, as does what comes while the disk is full, and somebody is told
            acknowledged.append(_push_large(stage, "v2"))
            stage.settle(DEADLINE)
            assert not _spooled(disk)
            told = [line for worker in stage.workers for line in worker.log_text.splitlines() if str(disk.path) in line]
            assert told, "nobody was told that the spool is full"

            # And when there is room again, the spool is used again
            disk.clear()
            acknowledged.append(_push_large(stage, "v3"))
            stage.settle(DEADLINE)
            tell("disk full in the spool", room_left=room, told=len(told), kept_after=len(_spooled(disk)))
            stage.judge(acknowledged).raise_for_faults()
            assert _spooled(disk)


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_the_database_s_disk_is_full(
    tmp_path: Path, token_auth: TokenAuth, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as stack:
        # Below /tmp: what pytest made is closed to the user that PostgreSQL runs as.
        place = Path(tempfile.mkdtemp(prefix="geo-disk-"))
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        place.chmod(0o755)
        disk = stack.enter_context(Disk(place / "disk"))
        stage = stack.enter_context(_deployment_on(disk, tmp_path, token_auth, database, monkeypatch))
        with stage.pusher(orders(PUSHES // 2, stage.rng, prefix="before/app")) as before:
            stage.wait(lambda: before.done, 120)
        stage.settle(DEADLINE)

        # When the database's disk is full while images are pushed
        disk.fill()
        with stage.pusher(orders(PUSHES, stage.rng, prefix="full/app"), pause=0.1) as during:
            # Then the registry is told so
            told = _wait_for_refusal(stage)
            stage.wait(lambda: during.done, 200)

        # And when there is room again, what it was not acknowledged comes, and everything is in order
        disk.clear()
        died = stage.postgres is not None and not stage.postgres.running
        if stage.postgres is not None and died:
            # It gives up when its own log has no room: a person starts it again.
            stage.postgres.start()
        seconds = stage.settle(DEADLINE)
        failures = sum(int(each["Failures"]) for each in stage.primary.notifications())
        tell(
            f"disk full in the database ({database})",
            pushes=len(before.acknowledged) + len(during.acknowledged),
            refusals=failures,
            told=told,
            database_had_to_be_started_again=died,
            settled_after=seconds,
        )
        stage.judge([*before.acknowledged, *during.acknowledged]).raise_for_faults()


@contextlib.contextmanager
def _deployment_on(
    disk: Disk, path: Path, token_auth: TokenAuth, database: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ChaosStage]:
    """A deployment whose database is on that disk, and nothing else."""
    with ExitStack() as stack:
        if database == "postgresql":
            with monkeypatch.context() as patched:
                # Where the cluster goes.
                patched.setattr(tempfile, "tempdir", str(disk.path))
                cluster = stack.enter_context(Postgres())
            stage = ChaosStage(path, token_auth, postgres=cluster)
        else:
            url = f"sqlite:///{disk.path / 'geo.db'}"
            stage = ChaosStage(path, token_auth, env={"DATABASE_URL": url})
            stage.rows.url = url
        yield stack.enter_context(stage)


def _wait_for_refusal(stage: ChaosStage) -> str:
    """Send events until one is refused; what is said then."""
    refused: list[requests.Response] = []

    def look() -> bool:
        with contextlib.suppress(requests.RequestException):
            answer = stage.post(_event())
            if answer.status_code != 200:
                refused.append(answer)
        return bool(refused)

    stage.wait(look, 120, lambda: f"nothing was refused\n{stage.tell()}")
    assert refused[0].status_code == 503
    assert refused[0].headers["Retry-After"]
    return str(refused[0].json().get("detail"))


def _event() -> dict[str, Any]:
    """One that cannot be read: it is kept for people to look at, and nothing follows from it."""
    return {"events": [{"id": str(uuid.uuid4()), "action": "push", "target": {"repository": f"?{uuid.uuid4()}"}}]}


def _push_large(stage: ChaosStage, tag: str) -> Acknowledged:
    return Acknowledged("team/large", tag, push(stage.primary, "team/large", tag, images.image(size=LARGE)))


def _spooled(disk: Disk, *, partial: bool = False) -> list[Path]:
    """Blobs in the spool that are whole, or with `partial` those of which some has come."""
    found = [each for each in disk.path.iterdir() if each.name.startswith("sha256-")]
    if partial:
        return [each for each in found if each.suffix == ".partial" and each.stat().st_blocks * 512 > LARGE // 8]
    return [each for each in found if each.suffix != ".partial"]
