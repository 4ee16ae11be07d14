from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.replication.several.lab import Lab


@pytest.fixture
def lab(tmp_path: Path, sqlite_template: Path) -> Iterator[Lab]:
    with ExitStack() as stack:
        yield Lab(tmp_path, sqlite_template, stack)
