"""A real registry: CNCF Distribution 2.8 or 3, on a free port with its storage in a directory."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

import requests

from tests.support import parts
from tests.support.keys import KeyPair, TokenAuth
from tests.support.ports import free_port
from tests.support.processes import Process, clean_environment

Version = Literal["2.8", "3"]

#: What `basic=True` lets in.
BASIC_USERNAME = "geo"
BASIC_PASSWORD = "correct horse"
#: bcrypt of BASIC_PASSWORD at the lowest cost: nothing at hand here makes one.
_HTPASSWD = f"{BASIC_USERNAME}:$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e\n"


class Registry(Protocol):
    """Where the tests' own client pushes to and pulls from."""

    @property
    def url(self) -> str: ...

    @property
    def verify(self) -> bool | str:
        """As `verify` of requests."""
        ...

    def authorization(self, *scopes: str) -> Mapping[str, str]:
        """The request headers that grant `scopes`."""


@dataclass(frozen=True, slots=True)
class Address:
    """A registry that somebody else runs, such as a fake one or a proxy, at a URL and with fixed headers."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    verify: bool | str = True

    def authorization(self, *scopes: str) -> Mapping[str, str]:
        return self.headers


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One webhook of a registry's `notifications.endpoints`."""

    url: str
    #: The whole value of the Authorization header, as GitLab's registries send it.
    secret: str | None = None
    name: str = "replicator"
    timeout: str = "2s"
    #: So many failures at once before `backoff` counts.
    threshold: int = 3
    backoff: str = "200ms"
    #: Leave out pulls and blobs, as a registry should be configured.
    ignore: bool = False

    def config(self) -> dict[str, Any]:
        described: dict[str, Any] = {
            "name": self.name,
            "url": self.url,
            "timeout": self.timeout,
            "threshold": self.threshold,
            "backoff": self.backoff,
        }
        if self.secret is not None:
            described["headers"] = {"Authorization": [self.secret]}
        if self.ignore:
            # Before 3.1.0 the actions alone are ignored themselves.
            described["ignore"] = {"mediatypes": ["application/octet-stream"], "actions": ["pull"]}
        return described


