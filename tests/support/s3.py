"""An S3 API: moto's server, on a free port and in memory."""

from __future__ import annotations

from typing import Any, Self

import requests

from tests.support.moto import Moto

BUCKET = "registry"


class S3(Moto):
    """`with S3(tmp_path) as storage: ...`, with one bucket."""

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
        super().__enter__()
        try:
            with requests.Session() as session:
                session.trust_env = False
                session.put(f"{self.url}/{BUCKET}", timeout=30).raise_for_status()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self
