"""The colours can be told apart from what they stand on, in light and in dark (WCAG 2.2, 1.4.3 and 1.4.11)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import app.admin

STYLE = (Path(app.admin.__file__).parent / "static" / "style.css").read_text()

#: Text, and what it stands on.
TEXT = (
    *(("text", back) for back in ("page", "card", "sunken", "bad-back", "good-back")),
    *(("muted", back) for back in ("page", "card", "sunken")),
    *((word, "card") for word in ("accent", "good", "wait", "bad", "busy", "idle")),
    ("accent", "page"),
    ("bad", "page"),
    ("accent-text", "accent"),
)

#: Marks that mean something, and what they stand on.
MARKS = (*((f"{fill}-fill", "card") for fill in ("good", "wait", "bad", "busy")), ("focus", "page"), ("muted", "card"))


def palettes() -> dict[str, dict[str, str]]:
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    found = {
        name: dict(re.findall(r"--([a-z-]+): (#[0-9a-f]+)", text)) for name, text in (("light", light), ("dark", dark))
    }
    assert len(found["light"]) == len(found["dark"]) > 15
    return found


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_what_the_standard_says_it_is() -> None:
    assert contrast("#000", "#fff") == pytest.approx(21)
    assert contrast("#777", "#fff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_and_marks_be_seen(scheme: str) -> None:
    colours = palettes()[scheme]
    weak = {
        (front, back): round(contrast(colours[front], colours[back]), 2)
        for pairs, enough in ((TEXT, 4.5), (MARKS, 3.0))
        for front, back in pairs
        if contrast(colours[front], colours[back]) < enough
    }
    assert weak == {}
