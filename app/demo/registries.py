"""The demonstration's two CNCF Distribution registries, with token authentication."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import requests

from app.keygen import Keys
from app.processes import Program

#: Names under which Distribution is installed: Debian's package, and the project's own binary.
BINARIES = ("docker-registry", "registry")


class DemoError(Exception):
    """The demonstration cannot run here; the message says what to do."""


@dataclass(frozen=True, slots=True)
class DemoRegistry:
    """One registry: its name, port and directory."""

    name: str
    port: int
    directory: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def program(self, binary: str, keys: Keys, realm: str, webhook: str | None) -> Program:
        """Write the configuration and say how to run it. JSON is YAML."""
        self.directory.mkdir(parents=True, exist_ok=True)
        config = self.directory / "config.yml"
        config.write_text(json.dumps(self._config(keys, realm, webhook), indent=2))
        config.chmod(0o600)
        argv = [binary, "serve", str(config)]
        return Program(self.name, argv, _environment(), stop_order=1, ready=self.answers, stop_timeout=3)

    def answers(self) -> bool:
        """Whether it asks for a token, as it should."""
        try:
            with requests.Session() as session:
                session.trust_env = False
                answer = session.get(f"{self.url}/v2/", timeout=1)
                return answer.status_code == 401
        except requests.RequestException:
            return False

    def _config(self, keys: Keys, realm: str, webhook: str | None) -> dict[str, object]:
        config: dict[str, object] = {
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(self.directory / "storage")},
                "delete": {"enabled": True},
            },
            "http": {"addr": f"127.0.0.1:{self.port}", "secret": keys.notification_secret},
            "auth": {
                "token": {
                    "realm": realm,
                    "service": "container_registry",
                    "issuer": "geo-registry",
                    "rootcertbundle": str(keys.certificate_path.resolve()),
                }
            },
        }
        if webhook is not None:
            endpoint = {
                "name": "geo_event",
                "url": webhook,
                "headers": {"Authorization": [keys.notification_secret]},
                "timeout": "1s",
                "threshold": 5,
                "backoff": "1s",
                # Both, or 2.x ignores the actions.
                "ignore": {"mediatypes": ["application/octet-stream"], "actions": ["pull"]},
            }
            config["notifications"] = {"endpoints": [endpoint]}
        return config


def find_binary() -> str:
    """The registry's program.

    Raises:
        DemoError: when there is none.
    """
    for name in (os.environ.get("DOCKER_REGISTRY", ""), *BINARIES):
        if name and (path := shutil.which(name)):
            return path
    raise DemoError(
        "the demonstration needs a CNCF Distribution registry: install Debian's package docker-registry"
        " (`make demo` does), or set DOCKER_REGISTRY to the program"
    )


def require_free(ports: Mapping[str, int]) -> None:
    """Make sure that nobody listens on these ports.

    Raises:
        DemoError: naming those taken.
    """
    taken = []
    for name, port in ports.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                taken.append(f"{port} ({name})")
    if taken:
        raise DemoError(f"these ports of 127.0.0.1 are in use: {', '.join(taken)}; stop what listens there")


def _environment() -> dict[str, str]:
    """Without REGISTRY_ variables, which would overrule the configuration file."""
    return {name: value for name, value in os.environ.items() if not name.startswith("REGISTRY_")}
