"""A process takes only rows that are about the registries of its own environment."""

from __future__ import annotations

import threading
import time

import pytest
from peewee import PeeweeException

from app.database import connection, lock, now, transaction
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Reference, Site, SyncState, VerificationState
from app.replication import claim as claims
from app.replication import closing, sites, work
from app.replication.binding import Binding, NotApplied, same_address
from app.replication.verification import claim as verifications
from app.replication.verification import work as verification
from app.settings import Settings
from tests.support.deployment import Deployment, event, offline_environment
from tests.support.postgres import Postgres

OTHER_SECONDARY = {"GEO_SECONDARY_REGISTRY_URL": "http://other.example"}
OTHER_SITE = {"GEO_SITE_NAME": "other", **OTHER_SECONDARY}
OTHER_PRIMARY = {"GEO_REGISTRY_REPLICATION_PRIMARY_API_URL": "http://other.example"}


def apply(**extra: str) -> None:
    """As a process does that was started with another environment."""
    sites.apply_environment(Settings.from_env(offline_environment("sqlite:///unused/geo.db", **extra)))


def marked(state: Deployment, *repositories: str) -> list[int]:
    state.store(*(event(repository=repository, tag="v1") for repository in repositories))
    state.mark()
    return [state.row(repository).id for repository in repositories]


@pytest.mark.parametrize("environment", [OTHER_SECONDARY, OTHER_SITE, OTHER_PRIMARY], ids=["url", "site", "primary"])
def test_a_process_of_the_former_environment_takes_nothing_up(
    state: Deployment, environment: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    # Given rows that are due, and a process that is at work on one of them
    held, waiting = marked(state, "team/app", "team/more")
    claim = state.take()
    assert claim is not None
    looking = verifying(state, waiting)
    former = {row: token(row) for row in (held, waiting)}

    # When another environment is applied, which names a site of this process no longer, or other registries
    apply(**environment)
    with connection():
        if environment is OTHER_SITE:
            # All the rows there are, as if they were the new site's.
            Registry.update(site=Site.get(Site.name == "other")).execute()
        Registry.update(verification_full=True, verification_state=VerificationState.PENDING).execute()

    # Then no claim of any kind is to be had, and each says what to do
    for take in (
        state.take,
        lambda: state.take_row(waiting),
        lambda: verifications.claim_next(state.context.settings),
        lambda: verifications.claim_row(waiting, state.context.settings),
    ):
        with pytest.raises(NotApplied, match="geo migrate"):
            take()
    assert work.run_due(state.context) == verification.run_due(state.context) == 0
    assert work.run_row(waiting, state.context) is None
    assert "nothing is synced here" in caplog.text

    # And every claim that there was, or was about to be, is void
    if environment is not OTHER_SITE:
        assert [row for row in former if token(row) <= former[row]] == []
        assert closing.close(claim).state is None
        with connection():
            assert not Registry.select().where(looking.ours()).exists()


def test_an_environment_applied_while_a_row_is_taken_is_seen(state: Deployment) -> None:
    # Given a process that has found its sites as it knows them, and a row in them
    (row,) = marked(state, "team/app")
    binding = Binding.of(state.context.settings)
    with connection():
        assert binding.site() is not None
        query = Registry.select(Registry.id).where(Registry.id == row).limit(1)

        # When another environment is applied before it takes the row, then it gives it back
        apply(**OTHER_SECONDARY)
        with pytest.raises(NotApplied):
            claims._claim(query, now(), 0.0, binding)
        found = Registry.get_by_id(row)
        assert (found.state, found.lease_owner) == (SyncState.PENDING, None)


@pytest.mark.parametrize("values", [{"retired": True}, {"remote": True}, {"name": "another"}])
def test_a_site_that_is_not_there_for_us_is_not_ours(state: Deployment, values: dict[str, object]) -> None:
    (row,) = marked(state, "team/app")
    with connection():
        Site.update(**values).where(~Site.primary).execute()
    with pytest.raises(NotApplied):
        state.take_row(row)


def test_an_address_is_the_same_however_it_is_spelled(state: Deployment) -> None:
    # Given what is known of a secondary
    (row,) = marked(state, "team/app")
    with connection():
        Reference.update(observed_digest="sha256:x").execute()
    assert same_address("http://A.example:80/", "HTTP://a.example")
    assert not same_address("http://a.example", "http://a.example:5000")

    # When its address is spelled otherwise
    apply(GEO_SITE_NAME=state.site.name, GEO_SECONDARY_REGISTRY_URL="HTTP://127.0.0.1:10")

    # Then it is the same registry to who knows it by the former spelling
    with connection():
        assert Reference.get().observed_digest == "sha256:x"
    assert state.take_row(row) is not None


def test_an_address_that_changes_waits_for_who_records(postgres: Postgres) -> None:
    # Given a worker that has locked its row, and has its reference yet to write
    url = postgres.create_database()
    state = Deployment.start(offline_environment(url))
    errors: list[Exception] = []
    try:
        (row,) = marked(state, "team/app")
        locked, waited_for = threading.Event(), threading.Event()

        def record() -> None:
            try:
                with transaction():
                    lock(Registry, [row])
                    locked.set()
                    assert waited_for.wait(10)
                    Reference.update(retry_count=1).where(Reference.registry == row).execute()
            except PeeweeException as error:
                errors.append(error)

        def change() -> None:
            try:
                apply(**OTHER_SECONDARY)
            except PeeweeException as error:
                errors.append(error)

        # When another address is applied beside it
        threads = [threading.Thread(target=record), threading.Thread(target=change)]
        threads[0].start()
        assert locked.wait(10)
        threads[1].start()
        wait_until_somebody_waits()
        waited_for.set()
        for thread in threads:
            thread.join(20)

        # Then neither waits for the other crosswise
        assert errors == []
    finally:
        state.close()
        postgres.drop_database(url)


def verifying(state: Deployment, row: int) -> verifications.Verifying:
    found = verifications.claim_row(row, state.context.settings)
    assert found is not None
    return found


def token(row: int) -> int:
    with connection():
        return int(Registry.get_by_id(row).lease_token)


def wait_until_somebody_waits() -> None:
    deadline = time.monotonic() + 10
    with connection():
        while time.monotonic() < deadline:
            if Site.raw("SELECT 1 AS id FROM pg_locks WHERE NOT granted").execute():
                return
            threading.Event().wait(0.02)
    pytest.fail("nobody waited for a lock")
