"""What is being copied by one process, seen in others: on the page, in the API and by `geo status`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import images
from tests.support.deployment import ADMIN_TOKEN, SECRET
from tests.support.face import SITE, Face, face
from tests.support.proxy import Proxy, Rule
from tests.support.registries import DistributionRegistry
from tests.support.root import ROOT
from tests.support.valkey import Valkey
from tests.support.wait import wait_until
from tests.support.wire import push

pytestmark = pytest.mark.timeout(240)

PATH = "team/large"
SIZE = 32 * 1024 * 1024

#: Bytes a second of a connection, until a test has seen enough: the blob would take minutes.
RATE = 128 * 1024

#: How the page tells bytes of all bytes, speed and remaining time.
TOLD = re.compile(
    r'value="(\d+)"[^<]*</progress>\s*<span class="moved">[0-9.]+ [KM]iB of 32\.0 MiB, [0-9.]+ [KM]iB a second, '
    r"[0-9.]+ (?:ms|s|min) left"
)


@dataclass
class Line:
    """A deployment whose primary is behind a slow line."""

    env: dict[str, str]
    path: Path
    pages: Face
    primary: DistributionRegistry
    slow: Rule

    def widen(self) -> None:
        """Make the line fast, also for what is under way."""
        self.slow.rate = None

    def done(self) -> int:
        """Bytes that the page says are done; 0 while it does not say so."""
        found = TOLD.search(self.page())
        return 0 if found is None else int(found[1])

    def command(self, *arguments: str) -> subprocess.Popen[str]:
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **self.env}
        return subprocess.Popen(
            [sys.executable, "-m", "app", *arguments],
            env=env,
            cwd=self.path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> str:
        with self.command(*arguments) as process:
            out, error = process.communicate(timeout=60)
        assert process.returncode == 0, error
        return out

    def page(self) -> str:
        return self.pages.client.get("/admin").text

    def running(self) -> list[dict[str, Any]]:
        headers = {"PRIVATE-TOKEN": ADMIN_TOKEN}
        url = f"/api/v4/geo_sites/{self.pages.site.id}/status"
        answer: Any = self.pages.client.get(url, headers=headers).get_json()
        found: list[dict[str, Any]] = answer["running"]
        return found


@pytest.fixture
def line(tmp_path: Path, valkey: Valkey) -> Iterator[Line]:
    with ExitStack() as stack:
        primary = stack.enter_context(DistributionRegistry(tmp_path / "primary"))
        secondary = stack.enter_context(DistributionRegistry(tmp_path / "secondary"))
        proxy = stack.enter_context(Proxy(primary))
        slow = proxy.rule("GET .*/blobs/", rate=RATE)
        env = {
            "DATABASE_URL": f"sqlite:///{tmp_path}/geo.db",
            "REDIS_URL": valkey.url,
            "BROKER_URL": "stub://",
            "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": proxy.url,
            "GEO_SECONDARY_REGISTRY_URL": secondary.url,
            "GEO_SITE_NAME": SITE,
            "GEO_NOTIFICATION_SECRET": SECRET,
            "GEO_ADMIN_TOKEN": ADMIN_TOKEN,
        }
        pages = stack.enter_context(face(env["DATABASE_URL"], tmp_path / "state", migrated=True, **env))
        pages.sign_in()
        yield Line(env, tmp_path, pages, primary, slow)


@pytest.mark.long
def test_a_large_blob_is_seen_growing_to_its_end(line: Line) -> None:
    # Given a large image, and a worker in a process of its own
    push(line.primary, PATH, "v1", images.image([images.layer(SIZE)]))
    with line.command("sync", PATH) as worker:
        # When it is copied, Then the page tells bytes of all bytes, speed and remaining time, and the bytes grow
        first = wait_until(line.done, 60, line.page)
        wait_until(lambda: line.done() > first, 60, line.page)
        assert "Largest blob under way" in line.page()
        assert f'aria-label="Bytes copied of {PATH}"' in line.page()

        # And the API and the command tell the same
        (running,) = line.running()
        assert (running["path"], running["references_left_count"]) == (PATH, 1)
        moved = running["moved"]
        assert 0 < moved["bytes_done"] < moved["bytes_total"]
        assert moved["bytes_total"] > SIZE
        assert moved["largest_blob"]["bytes_total"] >= SIZE
        assert moved["bytes_per_second"] > 0
        assert moved["remaining_seconds"] > 0
        (site,) = json.loads(line.run("status", "--json"))["sites"]
        assert site["running"][0]["moved"]["size"] >= SIZE
        assert re.search(rf"copying {PATH} to {SITE}: [0-9.]+ [KM]iB of 32\.0 MiB, .*/s, .* left", line.run("status"))

        line.widen()
        _, error = worker.communicate(timeout=60)
        assert worker.returncode == 0, error

    # And at its end nothing is under way
    assert "Being copied now" not in line.page()
    assert line.running() == []


@pytest.mark.long
def test_where_nothing_is_told_the_page_shows_what_it_knows(line: Line, valkey: Valkey) -> None:
    # Given a sync under way that was told of
    push(line.primary, PATH, "v1", images.image([images.layer(SIZE)]))
    with line.command("sync", PATH) as worker:
        wait_until(line.done, 60, line.page)

        # When Redis is lost
        valkey.kill()

        # Then the page names the repository and what is left of it, as it does without bytes
        page = line.page()
        assert "MiB of" not in page
        assert "Being copied now" in page
        assert "1 left" in page
        assert line.running()[0]["moved"] is None
        (site,) = json.loads(line.run("status", "--json"))["sites"]
        assert site["running"][0]["moved"] is None

        # And the copy goes on to its end
        line.widen()
        _, error = worker.communicate(timeout=60)
        assert worker.returncode == 0, error
