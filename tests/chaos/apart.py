"""Two deployments in two places: the primary's at home, a site's behind a cable that can be cut."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.chaos.checker import Checker, Row
from tests.chaos.network import Place
from tests.chaos.rows import Rows
from tests.support.deployment import SECRET
from tests.support.keys import TokenAuth, make_rsa
from tests.support.ports import free_port
from tests.support.registries import DistributionRegistry, Endpoint
from tests.support.running import WEBHOOK, Running
from tests.support.staged import Staged
from tests.support.two_sites import SITE, of_primary, of_site, token_in

_COMMAND = (sys.executable, "-W", "default", "-m", "app")


class PlacedRegistry(DistributionRegistry):
    """A registry at an address, or in a place, and with an access log: what was written to it is read there."""

    patience = 60.0

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

    def _command(self) -> list[str]:
        words = super()._command()
        return words if self._place is None else self._place.command(*words)


class Apart(Staged):
    """`with Apart(tmp_path) as apart:` starts both registries and both deployments; `apart.place` is where `two` is.

    `one` is the primary's deployment, `two` the site's, which has no key of the primary registry.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.place = Place()

    def tell(self) -> str:
        """The ends of both logs."""
        return f"--- one\n{self.one.log_text[-2000:]}\n--- two\n{self.two.log_text[-5000:]}"

    def _start(self) -> None:
        place = self.stack.enter_context(self.place)
        ports = free_port(), free_port()
        first = TokenAuth(make_rsa(self._home("primary-keys"), "primary"))
        second = TokenAuth(make_rsa(self._home("secondary-keys"), "secondary"))
        webhook = Endpoint(f"http://{place.home}:{ports[0]}{WEBHOOK}", SECRET, ignore=True)
        self.primary = PlacedRegistry(self.path / "primary", place.home, token=first, notify=[webhook])
        self.secondary = PlacedRegistry(self.path / "secondary", place.address, place, token=second)
        for registry in (self.primary, self.secondary):
            self.stack.callback(shutil.rmtree, registry.storage, ignore_errors=True)
            self.stack.enter_context(registry)
        self.one = self._running("one", place.home, ports[0], of_primary(self.primary, first), list(_COMMAND))
        token = token_in(self.one.geo("sites", "add", SITE))
        env = of_site(self.primary, self.secondary, second, self.one, token)
        self.two = self._running("two", place.address, ports[1], env, place.command(*_COMMAND))
        self.rows = Rows(self.two.env["DATABASE_URL"])
        self.log = Rows(self.one.env["DATABASE_URL"])
        self.checker = Checker(self.primary, self.secondary, self._listed, self.rows.leases)

    def _running(self, name: str, address: str, port: int, env: dict[str, str], command: list[str]) -> Running:
        home = self._home(name)
        env = {**env, "DATABASE_URL": f"sqlite:///{home}/geo.db", "GEO_BIND": address}
        running = Running(home, env, port, command)
        running.url = f"http://{address}:{port}"
        return self.stack.enter_context(running)

    def _listed(self) -> Iterator[Row]:
        # Warnings are on standard error, which comes after it.
        listed, _ = json.JSONDecoder().raw_decode(self.two.geo("repositories", "--json"))
        return (Row.of(document) for document in listed)

    def _home(self, name: str) -> Path:
        home = self.path / name
        home.mkdir()
        return home
