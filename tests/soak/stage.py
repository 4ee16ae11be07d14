"""Two sites for a long time: the primary's deployment on PostgreSQL, and a site's own on SQLite that follows it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from app.embedded import EmbeddedValkey
from tests.chaos.checker import Checker, Lease, Row
from tests.chaos.rows import Rows
from tests.soak.kernel import Entry, command_line, descendants, entries, entry_of
from tests.support.link import Link
from tests.support.postgres import Postgres
from tests.support.processes import Process
from tests.support.proxy import Proxy
from tests.support.running import Running
from tests.support.two_sites import SITE, TwoSites

#: The sites of the run, as its figures name them.
PRIMARY, SECONDARY = "primary", "secondary"

#: What both deployments are told beside what they need: everything that comes seldom comes often.
COMMON = {"GEO_RECONCILE_INTERVAL": "4m", "WEB_CONCURRENCY": "1"}

FOLLOWING = {
    "WORKER_PROCESSES": "2",
    "WORKER_THREADS": "4",
    "GEO_VERIFICATION": "blobs",
    "GEO_VERIFICATION_INTERVAL": "6m",
    "GEO_VERIFICATION_INTERVAL_LEVEL": "content",
    # A sixth of the large layers of an hour: it has to make room all the time.
    "GEO_SPOOL_MAX_BYTES": "64Mi",
}


class SoakStage:
    """`with SoakStage(path, {...}) as stage:`; whatever it started ends with it, and its big files are removed.

    The site reaches the primary registry by `source`, its own by `target` and the primary's deployment by `feed`: each
    of them can be cut or spoiled.
    """

    def __init__(self, path: Path, settings: Mapping[str, str] | None = None) -> None:
        """:param settings: of both deployments."""
        self.path = path
        self._settings = {**COMMON, **(settings or {})}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _start(self) -> None:
        self.postgres = self._stack.enter_context(Postgres())
        self.path.mkdir(parents=True, exist_ok=True)
        self._stack.callback(self._clear)
        database = self.postgres.create_database()
        self.sites = self._stack.enter_context(TwoSites(self.path, primary_database=database, env=self._settings))
        self.one: Running = self.sites.one
        self.source = self._stack.enter_context(Link(self.sites.primary.port))
        self.feed = self._stack.enter_context(Link(self.one.port))
        self.target = self._stack.enter_context(Proxy(self.sites.secondary))
        self.two = self.sites.follow(
            self.sites.add(),
            GEO_PRIMARY_URL=self.feed.url,
            GEO_REGISTRY_REPLICATION_PRIMARY_API_URL=self.source.url,
            GEO_SECONDARY_REGISTRY_URL=self.target.url,
            **{**FOLLOWING, **self._settings},
        )
        self._stack.callback(self._last_words)
        self.log = Rows(database)
        self.rows = Rows(self.two.env["DATABASE_URL"])
        self.checker = Checker(self.sites.primary, self.sites.secondary, self._listed, self._abandoned)

    @property
    def deployments(self) -> dict[str, Running]:
        return {PRIMARY: self.one, SECONDARY: self.two}

    @property
    def ports(self) -> dict[int, str]:
        """Whom a connection of the product leads to."""
        return {
            self.sites.primary.port: "primary registry",
            self.source.port: "primary registry",
            int(self.target.url.rpartition(":")[2]): "secondary registry",
            self.feed.port: "feed",
            self.postgres.port: "PostgreSQL",
        }

    def valkey_url(self, site: str) -> str:
        """Of the site's embedded one."""
        return EmbeddedValkey(self.deployments[site].path / "var/valkey").url

    def processes(self, site: str) -> Iterator[tuple[str, Entry]]:
        """The processes of a deployment that run now, each with what it is."""
        running = self.deployments[site]
        among = entries()
        try:
            leader = among[running.pid]
        except (KeyError, RuntimeError):
            return
        yield "supervisor", leader
        kinds: dict[int, str] = {}
        for entry in descendants(leader.pid, among):
            kind = _kind(command_line(entry.pid), kinds.get(entry.parent))
            kinds[entry.pid] = kind
            yield kind, entry

    def alone(self, kind: str, process: Process | None) -> Iterator[tuple[str, Entry]]:
        """A program that is one process."""
        if process is not None and process.running and (entry := entry_of(process.pid)) is not None:
            yield kind, entry

    def pids(self, site: str, kind: str) -> list[int]:
        return [entry.pid for each, entry in self.processes(site) if each == kind]

    def unsettled(self) -> str:
        """Say why not everything is in order yet; empty when it is."""
        if waiting := self.sites.primary.pending_notifications():
            return f"{waiting} notifications wait in the primary"
        newest = int(self.log.ask("SELECT coalesce(max(id), 0) FROM geo_events")[0][0])
        heard = int(self.rows.ask("SELECT max(last_event_id) FROM geo_followers")[0][0])
        if heard < newest:
            return f"event {newest} was not heard of, {heard} was"
        if unread := self.rows.unread():
            return f"{unread} events are unread"
        if waiting := self.rows.waiting():
            return f"{waiting} rows wait: {self.rows.states()}"
        if wanted := self.rows.reconciles():
            return f"{wanted} looks at everything are asked for"
        if unverified := self.unverified():
            return f"{unverified} repositories are not verified"
        return f"held: {held}" if (held := self.rows.leases()) else ""

    def unverified(self) -> int:
        """Repositories of which it is not proven that they are there."""
        asked = "SELECT count(*) FROM container_repository_registry WHERE in_scope AND verification_state <> 2"
        return int(self.rows.ask(asked)[0][0])

    def held_deletions(self) -> int:
        """Deletions that wait for a person's consent."""
        asked = "SELECT count(*) FROM container_repository_references WHERE failure_reason = 'deletion_brake'"
        return int(self.rows.ask(asked)[0][0])

    def release_deletions(self) -> None:
        """As a person does who looks after the site."""
        self.two.geo("sites", "release-deletions", SITE, status=None)

    def tell(self) -> str:
        """The ends of both logs."""
        return f"--- primary\n{self.one.log_text[-3000:]}\n--- secondary\n{self.two.log_text[-8000:]}"

    def _listed(self) -> Iterator[Row]:
        # Warnings are on standard error, which comes after it.
        listed, _ = json.JSONDecoder().raw_decode(self.two.geo("repositories", "--json"))
        return (Row.of(document) for document in listed)

    def _abandoned(self) -> list[Lease]:
        """Leases of the dead: with a verification every few minutes, somebody alive may always have one."""
        return [lease for lease in (*self.rows.leases(), *self.rows.named()) if lease.expired]

    def _last_words(self) -> None:
        """Keep the logs beside the figures."""
        for site, running in self.deployments.items():
            log = running.path / "up.log"
            if log.exists():
                shutil.copyfile(log, self.path.parent / f"{site}.log")

    def _clear(self) -> None:
        """Gigabytes, after an hour."""
        shutil.rmtree(self.path, ignore_errors=True)


def _kind(command: str, parent: str | None) -> str:
    """What a descendant of `geo up` is, by its command line."""
    if "resource_tracker" in command:
        return "helper"
    if "valkey" in command.partition(" ")[0] or "redis-server" in command:
        return "valkey"
    if "dramatiq" in command or parent in ("worker leader", "worker"):
        return "worker" if parent in ("worker leader", "worker") else "worker leader"
    if "app.server" in command:
        return "web" if parent == "web leader" else "web leader"
    return "scheduler" if "scheduler" in command else "other"


def big_files(given: Path) -> Path:
    """Where the registries keep what they hold: on disk, below the run's own directory."""
    return given / f"stage-{os.getpid()}"
