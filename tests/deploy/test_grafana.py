"""The dashboard: importable, whole, and about what there is."""

from __future__ import annotations

import itertools
import re
from typing import Any

from tests.deploy.deployed import METRICS_PAGE, dashboard, metrics_in, panels, queries, recorded

#: What Grafana calls the units that are shown.
UNITS = {"s", "none", "percentunit", "ops", "reqps", "Bps"}


def test_it_can_be_imported_anywhere() -> None:
    # Given
    board = dashboard()
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}

    # Then it brings no number of its own, and asks which data source to use
    assert board["id"] is None
    assert board["uid"] == "geo-registry"
    assert variables["datasource"]["type"] == "datasource"
    sources = [part.get("datasource") for panel in panels() for part in (panel, *panel["targets"])]
    sources += [variable["datasource"] for variable in variables.values() if variable["type"] == "query"]
    sources += [annotation["datasource"] for annotation in board["annotations"]["list"]]
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)

    # And nothing is asked for that nobody fills in
    used = set(re.findall(r"\$\{?(\w+)", " ".join(query.expression for query in queries())))
    assert used <= variables.keys() | {"__rate_interval", "__range"}

    # And what it needs of Grafana is said
    required = {item["id"] for item in board["__requires"] if item["type"] == "panel"}
    assert required == {panel["type"] for panel in panels()}


def test_panels_fill_the_page_without_overlap() -> None:
    found = dashboard()["panels"]
    assert len({panel["id"] for panel in found}) == len(found)

    def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        return {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }

    for one, other in itertools.combinations(found, 2):
        assert not cells(one) & cells(other), (one["title"], other["title"])
    # No hole: every line that is begun is full.
    covered = set().union(*map(cells, found))
    assert len(covered) == 24 * (max(y for _, y in covered) + 1)


def test_every_panel_says_what_it_shows() -> None:
    titles = [panel["title"] for panel in panels()]
    assert len(set(titles)) == len(titles)
    for panel in panels():
        assert panel["description"].endswith("."), panel["title"]
        unit = (
            panel["options"]["yAxis"]["unit"]
            if panel["type"] == "heatmap"
            else panel["fieldConfig"]["defaults"]["unit"]
        )
        assert unit in UNITS, panel["title"]
        assert all(target["legendFormat"] for target in panel["targets"])
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_a_unit_is_that_of_the_metric() -> None:
    for panel in panels():
        unit = (
            panel["options"]["yAxis"]["unit"]
            if panel["type"] == "heatmap"
            else panel["fieldConfig"]["defaults"]["unit"]
        )
        for target in panel["targets"]:
            of_seconds = re.search(r"histogram_quantile|_seconds(_bucket)?\{", target["expr"])
            ratio = " / " in target["expr"]
            if of_seconds and not ratio:
                assert unit == "s", panel["title"]
            if "_bytes_total" in target["expr"]:
                assert unit == "Bps", panel["title"]
            if target["expr"].startswith("max by") and not ratio:
                assert unit in {"none", "s"}, panel["title"]


def test_it_shows_what_is_exported(exported: frozenset[str]) -> None:
    used = frozenset().union(*(metrics_in(query.expression) for query in queries()))
    assert used <= exported | recorded()


def test_it_is_documented_row_by_row() -> None:
    rows = [panel["title"] for panel in dashboard()["panels"] if panel["type"] == "row"]
    documented = re.findall(r"^- \*(.+?)\*:", METRICS_PAGE.read_text(), re.MULTILINE)
    assert documented == rows
