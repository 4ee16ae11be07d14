"""Registries beside CNCF Distribution, as programs on a free port of the loopback, open to everyone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.deployment import SECRET
from tests.support.ports import free_port
from tests.support.processes import Process, clean_environment
from tests.support.running import WEBHOOK


class Program:
    """`with Olareg(path, program) as registry: ...`: it keeps its storage in `path` and ends with the block."""

    def __init__(self, path: Path, *words: str, port: int) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.url = f"http://127.0.0.1:{port}"
        self.verify: bool | str = True
        self._process = Process(words, log=path / "registry.log", env=clean_environment(HOME=str(path)), cwd=path)

    def authorization(self, *scopes: str) -> Mapping[str, str]:
        return {}

    def __enter__(self) -> Self:
        self._process.serve(f"{self.url}/v2/")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.stop()


class Zot(Program):
    """zot, with Docker's media types allowed. `notify` is the port of the deployment that its events go to.

    https://zotregistry.dev/latest/admin-guide/admin-configuration/ and .../articles/events/
    """

    def __init__(self, path: Path, program: str, notify: int | None = None) -> None:
        port = free_port()
        config: dict[str, Any] = {
            "distSpecVersion": "1.1.1",
            "storage": {"rootDirectory": str(path / "storage")},
            "http": {"address": "127.0.0.1", "port": str(port), "compat": ["docker2s2"]},
            "log": {"level": "info"},
        }
        if notify is not None:
            sink = {
                "type": "http",
                "address": f"http://127.0.0.1:{notify}{WEBHOOK}/zot",
                "timeout": "10s",
                "credentials": {"token": SECRET},
            }
            config["extensions"] = {"events": {"enable": True, "sinks": [sink]}}
        path.mkdir(parents=True, exist_ok=True)
        described = path / "config.json"
        described.write_text(json.dumps(config, indent=1))
        super().__init__(path, program, "serve", str(described), port=port)


class Olareg(Program):
    """olareg, its storage in a directory. It tells nobody of anything."""

    def __init__(self, path: Path, program: str) -> None:
        port = free_port()
        storage = path / "storage"
        storage.mkdir(parents=True, exist_ok=True)
        words = ["--addr", "127.0.0.1", "--port", str(port), "--dir", str(storage), "--api-delete=true"]
        super().__init__(path, program, "serve", *words, port=port)
