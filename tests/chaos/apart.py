"""Two deployments in two places: the primary's at home, a site's behind a cable that can be cut."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.chaos.checker import Checker, Row
from tests.chaos.network import Place
from tests.chaos.rows import Rows
from tests.support.deployment import ADMIN_TOKEN, SECRET
from tests.support.keys import TokenAuth, make_rsa
from tests.support.ports import free_port
from tests.support.processes import Process, clean_environment
from tests.support.registries import DistributionRegistry, Endpoint
from tests.support.running import WEBHOOK, Running
from tests.support.two_sites import SITE, token_in

_COMMAND = (sys.executable, "-W", "default", "-m", "app")


class PlacedRegistry(DistributionRegistry):
    """A registry at an address, or in a place, and with an access log: what was written to it is read there."""

    def __init__(self, path: Path, address: str, place: Place | None = None, **options: Any) -> None:
        super().__init__(path, config={"log": {"accesslog": {"disabled": False}}}, **options)
        self._address = address
        self._place = place

    @property
    def host(self) -> str:
        return f"{self._address}:{self.port}"

    @property
    def requests(self) -> list[str]:
        """The `METHOD path?query` of those that were answered with success so far."""
        found = []
        for line in self.log_text.splitlines():
            words = line.split('"')
            # The common log format: ... "PUT /v2/... HTTP/1.1" 201 ...
            if len(words) > 2 and words[1].endswith(("HTTP/1.1", "HTTP/1.0")) and words[2].split()[0].startswith("2"):
                found.append(words[1].rpartition(" ")[0])
        return found

    def start(self) -> Self:
        if self._place is None:
            return super().start()
        self._write_config()
        command = self._place.command(self._binary(), "serve", str(self.path / "config.yml"))
        environment = clean_environment(OTEL_TRACES_EXPORTER="none")
        self.process = Process(command, log=self.log, env=environment, cwd=self.path).start()
        try:
            self.process.wait_for_http(f"{self.url}/v2/", timeout=60)
        except BaseException:
            self.process.kill()
            raise
        return self


class Apart:
    """`with Apart(tmp_path) as apart:` starts both registries and both deployments; `apart.place` is where `two` is.

    `one` is the primary's deployment, `two` the site's, which has no key of the primary registry.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.place = Place()
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

    def tell(self) -> str:
        """The ends of both logs."""
        return f"--- one\n{self.one.log_text[-2000:]}\n--- two\n{self.two.log_text[-5000:]}"

    def _start(self) -> None:
        place = self._stack.enter_context(self.place)
        ports = free_port(), free_port()
        first = TokenAuth(make_rsa(self._home("primary-keys"), "primary"))
        second = TokenAuth(make_rsa(self._home("secondary-keys"), "secondary"))
        webhook = Endpoint(f"http://{place.home}:{ports[0]}{WEBHOOK}", SECRET, ignore=True)
        self.primary = PlacedRegistry(self.path / "primary", place.home, token=first, notify=[webhook])
        self.secondary = PlacedRegistry(self.path / "secondary", place.address, place, token=second)
        for registry in (self.primary, self.secondary):
            self._stack.callback(shutil.rmtree, registry.storage, ignore_errors=True)
            self._stack.enter_context(registry)
        common = {"GEO_ADMIN_TOKEN": ADMIN_TOKEN, "WEB_CONCURRENCY": "1"}
        self.one = self._running(
            "one",
            place.home,
            ports[0],
            {
                **common,
                "GEO_ROLE": "primary",
                "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": self.primary.url,
                "GEO_NOTIFICATION_SECRET": SECRET,
                "GEO_REGISTRY_KEY_PATH": str(first.keys.key_path),
                "GEO_REGISTRY_CERTIFICATE_PATH": str(first.keys.certificate_path),
            },
            list(_COMMAND),
        )
        self.two = self._running(
            "two",
            place.address,
            ports[1],
            {
                **common,
                "GEO_ROLE": "secondary",
                "GEO_SITE_NAME": SITE,
                "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": self.primary.url,
                "GEO_SECONDARY_REGISTRY_URL": self.secondary.url,
                "GEO_SECONDARY_REGISTRY_KEY_PATH": str(second.keys.key_path),
                "GEO_SECONDARY_REGISTRY_CERTIFICATE_PATH": str(second.keys.certificate_path),
                "GEO_PRIMARY_URL": self.one.url,
                "GEO_SITE_TOKEN": token_in(self.one.geo("sites", "add", SITE)),
            },
            place.command(*_COMMAND),
        )
        self.rows = Rows(self.two.env["DATABASE_URL"])
        self.log = Rows(self.one.env["DATABASE_URL"])
        self.checker = Checker(self.primary, self.secondary, self._listed, self.rows.leases)

    def _running(self, name: str, address: str, port: int, env: dict[str, str], command: list[str]) -> Running:
        home = self._home(name)
        env = {**env, "DATABASE_URL": f"sqlite:///{home}/geo.db", "GEO_BIND": address}
        running = Running(home, env, port, command)
        running.url = f"http://{address}:{port}"
        return self._stack.enter_context(running)

    def _listed(self) -> Iterator[Row]:
        # Warnings are on standard error, which comes after it.
        listed, _ = json.JSONDecoder().raw_decode(self.two.geo("repositories", "--json"))
        return (Row.of(document) for document in listed)

    def _home(self, name: str) -> Path:
        home = self.path / name
        home.mkdir()
        return home
