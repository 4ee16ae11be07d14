from __future__ import annotations

import pytest

from app.units import duration, size


@pytest.mark.parametrize(
    ("bytes_", "said"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**30, "1.0 GiB"), (2**50, "1024.0 TiB")]
)
def test_sizes(bytes_: int, said: str) -> None:
    assert size(bytes_) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 ms"),
        (0.0123, "12 ms"),
        (3.21, "3.2 s"),
        (61, "61 s"),
        (300, "5 min"),
        (7200, "2 h"),
        (47 * 3600, "47 h"),
        (4 * 86400, "4 days"),
    ],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said
