"""How spans hang together, and what is told in them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest

from app import correlation, tracing
from app.registry import Unreachable
from tests.support.spans import Spans, collected

ONE, OTHER = "1" * 32, "2" * 32

SENDER = "b7ad6b7169203331"


def traceparent(trace_id: str) -> dict[str, str]:
    return {"traceparent": f"00-{trace_id}-{SENDER}-01"}


@pytest.fixture
def spans() -> Iterator[Spans]:
    with collected() as spans:
        yield spans


def test_what_happens_for_one_occasion_is_one_trace_also_without_a_common_parent(spans: Spans) -> None:
    # When two processes work for an occasion, of which the second knows but the id
    with correlation.bound("registry-7"), tracing.served("POST", "/events", {}):
        pass
    with correlation.bound("registry-7"), tracing.span("sync", {}), tracing.span("copy", {}):
        pass

    # Then it is one trace, with two roots
    served, copy, sync = spans.all
    assert served.trace_id == sync.trace_id == copy.trace_id == f"{tracing.trace_id('registry-7'):032x}"
    assert (served.parent_id, sync.parent_id, copy.parent_id) == ("", "", sync.span_id)
    assert served.attributes["geo.correlation_id"] == "registry-7"


def test_what_is_done_for_another_occasion_is_in_its_trace_and_linked(spans: Spans) -> None:
    # Given a worker that one occasion woke, and which finds another's work due
    def attempt() -> None:
        with correlation.bound(OTHER), tracing.span("attempt", {}), tracing.span("blob", {}):
            pass

    # When
    with correlation.bound(ONE), tracing.span("row", {}):
        attempt()

    # Then
    blob, tried, row = spans.all
    assert (row.trace_id, tried.trace_id, blob.trace_id) == (ONE, OTHER, OTHER)
    assert (tried.parent_id, tried.links) == ("", (ONE,))
    assert (blob.parent_id, blob.links) == (tried.span_id, ())


def test_a_span_goes_where_its_context_does(spans: Spans) -> None:
    with ThreadPoolExecutor(1) as threads, correlation.bound(ONE), tracing.span("row", {}):

        def work() -> None:
            with tracing.span("blob", {}):
                pass

        threads.submit(copy_context().run, work).result()
    blob, row = spans.all
    assert blob.parent_id == row.span_id


def test_a_sender_of_the_same_occasion_is_the_parent_and_any_other_is_linked(spans: Spans) -> None:
    # When a request comes of the trace that its occasion is, of another, and with nonsense
    with correlation.bound(ONE):
        for headers in (traceparent(ONE), traceparent(OTHER), {"traceparent": "nonsense"}):
            with tracing.served("POST", "/events", headers):
                pass

    # Then
    assert [span.trace_id for span in spans.all] == [ONE] * 3
    assert [span.parent_id for span in spans.all] == [SENDER, "", ""]
    assert [span.links for span in spans.all] == [(), (OTHER,), ()]


def test_a_failure_is_told_by_its_reason_and_not_by_what_it_says(spans: Spans) -> None:
    # Given errors with and without a reason, and one that is none
    class Passing(Exception): ...

    for error in (Unreachable("by s3cret"), KeyError("s3cret"), Passing("s3cret")):
        with pytest.raises(type(error)), tracing.span("work", {}, passing=(Passing,)):
            raise error

    # Then
    assert [span.error for span in spans.all] == ["unreachable", "KeyError", None]
    assert "s3cret" not in spans.text()


@pytest.mark.parametrize(
    ("url", "name", "told"),
    [
        (
            "http://registry.example:5000/v2/team/app/manifests/v1",
            "GET /v2/<name>/manifests/<reference>",
            {"server.port": 5000, "geo.repository": "team/app", "geo.reference": "v1"},
        ),
        (
            "https://registry.example/prefix/v2/app/blobs/sha256:ab12",
            "GET /v2/<name>/blobs/<digest>",
            {"server.port": 443, "geo.repository": "app", "geo.reference": "sha256:ab12"},
        ),
        ("https://registry.example/v2/app/tags/list?n=100&last=s3cret", "GET /v2/<name>/tags/list", {}),
        (
            "https://registry.example/v2/app/blobs/uploads/s3cret?_state=s3cret",
            "GET /v2/<name>/blobs/uploads/<session>",
            {},
        ),
        ("https://registry.example/v2/app/blobs/uploads/", "GET /v2/<name>/blobs/uploads/<session>", {}),
        ("https://registry.example/v2/app/referrers/sha256:ab12", "GET /v2/<name>/referrers/<digest>", {}),
        ("https://registry.example/v2/_catalog?n=s3cret", "GET", {}),
        ("https://storage.example/bucket/s3cret/data?X-Amz-Signature=s3cret", "GET", {}),
        ("https://user:s3cret@registry.example/token?service=s3cret#s3cret", "GET", {}),
    ],
)
def test_an_address_tells_where_and_what_and_nothing_that_gives_a_right(
    spans: Spans, url: str, name: str, told: dict[str, object]
) -> None:
    # When
    with tracing.request("GET", url, hand_on=False) as span:
        span.answered(200)

    # Then
    (request,) = spans.all
    assert (request.name, request.kind) == (name, "CLIENT")
    assert request.attributes["http.response.status_code"] == 200
    assert str(request.attributes["server.address"]).endswith(".example")
    assert told.items() <= request.attributes.items()
    assert not span.headers
    assert "s3cret" not in spans.text()


@pytest.mark.parametrize(("status", "error"), [(200, None), (401, None), (404, None), (429, "429"), (503, "503")])
def test_an_answer_of_not_there_is_no_failure(spans: Spans, status: int, error: str | None) -> None:
    with tracing.request("HEAD", "http://registry.example/v2/", hand_on=False) as span:
        span.answered(status)
    assert spans.all[0].error == error


def test_who_is_asked_is_told_of_the_span_where_that_is_handed_on(spans: Spans) -> None:
    with correlation.bound(ONE), tracing.request("GET", "http://registry.example/v2/", hand_on=True) as span:
        headers = dict(span.headers)
    assert headers == {"traceparent": f"00-{ONE}-{spans.all[0].span_id}-01"}


def test_processes_agree_about_the_traces_that_a_sampler_leaves_out(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given two processes that keep half of the traces
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    occasions = [correlation.new() for _ in range(64)]

    # When each works for the same occasions
    kept = []
    for _ in range(2):
        with collected() as spans:
            for occasion in occasions:
                with correlation.bound(occasion), tracing.span("work", {}), tracing.span("part", {}):
                    pass
            kept.append({(span.name, span.trace_id) for span in spans.all})

    # Then they kept the same ones, whole
    assert kept[0] == kept[1]
    assert {id_ for name, id_ in kept[0] if name == "work"} == {id_ for name, id_ in kept[0] if name == "part"}
    assert 0 < len(kept[0]) < 2 * len(occasions)


def test_the_service_has_our_name_unless_the_environment_gives_another(monkeypatch: pytest.MonkeyPatch) -> None:
    for environ, name in (({}, "geo-registry"), ({"OTEL_SERVICE_NAME": "geo-berlin"}, "geo-berlin")):
        for key, value in environ.items():
            monkeypatch.setenv(key, value)
        with collected() as spans:
            with tracing.span("work", {}):
                pass
            assert f'"service.name": "{name}"' in spans.text()
