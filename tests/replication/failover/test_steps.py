from __future__ import annotations

from app.replication.failover.steps import OF_A_REGISTRY
from app.settings import Settings


def test_everything_of_a_registry_goes_with_it() -> None:
    # Given the variables that the settings ask for
    asked: set[str] = set()

    class Recorder(dict[str, str]):
        def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
            asked.add(name)
            return super().get(name, default)

    Settings.from_env(
        Recorder(
            GEO_NOTIFICATION_SECRET="x",
            GEO_REGISTRY_REPLICATION_PRIMARY_API_URL="http://a.example",
            GEO_SECONDARY_REGISTRY_URL="http://b.example",
        )
    )

    # Then those of a registry are what is exchanged when the registries are
    for prefix in ("GEO_PRIMARY_REGISTRY_", "GEO_SECONDARY_REGISTRY_"):
        assert {name.removeprefix(prefix) for name in asked if name.startswith(prefix)} - {"URL"} == {*OF_A_REGISTRY}
