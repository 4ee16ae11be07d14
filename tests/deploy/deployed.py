"""The files under deploy/ for Prometheus and Grafana, read as the tests need them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.support.root import ROOT

PROMETHEUS = ROOT / "deploy/prometheus"
RULES = PROMETHEUS / "geo-registry.rules.yml"
RULE_TESTS = PROMETHEUS / "geo-registry.rules.test.yml"
CONFIG = PROMETHEUS / "prometheus.yml"
DASHBOARD = ROOT / "deploy/grafana/geo-registry.json"
METRICS_PAGE = ROOT / "docs/metrics.md"


def rules_without_comments() -> str:
    return re.sub(r"^\s*#.*$", "", RULES.read_text(), flags=re.MULTILINE)


def alerts() -> dict[str, str]:
    """The alerts of the rules with their severities."""
    return dict(re.findall(r"- alert: (\w+)\n(?:(?!- alert:)[\s\S])*?severity: (\w+)", RULES.read_text()))


def recorded() -> frozenset[str]:
    return frozenset(re.findall(r"- record: (\S+)", RULES.read_text()))


def metrics_in(text: str) -> frozenset[str]:
    """Names of series of ours in PromQL: recorded ones have a colon."""
    return frozenset(re.findall(r"\b(?:\w+:)?geo_[a-z_]+(?::\w+)?\b|\bgeo:\w+:\w+\b", text))


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel of the dashboard."""

    panel: str
    expression: str

    def filled_in(self, interval: str, span: str) -> str:
        """As Grafana would ask it with everything selected."""
        text = self.expression.replace("$__rate_interval", interval).replace("$__range", span)
        return re.sub(r'"\$(?:job|site)"', '".*"', text)


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return loaded


def panels() -> list[dict[str, Any]]:
    """All that show something."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> Iterator[Query]:
    for panel in panels():
        for target in panel["targets"]:
            yield Query(panel["title"], target["expr"])
