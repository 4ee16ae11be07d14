from __future__ import annotations

from app.replication.failover.steps import OF_A_REGISTRY
from app.settings import Settings
from tests.support.variables import LEAST, Asked


def test_everything_of_a_registry_goes_with_it() -> None:
    # Given the variables that the settings ask for
    asked = Asked(LEAST)
    Settings.from_env(asked)

    # Then those of a registry are what is exchanged when the registries are
    for prefix in ("GEO_PRIMARY_REGISTRY_", "GEO_SECONDARY_REGISTRY_"):
        assert {name.removeprefix(prefix) for name in asked.names if name.startswith(prefix)} - {"URL"} == {
            *OF_A_REGISTRY
        }
