"""Variables: which of them the settings ask for."""

from __future__ import annotations

#: The least that settings are made from.
LEAST = {
    "GEO_NOTIFICATION_SECRET": "x",
    "GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": "http://a.example",
    "GEO_SECONDARY_REGISTRY_URL": "http://b.example",
}


class Asked(dict[str, str]):
    """An environment; `names` are the variables that it was asked for."""

    def __init__(self, variables: dict[str, str]) -> None:
        super().__init__(variables)
        self.names: set[str] = set()

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        self.names.add(name)
        return super().get(name, default)
