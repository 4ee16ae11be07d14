"""The rules for Prometheus: valid, tested, documented, and about what there is."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from app.metrics import LAG_BUCKETS
from tests.deploy.deployed import (
    CONFIG,
    METRICS_PAGE,
    RULE_TESTS,
    RULES,
    alerts,
    metrics_in,
    recorded,
    rules_without_comments,
)
from tests.support import parts


def promtool(*arguments: str | Path) -> str:
    """Run it; what it says. AssertionError unless it is content."""
    command = [parts.require("promtool"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
def test_prometheus_takes_the_rules_and_the_example() -> None:
    said = promtool("check", "rules", RULES)
    assert f"{len(alerts()) + len(recorded())} rules found" in said
    promtool("check", "config", CONFIG)


@pytest.mark.long
def test_the_rules_do_what_their_tests_say() -> None:
    promtool("test", "rules", RULE_TESTS)


def test_every_alert_is_seen_to_fire_and_to_stay_silent() -> None:
    # Given the tests of the rules
    text = RULE_TESTS.read_text()
    fired = set(re.findall(r'ALERTS\{alertname="(\w+)", alertstate="firing", severity=', text))
    # An alert that is expected to be absent stands alone, with the time at which it is.
    silent = set(re.findall(r"- alertname: (\w+)\n\s+eval_time: \w+\n(?!\s+exp_alerts)", text))

    # Then
    assert fired == alerts().keys()
    assert silent == alerts().keys()


def test_the_rules_are_about_what_is_exported(exported: frozenset[str]) -> None:
    used = metrics_in(rules_without_comments())
    assert used
    assert used - recorded() <= exported
    # What is recorded is also asked for, but for the month, which only a person looks at.
    expressions = re.sub(r"- record: \S+", "", rules_without_comments())
    assert recorded() - metrics_in(expressions) == {"site:geo_replication_late:ratio_rate30d"}


def test_the_objective_is_a_bound_of_the_histogram() -> None:
    bounds = set(re.findall(r'le="([^"]+)"', rules_without_comments()))
    assert {repr(float(bound)) for bound in LAG_BUCKETS} >= bounds
    assert len(bounds) == 1


def test_every_alert_is_documented_with_its_severity() -> None:
    found = dict(re.findall(r"^\| `(Geo\w+)` \| (\w+) \|", METRICS_PAGE.read_text(), re.MULTILINE))
    assert found == alerts()
