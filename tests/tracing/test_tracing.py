"""What is done where nobody collects spans, and who counts as somebody who does."""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import correlation, tracing
from tests.support.deployment import offline_environment
from tests.support.processes import clean_environment
from tests.support.root import ROOT

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


@pytest.fixture
def untraced() -> Iterator[None]:
    """Whatever is configured is over with the test."""
    before = tracing.install(None)
    yield
    tracing.close()
    tracing.install(before)


def booted(path: Path, code: str, before: str = "", **environ: str) -> dict[str, object]:
    """What a process prints as JSON that boots in this environment."""
    start = "import json, sys, redis\nbefore = set(sys.modules)\nfrom app.web.application import create_app"
    done = subprocess.run(
        [sys.executable, "-c", f"{before}\n{start}\n{code}"],
        cwd=path,
        env=clean_environment(**offline_environment(f"sqlite:///{path}/geo.db"), PYTHONPATH=str(ROOT), **environ),
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    said: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return said


#: What of it is imported, but for what redis-py does by itself wherever it finds its metrics installed.
IMPORTED = """
import workers.events, workers.sync, workers.verification
create_app()
ours = set(sys.modules) - before
print(json.dumps({"imported": sorted(name for name in ours if name.startswith(("opentelemetry", "google")))}))
"""


@pytest.mark.parametrize(
    "environ", [{}, ENDPOINT | {"OTEL_SDK_DISABLED": "true"}, ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}]
)
def test_nothing_of_it_is_imported_where_nobody_asks_for_it(environ: dict[str, str], tmp_path: Path) -> None:
    assert booted(tmp_path, IMPORTED, **environ) == {"imported": []}


def test_it_is_imported_where_a_collector_is_named(tmp_path: Path) -> None:
    imported = booted(tmp_path, IMPORTED, **ENDPOINT)["imported"]
    assert isinstance(imported, list)
    assert "opentelemetry.sdk.trace" in imported


def test_a_collector_without_the_extra_is_a_line_in_the_log_and_no_more(tmp_path: Path) -> None:
    # Given a process in which OpenTelemetry cannot be imported
    missing = """
import importlib.abc, sys
class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.partition(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
"""
    code = """
import logging
lines = []
logging.getLogger("app.tracing").addFilter(lambda record: lines.append(record.getMessage()) or True)
client = create_app().test_client()
print(json.dumps({"lines": lines, "status": client.get("/-/liveness").status_code}))
"""
    # When it boots, and is told of a collector
    said = booted(tmp_path, code, missing, **ENDPOINT)

    # Then it works, and says what is missing
    assert said["status"] == 200
    assert said["lines"] == ["no spans are collected: install geo-registry[otel], or set OTEL_SDK_DISABLED=true"]


@pytest.mark.parametrize(
    ("environ", "asked"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "geo"}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://collector:4318/v1/metrics"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "None"}, False),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "TRUE"}, False),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "false"}, True),
    ],
)
def test_who_asks_for_spans(environ: dict[str, str], asked: bool) -> None:
    assert tracing.asked_for(environ) is asked


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER is 'zipkin'"),
        (ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'"),
    ],
)
def test_what_we_do_not_have_is_said_and_keeps_nobody_from_work(
    environ: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Given
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    # When
    with caplog.at_level(logging.WARNING):
        tracing.configure(environ)

    # Then
    assert said in caplog.text
    assert tracing.span("work", {}) is tracing.span("other work", {})


@pytest.mark.usefixtures("untraced")
def test_without_a_collector_every_span_is_the_same_that_does_nothing() -> None:
    with tracing.span("work", {}) as span, tracing.message("process_events") as other:
        span.note({"a": 1})
        span.answered(500)
        span.failed("reason")
        assert span is other
    assert not span.headers
    assert tracing.request("GET", "http://registry.example/v2/", hand_on=True) is span
    assert tracing.served("POST", "/", {}) is span


def test_the_trace_of_an_occasion_is_its_id_or_follows_from_it() -> None:
    # Ids of 128 bits are the trace's, in either form
    id_ = correlation.new()
    assert f"{tracing.trace_id(id_):032x}" == id_
    assert tracing.trace_id("0F8FAD5B-d9cb-469f-a165-70867728950e") == 0x0F8FAD5BD9CB469FA16570867728950E

    # Of any other it is the hash, the same in every process
    for other in ("registry-7", id_[:-1], id_ + "0", "0f8fad5b-d9cb469fa16570867728950e"):
        assert tracing.trace_id(other) == int(hashlib.sha256(other.encode()).hexdigest()[:32], 16)

    # And never the one that stands for none
    assert tracing.trace_id("0" * 32) != 0
