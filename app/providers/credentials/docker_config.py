"""Docker's config.json: the credentials that `docker login` keeps, or the helpers that have them.

Source: docker/cli, cli/config (credHelpers before credsStore before auths; Docker Hub under its first address).
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.providers.credentials.docker_helper import TIMEOUT, DockerHelper
from app.providers.credentials.issuer import Granted
from app.registry import Credential, Fetch, NoCredentials, Use

#: Seconds for which what was read is used: somebody logs in again, an orchestrator writes a new file, a helper's token
#: ends.
LIFETIME = 600.0

#: Under which Docker Hub's credentials are kept, whichever of its hosts is meant.
HUB = "https://index.docker.io/v1/"

_HUB_HOSTS = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


class DockerConfig:
    """The credentials of the registry at `url` in the file at `path`, read anew each time."""

    #: It may be a person's password.
    shared = False
    ends = False

    def __init__(
        self, url: str, path: Path, *, environ: Mapping[str, str] | None = None, timeout: float = TIMEOUT
    ) -> None:
        parts = urlsplit(url)
        self._host = parts.netloc.lower().removesuffix(_DEFAULT_PORTS[parts.scheme])
        self._server = HUB if self._host in _HUB_HOSTS else self._host
        self._path = path
        self._environ = os.environ if environ is None else environ
        self._timeout = timeout
        self.what = f"what Docker has for {self._host} ({path})"

    def issue(self, fetch: Fetch) -> Granted:  # noqa: ARG002
        """Read the file, and ask the helper that it names."""
        config = self._read()
        credential = self._helped(config) or self._kept(config)
        if credential is None:
            raise NoCredentials(
                f"{self._path} has no credentials for {self._host}",
                fix=f"docker login {self._host} (as the user that geo-registry runs as), or name the right file in"
                " GEO_…_REGISTRY_DOCKER_CONFIG",
            )
        return Granted(credential, LIFETIME)

    def _read(self) -> Mapping[str, Any]:
        try:
            config = json.loads(self._path.read_bytes())
        except OSError as error:
            raise NoCredentials(
                f"{self._path} cannot be read: {error.strerror}", fix="let the user that geo-registry runs as read it"
            ) from None
        except (ValueError, RecursionError):
            # Not the parser's words: they may quote the file.
            config = None
        if not isinstance(config, dict):
            raise NoCredentials(
                f"{self._path} is no JSON object", fix="write it anew: docker --config DIRECTORY login HOST"
            )
        return config

    def _helped(self, config: Mapping[str, Any]) -> Credential | None:
        name = self._entry(config.get("credHelpers")) or config.get("credsStore")
        if not isinstance(name, str) or not name:
            return None
        return DockerHelper(name, environ=self._environ, timeout=self._timeout).get(self._server)

    def _kept(self, config: Mapping[str, Any]) -> Credential | None:
        entry = self._entry(config.get("auths"))
        if not isinstance(entry, dict):
            return None
        identity, access = entry.get("identitytoken"), entry.get("registrytoken")
        if isinstance(access, str) and access:
            return Credential("", access, Use.ACCESS)
        if isinstance(identity, str) and identity:
            return Credential("", identity, Use.REFRESH)
        username, password = entry.get("username"), entry.get("password")
        if isinstance(entry.get("auth"), str) and entry["auth"]:
            username, password = self._decoded(entry["auth"])
        if not isinstance(username, str) or not isinstance(password, str) or not username or not password:
            return None
        return Credential(username, password)

    def _decoded(self, auth: str) -> tuple[str, str]:
        try:
            username, colon, password = base64.b64decode(auth, validate=True).decode().partition(":")
        except (binascii.Error, ValueError):
            username, colon, password = "", "", ""
        if not colon:
            raise NoCredentials(
                f"`auth` of {self._host} in {self._path} is not base64 of user:password",
                fix=f"docker logout {self._host}; docker login {self._host}",
            )
        # Old files end in a zero byte.
        return username, password.rstrip("\0")

    def _entry(self, entries: object) -> Any:
        """What is kept for our host: keys are hosts, or addresses of old."""
        if not isinstance(entries, dict):
            return None
        if self._server in entries:
            return entries[self._server]
        ours = _HUB_HOSTS if self._server == HUB else {self._host}
        return next((entry for key, entry in entries.items() if _host(str(key)) in ours), None)


def _host(key: str) -> str:
    scheme, separated, rest = key.partition("://")
    host = (rest if separated else key).partition("/")[0].lower()
    return host.removesuffix(_DEFAULT_PORTS.get(scheme, ":443") if separated else ":443")
