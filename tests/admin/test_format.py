from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.admin import format as formats


def test_one_failure_among_a_million_is_seen_and_the_bar_stays_whole() -> None:
    # Given a million repositories of which one failed
    parts = formats.segments([("synced", 999_999), ("queued", 0), ("failed", 1)])
    # Then it has a share that can be seen, what is not there has none, and all fills the bar
    assert [part.state for part in parts] == ["synced", "failed"]
    assert parts[1].width >= 1
    assert parts[1].start == pytest.approx(parts[0].width, abs=0.01)
    assert sum(part.width for part in parts) == pytest.approx(100, abs=0.01)


def test_a_bar_of_nothing_has_no_parts() -> None:
    assert formats.segments([("synced", 0), ("failed", 0)]) == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "–"),  # noqa: RUF001
        (0, "0 ms"),
        (0.12, "120 ms"),
        (3.21, "3.2 s"),
        (61, "61 s"),
        (600, "10 min"),
        (7200, "2 h"),
        (259_200, "3 days"),
    ],
)
def test_durations(seconds: float | None, words: str) -> None:
    assert formats.duration(seconds) == words


def test_times_before_and_after_now() -> None:
    now = datetime.now(UTC)
    assert "5 min ago" in formats.ago(now - timedelta(minutes=5, seconds=1))
    assert "in 5 min" in formats.ago(now + timedelta(minutes=5, seconds=1))
    assert "just now" in formats.ago(now)
    assert "2026-01-02 03:04:05" in formats.exact(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


def test_what_one_cannot_see_is_written_out() -> None:
    assert formats.visible("a\u202eb\x07\x1b[0m\u200b") == "a\\u202eb\\u0007\\u001b[0m\\u200b"
    assert formats.visible("two\nlines\tand ü") == "two\nlines\tand ü"


@pytest.mark.parametrize("convert", [formats.breakable, formats.ticked, formats.digest])
def test_markup_of_strangers_is_escaped(convert: object) -> None:
    assert callable(convert)
    assert "<script>" not in convert("<script>alert(1)</script>:`<script>`")


def test_a_name_wraps_behind_its_separators_and_loses_nothing() -> None:
    shown = formats.breakable("team/app-one:v1")
    assert shown == "team/<wbr>app-<wbr>one:<wbr>v1<wbr>"


def test_backticks_become_code() -> None:
    assert formats.ticked("run `geo up` now") == "run <code>geo up</code> now"


def test_a_digest_is_cut_short_and_kept_whole_in_its_title() -> None:
    whole = "sha256:" + "0123456789abcdef" * 4
    shown = formats.digest(whole)
    assert ">sha256:0123456789ab<" in shown
    assert f'title="{whole}"' in shown
