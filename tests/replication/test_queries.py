from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.database import connection
from app.models import ContainerRepository, Reference, Site, SyncState, VerificationState
from app.models import ContainerRepositoryRegistry as Registry
from app.replication import queries
from app.replication.narrowing import Filter
from app.replication.queries import InvalidQuery
from tests.support.face import Face
from tests.support.seed import Seeded, seed


@pytest.fixture
def installation(installation: Face) -> Iterator[Face]:
    """Within a connection, as queries want it."""
    with connection():
        yield installation


@pytest.fixture
def rows(installation: Face) -> Seeded:
    return seed(installation.site)


def walk(narrow: Filter, limit: int) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    after = None
    while True:
        page = queries.repositories(narrow, after=after, limit=limit)
        assert len(page.rows) <= limit
        found += [(row.container_repository.path, row.site.name) for row in page.rows]
        after = page.after
        if after is None:
            return found


@pytest.mark.parametrize("limit", [1, 2, 45, 46, 100])
def test_two_sites_that_hold_the_same_repositories(installation: Face, rows: Seeded, limit: int) -> None:
    # Given a second site with a row for each repository: every path is there twice
    created = installation.site.created_at
    other = Site.create(name="asia", url="http://asia.example.com", created_at=created, updated_at=created)
    ids = [repository.id for repository in ContainerRepository.select()]
    Registry.insert_many([{"site": other, "container_repository": i, "created_at": created} for i in ids]).execute()
    # When one pages through, with page ends between and within the pairs
    found = walk(Filter(), limit)
    # Then each of both is there once, and narrowed to a site only its own
    assert len(found) == len(set(found)) == 2 * len(ids)
    assert walk(Filter(site="asia"), limit) == [pair for pair in found if pair[1] == "asia"]
    assert queries.repository_counts("asia")[SyncState.PENDING] == len(ids)
    assert queries.repository_counts()[SyncState.PENDING] == len(ids) + 1


def test_a_list_that_grows_while_it_is_read_shows_nothing_twice(installation: Face, rows: Seeded) -> None:
    # Given somebody who has read a page
    first = queries.repositories(Filter(), limit=10)
    before = [row.id for row in first.rows]
    # When a repository is pushed that sorts before it, and the last one shown goes away
    created = installation.site.created_at
    repository = ContainerRepository.create(path="aaa/first", created_at=created)
    Registry.create(site=installation.site, container_repository=repository, created_at=created)
    Registry.delete().where(Registry.id == before[-1]).execute()
    # Then the next page goes on behind what was shown
    rest = queries.repositories(Filter(), after=first.after, limit=100)
    assert not set(before) & {row.id for row in rest.rows}
    assert len(rest.rows) == 35


def test_a_search_means_its_letters(rows: Seeded) -> None:
    assert [row.id for row in queries.repositories(Filter(search="NGINX")).rows] == [rows.synced.id]
    for wildcard in ("%", "_", "\\", "'", "team%app"):
        assert queries.repositories(Filter(search=wildcard)).rows == []


def test_a_cursor_of_another_list_is_refused(rows: Seeded) -> None:
    of_repositories = queries.repositories(Filter(), limit=1).after
    of_events = queries.events(limit=1).after
    assert of_repositories
    assert of_events
    for wrong in (of_events, "", "e30", "W10", "bnVsbA", "W3RydWUsIDFd", "A" * 5000):
        with pytest.raises(InvalidQuery):
            queries.repositories(Filter(), after=wrong)
    with pytest.raises(InvalidQuery):
        queries.quarantined(after=of_repositories)


def test_events_newest_first_whole_or_of_one_repository(rows: Seeded) -> None:
    ids, after = [], None
    while True:
        page = queries.events(after=after, limit=10)
        ids += [event.id for event in page.rows]
        after = page.after
        if after is None:
            break
    assert ids == sorted(set(ids), reverse=True)
    assert len(ids) == 44
    (event,) = queries.events(repository_id=rows.failed.container_repository_id).rows
    assert event.container_repository.path == "team/app"


def test_what_fails_is_listed_by_its_next_try(installation: Face, rows: Seeded) -> None:
    found = queries.failing(installation.site, 5)
    assert {row.id for row in found} == {rows.failed.id, rows.hostile.id}
    assert len(queries.failing(installation.site, 1)) == 1


def test_rows_that_are_not_there(rows: Seeded) -> None:
    assert queries.repository(0) is None
    assert queries.repository(10**30) is None
    assert queries.reference(rows.failed.id, "never") is None
    assert queries.reference(rows.failed.id, "\0") is None
    assert queries.attempts(10**9).rows == []


def test_what_a_verification_leaves_to_be_said_of_a_site(installation: Face, rows: Seeded) -> None:
    # Given a site whose repositories are whole, but for one of each kind
    other = Site.create(
        name="asia", url="http://asia.example.com", created_at=rows.synced.created_at, updated_at=rows.synced.created_at
    )
    Registry.update(site=other).execute()
    kinds: list[dict[str, object]] = [
        {"verification_state": VerificationState.FAILED},
        {"verification_full": True, "verification_retry_at": rows.synced.created_at},
        {"state": SyncState.FAILED},
        {"verification_full": True},
        {},
    ]
    whole = {"state": SyncState.SYNCED, "verification_state": VerificationState.SUCCEEDED, "verification_full": False}
    picked = list(Registry.select().order_by(Registry.id).limit(len(kinds)))
    for row, kind in zip(picked, kinds, strict=True):
        Registry.update(site=installation.site, **(whole | kind)).where(Registry.id == row.id).execute()

    # Then those that are not are told, and one is waited for
    assert {row.id for row in queries.not_whole(installation.site)} == {row.id for row in picked[:3]}
    assert queries.verifications_asked_for(installation.site) == 1


def test_references_that_wait_to_be_looked_at(rows: Seeded) -> None:
    Reference.update(state=SyncState.SYNCED).where(Reference.registry == rows.failed.id).execute()
    assert queries.references_pending(rows.failed.id) == 0
    Reference.update(state=SyncState.PENDING).where(Reference.registry == rows.failed.id).execute()
    count = queries.references_pending(rows.failed.id)
    assert count > 1
    Reference.update(in_scope=False).where(
        (Reference.registry == rows.failed.id) & (Reference.name == "latest")
    ).execute()
    assert queries.references_pending(rows.failed.id) == count - 1
