"""A client of the API with the admin token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from werkzeug.test import TestResponse

from tests.support.deployment import ADMIN_TOKEN
from tests.support.face import Face

REPOSITORIES = "/api/v4/geo/container_repositories"


@dataclass(frozen=True, slots=True)
class Asking:
    face: Face

    def send(self, method: str, address: str, **more: Any) -> TestResponse:
        headers = {"PRIVATE-TOKEN": ADMIN_TOKEN, **more.pop("headers", {})}
        return self.face.client.open(address, method=method, headers=headers, **more)

    def get(self, address: str, status: int = 200) -> Any:
        return self._document("GET", address, status)

    def post(self, address: str, status: int = 202) -> Any:
        return self._document("POST", address, status)

    def _document(self, method: str, address: str, status: int) -> Any:
        response = self.send(method, address)
        assert response.status_code == status, response.text
        if status >= 400:
            assert response.content_type == "application/problem+json"
            assert response.get_json()["status"] == status
            assert response.get_json()["detail"]
        return response.get_json()
