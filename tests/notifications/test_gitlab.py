from __future__ import annotations

import pytest

from tests.notifications.delivering import read


@pytest.mark.parametrize("name", ["distribution-2.8-push", "distribution-3-delete-tag"])
def test_it_is_distributions_own(name: str) -> None:
    found = read("gitlab", name)
    assert found == read("distribution", name)
    assert len(found.events) == 1
    assert found.source_instances == {"b7a0c3a4-6e39-4b4e-a0ac-0bb9d1c7f2aa"}
