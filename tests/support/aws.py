"""AWS's APIs: moto's server, on a free port and in memory; for what boto3 itself asks."""

from __future__ import annotations

import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.support import parts
from tests.support.ports import free_port
from tests.support.processes import Process, clean_environment


class Aws:
    """`with Aws(tmp_path) as aws: ...`; `url` is the endpoint of every service."""

    def __init__(self, path: Path) -> None:
        self.port = free_port()
        self._log = path / "aws.log"
        self._process: Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        program = parts.require("moto_server", str(Path(sys.executable).with_name("moto_server")))
        self._process = Process(
            [program, "-H", "127.0.0.1", "-p", str(self.port)], log=self._log, env=clean_environment()
        ).start()
        try:
            self._process.wait_for_http(f"{self.url}/moto-api/", timeout=30)
        except BaseException:
            self._process.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.kill()


def no_aws(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Take everything away by which boto3 finds credentials on this machine."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_DEFAULT_REGION", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(home / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
