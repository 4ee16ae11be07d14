"""What the documentation says is what there is."""

from __future__ import annotations

import re
from pathlib import Path

from app.metrics import DEFINITIONS
from app.settings import Settings
from tests.support.deployment import Deployment, environment
from tests.support.registries import DistributionRegistry
from tests.support.root import ROOT
from tests.support.variables import LEAST, Asked


def test_every_metric_is_in_the_table(
    primary: DistributionRegistry, secondary: DistributionRegistry, tmp_path: Path
) -> None:
    # Given a deployment and the table of metrics
    from app.database import connection
    from app.replication.gauges import gauges as scraped

    deployment = Deployment.start(environment(primary, secondary, f"sqlite:///{tmp_path}/geo.db"))
    try:
        with connection():
            gauges = {family.name for family in scraped()}
    finally:
        deployment.close()

    # When
    documented = set(re.findall(r"^\| `(geo_[a-z_]+)`", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE))

    # Then nothing is undocumented; two gauges appear only once there is something to say
    assert documented - {"geo_last_event_timestamp", "geo_scheduler_heartbeat_age_seconds"} == {*DEFINITIONS, *gauges}


def test_every_variable_that_is_read_is_in_the_table() -> None:
    # Given the variables that the settings ask for
    asked = Asked(LEAST)
    Settings.from_env(asked)

    # When
    text = (ROOT / "docs/settings.md").read_text()

    # Then each is named; those of one registry by their shared endings, and a site's own as everybody's
    for name in {name.removesuffix("_SECONDARY") for name in asked.names}:
        parts = re.fullmatch(r"(GEO_(?:PRIMARY|SECONDARY)_REGISTRY_)(.+)", name)
        assert name in text or (parts is not None and f"`{parts[2]}`" in text), name
