from __future__ import annotations

import pytest

from app.models import SyncState
from app.replication.narrowing import Filter
from app.replication.paging import InvalidQuery


@pytest.mark.parametrize(
    ("text", "state"), [("failed", SyncState.FAILED), ("SYNCED", SyncState.SYNCED), ("0", SyncState.PENDING)]
)
def test_a_state_by_name_or_gitlabs_number(text: str, state: SyncState) -> None:
    assert Filter.parse(state=text).state is state


def test_what_is_empty_narrows_nothing() -> None:
    assert Filter.parse(state="", site="", search="  ") == Filter()


@pytest.mark.parametrize("text", ["broken", "4", "-1", "²"])
def test_no_such_state(text: str) -> None:
    with pytest.raises(InvalidQuery, match="synced"):
        Filter.parse(state=text)
