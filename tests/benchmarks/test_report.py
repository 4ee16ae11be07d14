from __future__ import annotations

import json

import pytest

from tests.benchmarks.report import AS_IT_COMES, BEST, Aim, Row, markdown, number, percentile, table


def _row(**values: list[float]) -> Row:
    return Row("cold", "cold, loopback", "s", values, [Aim(1.5, BEST)])


@pytest.mark.parametrize(
    ("share", "expected"), [(0.01, 1.0), (0.5, 50.0), (0.501, 51.0), (0.99, 99.0), (0.991, 100.0), (1.0, 100.0)]
)
def test_a_percentile_is_the_smallest_value_that_the_share_does_not_exceed(share: float, expected: float) -> None:
    # Given a hundred values in no order
    values = [float(value) for value in range(100, 0, -1)]

    # When / Then
    assert percentile(values, share) == expected


@pytest.mark.parametrize("share", [0.0, -0.5, 1.01])
def test_a_percentile_needs_a_share_that_makes_sense(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        percentile([1.0], share)


def test_an_aim_is_measured_against_the_fastest_peer_and_not_against_us_or_a_yardstick() -> None:
    # Given
    medians = {"ours": 2.0, "skopeo": 9.0, "crane": 3.0, "least": 0.1}

    # When / Then
    assert Aim(1.5, BEST).ratio(medians) == 1.5
    assert Aim(1.5, BEST).met(medians) is True
    assert Aim(1.6, BEST).met(medians) is False
    assert Aim(20, "skopeo").ratio(medians) == 4.5


def test_those_that_run_as_they_come_are_met_by_themselves() -> None:
    # Given
    medians = {"ours": 2.0, "skopeo": 9.0, "crane-defaults": 6.0, "crane": 3.0}

    # When / Then
    assert Aim(3, AS_IT_COMES).ratio(medians) == 3.0
    assert Aim(3, BEST).ratio(medians) == 1.5
    assert Aim(3, AS_IT_COMES).met({"ours": 1.0, "crane": 3.0}) is None


def test_a_limit_is_met_from_below() -> None:
    # Given
    medians = {"ours": 4.2, "least": 4.0}

    # When / Then
    assert Aim(1.05, "least", faster=False).met(medians) is True
    assert Aim(1.04, "least", faster=False).met(medians) is False
    assert Aim(150).met({"ours": 149.0}) is True
    assert Aim(150).met({"ours": 151.0}) is False


def test_without_a_peer_there_is_no_verdict() -> None:
    assert Aim(1.5, BEST).met({"ours": 1.0}) is None
    assert Aim(1.5, BEST).met({"crane": 1.0}) is None
    assert _row(ours=[1.0]).verdicts() == []


def test_a_tool_that_failed_half_of_its_runs_has_no_median() -> None:
    # Given
    row = _row(ours=[1.0, 1.2, 1.1], crane=[2.0, 2.0], skopeo=[9.0])
    row.failures = {"crane": ["timed out"], "skopeo": ["timed out"], "regsync": ["exit 1: no"]}

    # When / Then one failure among three is told, one among two counts
    assert set(row.medians) == {"ours", "crane"}
    assert row.cell("crane") == "2.00 (2.00-2.00), 1 failed"
    assert row.cell("skopeo") == "timed out"
    assert row.cell("regsync") == "exit 1: no"
    assert row.cell("ours") == "1.10 (1.00-1.20)"


def test_the_tail_stands_beside_the_median_where_it_is_asked_for() -> None:
    # Given
    row = Row("push", "push", "ms", {"ours": [float(value) for value in range(1, 101)]}, tail=True)

    # When / Then
    assert row.cell("ours") == "50.5 / 99.0"


def test_a_row_survives_its_way_through_json() -> None:
    # Given
    row = _row(ours=[1.0, 2.0], crane=[6.0])
    row.aims.append(Aim(150))
    row.failures = {"skopeo": ["timed out"]}

    # When
    loaded = Row.load(json.loads(json.dumps(row.document())))

    # Then
    assert loaded == row
    assert loaded.verdicts()[0] == "4.00 x the best peer (aim 1.5): met"


def test_both_tables_show_every_tool_and_verdict() -> None:
    # Given a report of one row
    row = _row(ours=[2.0], crane=[2.4], skopeo=[8.0])
    document = {
        "date": "2026-01-02T03:04:05+00:00",
        "commit": "abc",
        "machine": {"cpus": 2, "processor": "a processor", "memory_gib": 8, "kernel": "Linux 6"},
        "versions": {"crane": "v1"},
        "options": {"rounds": 5},
        "storage_in_memory": True,
        "rows": [row.document()],
    }

    # When
    text, marked = table([row]), markdown(document)

    # Then
    assert "1.20 x the best peer (aim 1.5): missed" in text
    assert "skopeo" in text
    head, _, line, *_ = marked.splitlines()
    assert head == "| scenario | unit | ours | skopeo | crane | we are at |"
    assert line == "| cold, loopback | s | 2.00 | 8.00 | 2.40 | 1.20 x the best peer (aim 1.5): missed |"
    assert "2026-01-02, commit abc, 5 rounds" in marked


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.01234, "0.0123"), (1.0, "1.00"), (12.34, "12.3"), (123.4, "123"), (12345.0, "12345")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text
