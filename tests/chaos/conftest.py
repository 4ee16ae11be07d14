from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.stage import ChaosStage
from tests.support.keys import TokenAuth

ChaosFactory = Callable[..., ChaosStage]


@pytest.fixture
def chaos(tmp_path: Path, token_auth: TokenAuth, request: pytest.FixtureRequest) -> Iterator[ChaosFactory]:
    """Start a stage that ends with the test: `chaos(rate=2e6, database="postgresql", ...)`."""
    with ExitStack() as stack:

        def start(*, database: str = "sqlite", **options: Any) -> ChaosStage:
            if database == "postgresql":
                options["postgres"] = request.getfixturevalue("postgres")
            return stack.enter_context(ChaosStage(tmp_path, token_auth, **options))

        yield start
