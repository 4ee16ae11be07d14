"""Variables: which of them the settings ask for, and what they say of those that are wrong."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from app.settings import Settings, SettingsError

#: The least that settings are made from.
LEAST = {
    "GEO_NOTIFICATION_SECRET": "x",
    "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": "http://a.example",
    "GEO_SECONDARY_REGISTRY_URL": "http://b.example",
}

#: The least that a deployment is started with, as a person would write it.
GOOD = {
    "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": "https://registry.example.com:5050/",
    "GEO_SECONDARY_REGISTRY_URL": "http://10.0.0.2:5000",
    "GEO_NOTIFICATION_SECRET": "a-notification-secret",
}


def problems(environ: Mapping[str, str]) -> list[str]:
    """The mistakes that this environment is refused for."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(environ)
    assert all(problem in str(caught.value) for problem in caught.value.problems)
    return caught.value.problems


class Asked(dict[str, str]):
    """An environment; `names` are the variables that it was asked for."""

    def __init__(self, variables: dict[str, str]) -> None:
        super().__init__(variables)
        self.names: set[str] = set()

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        self.names.add(name)
        return super().get(name, default)
