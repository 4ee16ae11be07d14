"""Two registries with a deployment between them, as an operator runs it: `geo up`, and `geo sync` beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from app.models import SyncState
from tests.interop.kinds import Kind
from tests.support.deployment import ADMIN_TOKEN, offline_environment
from tests.support.ports import free_port
from tests.support.registries import Registry
from tests.support.running import Running
from tests.support.staged import Staged

#: Seconds within which everything that was pushed has to be there, or to have failed.
PATIENCE = 90.0

#: Seconds between two looks at the deployment, which has better to do than to be asked.
LOOK = 0.25

#: A reference as the API tells of it.
Told = Mapping[str, Any]

NO_MOVES: Mapping[str, str] = {}

_ENDED = frozenset({SyncState.SYNCED, SyncState.FAILED})


class Stage(Staged):
    """`with Stage(path, first, second) as stage: ...`: what it started ends with it."""

    def __init__(self, path: Path, first: Kind, second: Kind, *, patience: float = PATIENCE) -> None:
        self.path = path
        self.first = first
        self.second = second
        self.patience = patience
        self.primary: Registry
        self.secondary: Registry
        self._geo: Running

    @property
    def notified(self) -> bool:
        """Whether the primary tells of what happens."""
        return self.first.notifies

    def sync(self, repository: str) -> None:
        """`geo sync REPOSITORY`, whether it succeeds or not: what failed is with the references."""
        self._geo.geo("sync", repository, status=None)

    def bring(self, repository: str, names: Iterable[str], *, moved: Mapping[str, str] = NO_MOVES) -> dict[str, Told]:
        """See that these references were tried, and tried again if they failed; return what is told of each.

        By notifications where the primary sends them: what none told of is missing in what is returned. What failed is
        tried once more by hand, since a first try may have come before its blobs. `moved` are those that were pushed
        more than once, with the digest that counts.
        """
        wanted = set(names)
        if not self.notified:
            self.sync(repository)
            return self._of(repository, wanted)
        told: dict[str, Told] = {}

        def ended() -> bool:
            told.clear()
            told.update(self._of(repository, wanted))
            return told.keys() == wanted and all(_done(each, moved) for each in told.values())

        self.wait(ended)
        heard = {name for name, each in told.items() if each["event_id"] is not None}
        if any(told[name]["state"] != SyncState.SYNCED for name in heard):
            self.sync(repository)
            told.update(self._of(repository, wanted))
        return {name: told[name] for name in heard}

    def wait(self, ended: Callable[[], bool]) -> bool:
        """Look until it is so, or patience ends; tell which."""
        end = time.monotonic() + self.patience
        while not ended():
            if time.monotonic() > end:
                return False
            time.sleep(LOOK)
        return True

    def references(self, repository: str) -> dict[str, Told]:
        """Everything that the deployment knows of a repository, by name."""
        rows = self._list(f"/api/v4/geo/container_repositories?search={repository}&per_page=100")
        found = [row["id"] for row in rows if row["path"] == repository]
        if not found:
            return {}
        listed = self._list(f"/api/v4/geo/container_repositories/{found[0]}/references?per_page=100")
        return {row["name"]: row for row in listed}

    @property
    def log_text(self) -> str:
        return self._geo.log_text

    def _start(self) -> None:
        port = free_port()
        told = port if self.notified else None
        self.primary = self.stack.enter_context(self.first.start(self.path / "primary", told))
        self.secondary = self.stack.enter_context(self.second.start(self.path / "secondary", None))
        home = self.path / "home"
        home.mkdir(parents=True)
        env = offline_environment(
            f"sqlite:///{home}/var/geo.db",
            GEO_REGISTRY_REPLICATION_PRIMARY_API_URL=self.primary.url,
            GEO_SECONDARY_REGISTRY_URL=self.secondary.url,
            GEO_ADMIN_TOKEN=ADMIN_TOKEN,
            GEO_API_RATE_LIMIT="0",
            # Whatever comes has come by a notification, or by hand.
            GEO_RECONCILE_INTERVAL="off",
            WEB_CONCURRENCY="1",
        )
        self._geo = self.stack.enter_context(Running(home, env, port))

    def _of(self, repository: str, names: set[str]) -> dict[str, Told]:
        return {name: each for name, each in self.references(repository).items() if name in names}

    def _list(self, path: str) -> list[dict[str, Any]]:
        """All pages of a list of the API."""
        rows: list[dict[str, Any]] = []
        following: str | None = path
        while following:
            answer = self._geo.get(following)
            answer.raise_for_status()
            rows += answer.json()
            following = answer.links.get("next", {}).get("url")
        return rows


def _done(told: Told, moved: Mapping[str, str]) -> bool:
    heard = told["event_id"] is not None and told["desired_digest"] == moved.get(told["name"], told["desired_digest"])
    return heard and told["state"] in _ENDED
