"""The rules and the dashboard, asked of a real Prometheus that scrapes two real deployments."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.deploy.deployed import CONFIG, RULES, Query, metrics_in, queries, recorded
from tests.support import images, parts
from tests.support.ports import free_port
from tests.support.processes import Process
from tests.support.running import Running
from tests.support.two_sites import SITE, TwoSites
from tests.support.wait import wait_until
from tests.support.wire import push

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]

#: These have something to say on a bad day only.
SILENT = {"geo_sync_failures_total", "geo_verification_findings_total", "geo_registry_throttling_total"}


class Prometheus:
    """Prometheus with the rules and the example configuration of deploy/, but in a hurry."""

    def __init__(self, path: Path, *targets: Running) -> None:
        path.mkdir()
        self.url = f"http://127.0.0.1:{free_port()}"
        (path / RULES.name).write_text(_hurried(RULES.read_text()))
        listed = "\n".join(f"          - 127.0.0.1:{target.port}" for target in targets)
        config, found = re.subn(r"^          - 127.0.0.1:8000$", listed, CONFIG.read_text(), flags=re.MULTILINE)
        assert found == 1
        (path / CONFIG.name).write_text(_hurried(config))
        self.process = Process(
            [
                parts.require("prometheus"),
                f"--config.file={path / CONFIG.name}",
                f"--storage.tsdb.path={path / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
            ],
            log=path / "prometheus.log",
            cwd=path,
        )
        self.session = requests.Session()
        self.session.trust_env = False

    def __enter__(self) -> Prometheus:
        self.process.start()
        try:
            self.process.wait_for_http(f"{self.url}/-/ready", timeout=60, status=200)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()
        self.process.stop()

    def get(self, path: str, **parameters: str) -> Any:
        answer = self.session.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=30)
        document = answer.json()
        assert document["status"] == "success", (parameters, document)
        return document["data"]

    def values(self, expression: str) -> list[float]:
        """What an expression comes to now, without what is no number."""
        found = [float(series["value"][1]) for series in self.get("query", query=expression)["result"]]
        return [value for value in found if not math.isnan(value)]

    def rules(self) -> list[dict[str, Any]]:
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]


def _hurried(text: str) -> str:
    return re.sub(r"\b((?:scrape_|evaluation_)?interval): \w+", r"\1: 1s", text)


@pytest.fixture
def sites(tmp_path: Path) -> Iterator[TwoSites]:
    parts.require("prometheus")
    with TwoSites(tmp_path) as sites:
        yield sites


def test_after_a_push_everything_that_is_asked_has_an_answer(sites: TwoSites, tmp_path: Path) -> None:
    # Given two deployments that are scraped, before anything was pushed
    two = sites.follow(sites.add())
    with Prometheus(tmp_path / "prometheus", sites.one, two) as prometheus:
        wait_until(lambda: prometheus.values("up") == [1, 1], 30, lambda: prometheus.process.log_text[-4000:])

        # When images are pushed, the second after the first was counted: an increase needs something to begin at
        push(sites.primary, "team/app", "v1", images.image())
        sites.arrives(two, "team/app", "v1")
        lag = "geo_replication_lag_seconds_count"
        wait_until(lambda: prometheus.values(lag) == [1], 30, lambda: str(prometheus.get("query", query=lag)))
        tags = ["v1"]

        # Then every query of the dashboard is understood, and had data unless it is about what goes wrong
        asked = list(queries())
        spoken = [query for query in asked if not metrics_in(query.expression) & SILENT]
        waiting = set(spoken)

        def all_answered() -> bool:
            # Once is enough. Something has to happen all the while: what was counted before a first scrape is no
            # increase, and a percentile of nothing is no number.
            tags.append(f"v{len(tags) + 1}")
            push(sites.primary, "team/app", tags[-1], images.image())
            sites.arrives(two, "team/app", tags[-1])
            waiting.difference_update([query for query in waiting if _answer(prometheus, query)])
            return not waiting

        wait_until(all_answered, 150, lambda: f"no data: {waiting}")
        for query in asked:
            _answer(prometheus, query)

        # And what it says is right
        synced = f'max by (name) (geo_references_synced{{name="{SITE}"}})'
        wait_until(lambda: prometheus.values(synced) == [len(tags)], 30, lambda: str(prometheus.values(synced)))
        assert prometheus.values("site:geo_replication_late:ratio_rate5m") == [0]

        # And every rule is evaluated without an error, and no alert is about to fire
        wait_until(
            lambda: all(
                rule["health"] == "ok" and rule.get("state", "inactive") == "inactive" for rule in prometheus.rules()
            ),
            60,
            lambda: str([rule for rule in prometheus.rules() if rule["health"] != "ok" or rule.get("alerts")]),
        )
        assert {rule["name"] for rule in prometheus.rules() if rule["type"] == "recording"} == recorded()
        for name in recorded():
            assert prometheus.values(name), name

        # When somebody notifies with the wrong secret
        for _ in range(2):
            assert sites.one.post({"events": []}, Authorization="wrong").status_code == 401
        refused = 'geo_webhook_requests_total{status="401"}'
        wait_until(lambda: prometheus.values(refused) == [2], 30, "the refusals were not scraped")
        for _ in range(8):
            assert sites.one.post({"events": []}, Authorization="wrong").status_code == 401

        # Then exactly that alert is about to fire
        wait_until(lambda: _alarmed(prometheus), 60, "no alert came of it")
        assert _alarmed(prometheus) == {"GeoWebhooksRefused"}


def _answer(prometheus: Prometheus, query: Query) -> list[float]:
    return prometheus.values(query.filled_in("1m", "10m"))


def _alarmed(prometheus: Prometheus) -> set[str]:
    return {rule["name"] for rule in prometheus.rules() if rule.get("alerts")}
