from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from tests.soak.svg import COLOURS, HEIGHT, TEXT, WIDTH, Line, Plot, rounded_up

#: Of GitHub's pages, light and dark.
BACKGROUNDS = ("#ffffff", "#0d1117")


def test_it_is_a_document_with_all_lines() -> None:
    # Given two lines, one of them with a name that must be escaped
    lines = [Line("a < b & c", [(0.0, 1.0), (60.0, 3.0)]), Line("other", [(0.0, 2.0), (60.0, 2.0)])]

    # When
    document = ET.fromstring(Plot("Memory", "MiB", lines, marks=[30.0], judged=(30.0, 60.0)).svg())

    # Then
    texts = [element.text for element in document.iter("{http://www.w3.org/2000/svg}text")]
    assert "a < b & c" in texts
    assert "Memory (MiB)" in texts
    assert "4" in texts


def test_everything_is_inside() -> None:
    # Given values of every size, and times of an hour
    points = [(5.0 * number, (number * 37 % 911) / 7) for number in range(720)]

    # When
    svg = Plot("Rows", "", [Line("rows", points)]).svg()

    # Then
    places = [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.-]+) ([\d.-]+)", svg)]
    assert len(places) > 200
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places)


def test_more_is_higher() -> None:
    svg = Plot("Rows", "", [Line("rows", [(0.0, 1.0), (10.0, 9.0)])]).svg()

    (first,) = re.findall(r'd="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)"', svg)
    assert float(first[1]) > float(first[3])
    assert float(first[0]) < float(first[2])


def test_powers_of_ten_are_equally_far_apart() -> None:
    svg = Plot("Lag", "s", [Line("p50", [(0.0, 0.1), (1.0, 1.0), (2.0, 10.0)])], logarithmic=True).svg()

    (heights,) = re.findall(r'd="M\S+ (\S+?)L\S+ (\S+?)L\S+ (\S+?)"', svg)
    low, middle, high = map(float, heights)
    assert low - middle == pytest.approx(middle - high, abs=0.3)
    assert low > high


def test_a_gap_breaks_the_line() -> None:
    svg = Plot("Rows", "", [Line("rows", [(0.0, 1.0), (5.0, 1.0), (900.0, 1.0), (905.0, 1.0)])]).svg()

    (path,) = re.findall(r'd="(M[^"]*L[^"]*)"', svg)
    assert path.count("M") == 2


def test_nothing_measured_is_a_plot_all_the_same() -> None:
    ET.fromstring(Plot("Rows", "", []).svg())


@pytest.mark.parametrize(
    ("value", "above"), [(0.0, 1.0), (1.0, 1.0), (3.0, 4.0), (41.0, 50.0), (0.07, 0.08), (9.5, 10.0)]
)
def test_the_scale_ends_with_a_round_number(value: float, above: float) -> None:
    assert rounded_up(value) == pytest.approx(above)


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize("colour", [*COLOURS, TEXT])
def test_it_can_be_read_on_light_and_on_dark(colour: str, background: str) -> None:
    # WCAG asks for 3 where something is drawn, and for 4.5 of small text, which no grey gives on both.
    light, dark = sorted((luminance(colour), luminance(background)), reverse=True)

    assert (light + 0.05) / (dark + 0.05) >= (4.2 if colour == TEXT else 3.0)


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
