"""An S3 API: moto's server, on a free port and in memory."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests

from tests.support import parts
from tests.support.ports import free_port
from tests.support.processes import Process, clean_environment

BUCKET = "registry"


class S3:
    """`with S3(tmp_path) as storage: ...`, with one bucket."""

    def __init__(self, path: Path) -> None:
        self.port = free_port()
        self._log = path / "s3.log"
        self._process: Process | None = None

    def registry_config(self, port: int | None = None) -> dict[str, Any]:
        """Return the part of a registry's configuration that keeps its storage here, or behind another port.

        The registry must not see AWS_CA_BUNDLE: its driver panics.
        """
        driver = {
            "accesskey": "tests",
            "secretkey": "tests-secret",
            "region": "us-east-1",
            "regionendpoint": f"http://127.0.0.1:{port or self.port}",
            # Without it Distribution 3 asks a host named after the bucket; 2.8 knows no other way.
            "forcepathstyle": True,
            "bucket": BUCKET,
            "secure": False,
        }
        return {"storage": {"filesystem": None, "s3": driver}}

    def __enter__(self) -> Self:
        program = parts.require("moto_server", str(Path(sys.executable).with_name("moto_server")))
        url = f"http://127.0.0.1:{self.port}"
        self._process = Process(
            [program, "-H", "127.0.0.1", "-p", str(self.port)], log=self._log, env=clean_environment()
        ).start()
        try:
            self._process.wait_for_http(f"{url}/moto-api/", timeout=30)
            with requests.Session() as session:
                session.trust_env = False
                session.put(f"{url}/{BUCKET}", timeout=30).raise_for_status()
        except BaseException:
            self._process.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()
