"""Two deployments: the primary's, and that of a site which follows it without any key of the primary registry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.replication.site_tokens import PREFIX
from tests.support.compare import assert_same
from tests.support.deployment import ADMIN_TOKEN, SECRET
from tests.support.keys import TokenAuth, make_rsa
from tests.support.registries import DistributionRegistry, Registry
from tests.support.running import Running, endpoint, free_port
from tests.support.staged import Staged
from tests.support.wait import wait_until
from tests.support.wire import digest_of

#: The site's name.
SITE = "berlin"


@dataclass
class TwoSites(Staged):
    """`with TwoSites(tmp_path) as sites:` starts both registries and the primary's deployment; `follow` the other."""

    path: Path
    primary_database: str | None = None
    secondary_database: str | None = None
    #: Of the primary's deployment, beside what it needs.
    env: dict[str, str] | None = None
    version: Any = "2.8"

    def _start(self) -> None:
        port = free_port()
        self.primary_auth = TokenAuth(make_rsa(self._home("primary-keys"), "primary"))
        self.secondary_auth = TokenAuth(make_rsa(self._home("secondary-keys"), "secondary"))
        self.primary = self._registry("primary", token=self.primary_auth, notify=[endpoint(port, ignore=True)])
        self.secondary = self._registry("secondary", token=self.secondary_auth)
        home = self._home("one")
        env = {
            **of_primary(self.primary, self.primary_auth),
            "DATABASE_URL": self.primary_database or f"sqlite:///{home}/geo.db",
            **(self.env or {}),
        }
        self.one = self.stack.enter_context(Running(home, env, port))

    def add(self, *arguments: str, name: str = SITE) -> str:
        """Add the site at the primary's deployment; its token."""
        return token_in(self.one.geo("sites", "add", name, *arguments))

    def following(self, token: str, name: str = SITE, **env: str) -> Running:
        """The site's own deployment, not started."""
        home = self._home(name)
        env = {
            **of_site(self.primary, self.secondary, self.secondary_auth, self.one, token, name),
            "DATABASE_URL": self.secondary_database or f"sqlite:///{home}/geo.db",
            **env,
        }
        return Running(home, env, free_port())

    def follow(self, token: str, name: str = SITE, **env: str) -> Running:
        """Start the site's own deployment."""
        return self.stack.enter_context(self.following(token, name, **env))

    def arrives(self, two: Running, repository: str, reference: str, timeout: float = 40) -> None:
        """Wait until the secondary registry has it, and see that it is the same."""
        wait_until(
            lambda: digest_of(self.secondary, repository, reference) == digest_of(self.primary, repository, reference),
            timeout,
            lambda: f"{repository}:{reference} did not arrive\n{self._how_it_is(two)}",
        )
        assert_same(self.primary, self.secondary, repository, reference)

    def _how_it_is(self, two: Running) -> str:
        """All that tells why nothing arrives: what the site says of itself, what it has read, and all logs."""
        told = [two.geo(*command, status=None) for command in (("status",), ("events",), ("repositories",))]
        logs = [f"--- {log}\n{log.read_text()[-6000:]}" for log in sorted(self.path.glob("*.log"))]
        return "\n".join([*told, two.log_text[-6000:], "--- primary's", self.one.log_text[-3000:], *logs])

    def _registry(self, name: str, **options: Any) -> DistributionRegistry:
        return self.stack.enter_context(DistributionRegistry(self.path / name, version=self.version, **options))

    def _home(self, name: str) -> Path:
        home = self.path / f"home-{name}"
        home.mkdir()
        return home


def of_primary(registry: Registry, auth: TokenAuth) -> dict[str, str]:
    """The environment of the primary's deployment, but for its database."""
    return {
        "GEO_ROLE": "primary",
        "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": registry.url,
        "GEO_NOTIFICATION_SECRET": SECRET,
        "GEO_ADMIN_TOKEN": ADMIN_TOKEN,
        "GEO_REGISTRY_KEY_PATH": str(auth.keys.key_path),
        "GEO_REGISTRY_CERTIFICATE_PATH": str(auth.keys.certificate_path),
        "WEB_CONCURRENCY": "1",
    }


def of_site(
    primary: Registry, secondary: Registry, auth: TokenAuth, one: Running, token: str, name: str = SITE
) -> dict[str, str]:
    """The environment of a site's deployment, which follows `one` and has no key of the primary registry."""
    return {
        "GEO_ROLE": "secondary",
        "GEO_SITE_NAME": name,
        "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": primary.url,
        "GEO_SECONDARY_REGISTRY_URL": secondary.url,
        "GEO_SECONDARY_REGISTRY_KEY_PATH": str(auth.keys.key_path),
        "GEO_SECONDARY_REGISTRY_CERTIFICATE_PATH": str(auth.keys.certificate_path),
        "GEO_PRIMARY_URL": one.url,
        "GEO_SITE_TOKEN": token,
        "GEO_ADMIN_TOKEN": ADMIN_TOKEN,
        "WEB_CONCURRENCY": "1",
    }


def token_in(output: str) -> str:
    """The token that `geo sites` shows."""
    return next(line for line in output.splitlines() if line.startswith(PREFIX))
