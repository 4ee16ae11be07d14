from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from app.database import connection
from app.models import ContainerRepository
from app.replication import paging
from app.replication.paging import InvalidQuery, Page
from tests.support.face import face


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[None]:
    with face(f"sqlite:///{tmp_path}/geo.db", tmp_path / "state") as started, connection():
        created = started.site.created_at
        for number in range(7):
            ContainerRepository.create(path=f"{'ab'[number % 2]}/{number}", created_at=created)
        yield


def beginning(with_: str, after: str | None, limit: int) -> Page[ContainerRepository]:
    query = ContainerRepository.select().where(ContainerRepository.path.startswith(with_))
    if after is not None:
        (path,) = paging.decode(after, str)
        query = query.where(ContainerRepository.path > path)
    return paging.page(query.order_by(ContainerRepository.path), limit, lambda row: (row.path,))


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 7, 50])
@pytest.mark.parametrize("parts", ["ab", "ba", "xaxbx", "x"])
def test_lists_one_behind_the_other_are_paged_as_one(installation: None, parts: str, limit: int) -> None:
    # Given lists of which some are empty
    lists = [partial(beginning, part) for part in parts]
    # When one pages through
    found: list[str] = []
    after, pages = None, 0
    while True:
        page = paging.chained(lists, after, limit)
        assert len(page.rows) <= limit
        found += [row.path for row in page.rows]
        after, pages = page.after, pages + 1
        if after is None:
            break
        # Then a page that leads on is full
        assert len(page.rows) == limit
    # And everything came once, in the lists' order, on no more pages than it fills
    wanted = {"a": ["a/0", "a/2", "a/4", "a/6"], "b": ["b/1", "b/3", "b/5"], "x": []}
    assert found == [path for part in parts for path in wanted[part]]
    assert pages == max(1, -(-len(found) // limit))


@pytest.mark.parametrize("values", [(9, ""), (-1, ""), ("a", ""), (0,), (0, "rubbish")])
def test_cursors_that_no_page_gave_are_refused(installation: None, values: tuple[str | int, ...]) -> None:
    lists = [partial(beginning, "a")]
    with pytest.raises(InvalidQuery):
        paging.chained(lists, paging.encode(*values), 3)