class DistributionRegistry:
    """A registry process: `with DistributionRegistry(tmp_path, token=auth) as registry: ...`.

    `stop`, `kill` and `start` keep port, storage and log; the attributes may be changed in between, since `start`
    writes the configuration anew.
    """

    #: Seconds within which it has to answer.
    patience = 20.0

    def __init__(
        self,
        path: Path,
        *,
        version: Version = "2.8",
        token: TokenAuth | None = None,
        basic: bool = False,
        notify: Sequence[Endpoint] = (),
        include_references: bool = False,
        delete: bool = True,
        readonly: bool = False,
        schema1: bool = False,
        cache: bool = False,
        tls: KeyPair | None = None,
        port: int | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        """Describe the registry.

        :param path: a directory of its own; it is made if it is missing.
        :param token: token authentication; without it and `basic` the registry is open.
        :param basic: HTTP Basic with BASIC_USERNAME and BASIC_PASSWORD.
        :param cache: the in-memory blob descriptor cache of the packaged configuration.
        :param schema1: accept Docker schema 1 manifests (2.8 alone can).
        :param tls: serve HTTPS with this pair.
        :param config: merged into the configuration last, section by section; None takes a section out.
        """
        self.path = path
        self.version: Version = version
        self.token = token
        self.basic = basic
        self.notify = tuple(notify)
        self.include_references = include_references
        self.delete = delete
        self.readonly = readonly
        self.schema1 = schema1
        self.cache = cache
        self.tls = tls
        self.port = port or free_port()
        self.debug_port = free_port()
        self.extra = dict(config or {})
        self.process: Process | None = None
        path.mkdir(parents=True, exist_ok=True)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}"

    @property
    def verify(self) -> bool | str:
        return str(self.tls.certificate_path) if self.tls else True

    @property
    def storage(self) -> Path:
        """The root of its storage: `docker/registry/v2/...` below it."""
        return self.path / "storage"

    def blob_path(self, digest: str) -> Path:
        """The file of a blob or manifest, for tests that damage or remove it behind the registry's back."""
        algorithm, _, encoded = digest.partition(":")
        return self.storage / "docker/registry/v2/blobs" / algorithm / encoded[:2] / encoded / "data"

    @property
    def log(self) -> Path:
        return self.path / "registry.log"

    @property
    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.running

    def authorization(self, *scopes: str) -> dict[str, str]:
        """Return the headers that grant `scopes` here: a fresh token, Basic, or none."""
        if self.token is not None:
            return {"Authorization": f"Bearer {self.token.mint(*scopes)}"}
        if self.basic:
            request = requests.Request(auth=(BASIC_USERNAME, BASIC_PASSWORD), url=self.url).prepare()
            return {"Authorization": request.headers["Authorization"]}
        return {}

    def start(self) -> Self:
        """Start it and wait until it answers."""
        self._write_config()
        self.process = Process(
            self._command(),
            log=self.log,
            # Distribution 3 would send its traces to an OTLP collector.
            env=clean_environment(OTEL_TRACES_EXPORTER="none"),
            cwd=self.path,
        )
        self.process.serve(f"{self.url}/v2/", timeout=self.patience, verify=self.verify)
        return self

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()

    def pause(self) -> None:
        """Stop it where it stands: it keeps its connections and answers nothing."""
        assert self.process is not None
        self.process.pause()

    def resume(self) -> None:
        assert self.process is not None
        self.process.resume()

    def garbage_collect(self, *, delete_untagged: bool = False) -> None:
        """Run its garbage collection now, beside the running server."""
        options = ["--delete-untagged"] if delete_untagged else []
        subprocess.run(
            [self._binary(), "garbage-collect", *options, str(self.path / "config.yml")],
            check=True,
            capture_output=True,
            env=clean_environment(OTEL_TRACES_EXPORTER="none"),
        )

    def notifications(self) -> list[dict[str, Any]]:
        """Return the counters of each endpoint: `Pending`, `Events`, `Successes`, `Failures`, `Errors`, `Statuses`."""
        with requests.Session() as session:
            session.trust_env = False
            answer = session.get(f"http://127.0.0.1:{self.debug_port}/debug/vars", timeout=5).json()
        endpoints = answer["registry"]["notifications"]["endpoints"] or []
        return [dict(endpoint["Metrics"]) for endpoint in endpoints]

    def pending_notifications(self) -> int:
        """Return how many notifications still wait to be delivered."""
        return sum(int(endpoint["Pending"]) for endpoint in self.notifications())

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _command(self) -> list[str]:
        return [self._binary(), "serve", str(self.path / "config.yml")]

    def _binary(self) -> str:
        if self.version == "3":
            return parts.optional("registry", "~/go/bin/registry")
        return parts.require("docker-registry", "/usr/bin/docker-registry")

    def _write_config(self) -> None:
        # YAML is a superset of JSON.
        config = _merge(self._config(), self.extra)
        (self.path / "config.yml").write_text(json.dumps(config, indent=1))

    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = {
            "version": 0.1,
            "log": {"level": "info", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(self.storage)},
                "delete": {"enabled": self.delete},
                "maintenance": {
                    "uploadpurging": {"enabled": False},
                    "readonly": {"enabled": self.readonly},
                },
            },
            "http": {
                "addr": self.host,
                # One that stays: an upload survives a restart.
                "secret": "the tests' upload secret",
                "debug": {"addr": f"127.0.0.1:{self.debug_port}"},
            },
        }
        if self.cache:
            config["storage"]["cache"] = {"blobdescriptor": "inmemory"}
        if self.tls is not None:
            config["http"]["tls"] = {
                "certificate": str(self.tls.certificate_path),
                "key": str(self.tls.key_path),
            }
        if self.schema1:
            config["compatibility"] = {"schema1": {"enabled": True}}
        if self.notify:
            config["notifications"] = {
                "events": {"includereferences": self.include_references},
                "endpoints": [endpoint.config() for endpoint in self.notify],
            }
        config.update(self._auth())
        return config

    def _auth(self) -> dict[str, Any]:
        if self.token is not None:
            return {
                "auth": {
                    "token": {
                        "realm": self.token.realm,
                        "service": self.token.service,
                        "issuer": self.token.issuer,
                        "rootcertbundle": str(self.token.rootcertbundle),
                    }
                }
            }
        if self.basic:
            users = self.path / "htpasswd"
            users.write_text(_HTPASSWD)
            return {"auth": {"htpasswd": {"realm": "tests", "path": str(users)}}}
        return {}


#: The fixture `registry_factory`: a name and DistributionRegistry's options give a started registry.
RegistryFactory = Callable[..., DistributionRegistry]


def _merge(base: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in extra.items():
        if value is None:
            merged.pop(name, None)
            continue
        known = merged.get(name)
        merged[name] = _merge(known, value) if isinstance(known, dict) and isinstance(value, Mapping) else value
    return merged
