"""The stage of the demonstration: registries, broker, web, worker and scheduler, ready to be shown."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from app import database
from app import migrate as migrations
from app.demo.registries import DemoError, DemoRegistry, find_binary, require_free
from app.demo.token_service import TokenService
from app.deployment import Deployment
from app.embedded import EmbeddedValkey
from app.keygen import Keys, generate
from app.notifications import WEBHOOK_PATH
from app.registry import KeyToken, RegistryClient, SigningKey
from app.replication import sites
from app.settings import STATE_DIRECTORY, Settings
from app.supervisor import Supervisor

#: Where the demonstration's registries listen; the token service beside them.
PRIMARY_PORT, SECONDARY_PORT, TOKEN_PORT = 5001, 5002, 5003

#: Seconds that everything may take to start.
START_TIMEOUT = 60.0


@dataclass
class Stage:
    """Everything that runs, and a client that may push to both registries."""

    supervisor: Supervisor
    settings: Settings
    primary: DemoRegistry
    secondary: DemoRegistry
    keys: Keys
    admin_token: str
    directory: Path
    source: RegistryClient
    target: RegistryClient

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}"

    @property
    def log(self) -> Path:
        return self.directory / "geo.log"

    def wait(self, condition: Callable[[], bool], timeout: float, what: str, interval: float = 0.02) -> None:
        """Keep everything running until `condition` holds.

        Raises:
            DemoError: when it does not within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise DemoError(f"{what} did not happen within {timeout:.0f} s; the log is {self.log}")
            self.supervisor.poll()
            time.sleep(interval)


@contextlib.contextmanager
def stage(port: int, directory: Path = STATE_DIRECTORY / "demo") -> Iterator[Stage]:
    """Set everything up in a fresh `directory`, start it, and stop it again on leaving.

    Raises:
        DemoError: when a port is taken, the registry's program is missing, or something does not start.
    """
    binary = find_binary()
    require_free({"primary": PRIMARY_PORT, "secondary": SECONDARY_PORT, "token service": TOKEN_PORT, "web": port})
    if directory.exists():
        shutil.rmtree(directory)
    directory.mkdir(parents=True, mode=0o700)
    keys = generate(directory / "keys", issuer="geo-registry")
    primary = DemoRegistry("primary", PRIMARY_PORT, directory.resolve() / "primary")
    secondary = DemoRegistry("secondary", SECONDARY_PORT, directory.resolve() / "secondary")
    admin_token = secrets.token_urlsafe(24)
    environ = _environment(keys, primary, secondary, directory, port, admin_token)
    settings = Settings.from_env(environ)
    tokens = KeyToken(SigningKey.load(keys.key_path, keys.certificate_path), "geo-registry", "container_registry")
    with contextlib.ExitStack() as stack:
        service = stack.enter_context(TokenService(tokens, TOKEN_PORT))
        valkey = stack.enter_context(EmbeddedValkey(directory / "valkey"))
        _prepare(settings)
        webhook = f"http://127.0.0.1:{port}{WEBHOOK_PATH}"
        programs = [
            primary.program(binary, keys, service.realm, webhook),
            secondary.program(binary, keys, service.realm, None),
            *Deployment(settings, environ, valkey).programs(),
        ]
        everything = ("pull", "push", "delete")
        source = stack.enter_context(RegistryClient(primary.url, tokens, actions=everything))
        target = stack.enter_context(RegistryClient(secondary.url, tokens, actions=everything))
        log = stack.enter_context((directory / "geo.log").open("w"))
        supervisor = Supervisor(programs, out=log)
        set_up = Stage(supervisor, settings, primary, secondary, keys, admin_token, directory, source, target)
        stack.enter_context(supervisor)
        set_up.wait(lambda: supervisor.ready, START_TIMEOUT, "the start of all processes")
        yield set_up


def _prepare(settings: Settings) -> None:
    database.configure(settings.database_url.value)
    migrations.migrate()
    sites.apply_environment(settings)
    database.close()


def _environment(
    keys: Keys, primary: DemoRegistry, secondary: DemoRegistry, directory: Path, port: int, admin_token: str
) -> dict[str, str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GEO_") and name not in {"DATABASE_URL", "REDIS_URL", "BROKER_URL"}
    }
    return inherited | {
        "DATABASE_URL": f"sqlite:///{directory.resolve()}/geo.db",
        "PORT": str(port),
        "GEO_BIND": "127.0.0.1",
        "WORKER_PROCESSES": "1",
        "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": primary.url,
        "GEO_SECONDARY_REGISTRY_URL": secondary.url,
        "GEO_REGISTRY_KEY_PATH": str(keys.key_path.resolve()),
        "GEO_REGISTRY_CERTIFICATE_PATH": str(keys.certificate_path.resolve()),
        "GEO_NOTIFICATION_SECRET": keys.notification_secret,
        "GEO_ADMIN_TOKEN": admin_token,
        "LOG_FORMAT": "plain",
    }
