"""New registry processes: each asks once for a reconcile, and not too often."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.database import connection, now
from app.models import CatalogWalk, RegistryInstance, Site
from app.replication import instances
from app.replication.instances import GAP, KEEP, PATIENCE, REFRESH, Instances
from tests.support.clock import Clock
from tests.support.deployment import Deployment

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def settled(state: Deployment) -> Deployment:
    """A deployment whose initial backfill is over."""
    with connection():
        Site.update(reconcile_requested_at=None, reconcile_reason=None).execute()
    return state


def ask() -> bool:
    with connection():
        return instances.ask_for_reconcile()


def known() -> dict[str, bool]:
    """The instances, and of which a reconcile is owed."""
    with connection():
        return {row.instance_id: row.reconcile_owed for row in RegistryInstance.select()}


def asked_ago(time: timedelta) -> None:
    with connection():
        asked = RegistryInstance.reconcile_asked_at.is_null(False)
        RegistryInstance.update(reconcile_asked_at=now() - time).where(asked).execute()


def test_the_first_of_all_asks_for_none(settled: Deployment) -> None:
    Instances().note(["one"])
    assert known() == {"one": False}
    assert not ask()
    assert settled.fresh_site().reconcile_requested_at is None


def test_a_new_one_asks_once(settled: Deployment) -> None:
    # Given one that is known
    Instances().note(["one"])

    # When it is restarted, and both of our processes hear of it
    Instances().note(["two"])
    Instances().note(["two"])

    # Then a reconcile is due at once, and once
    assert ask()
    site = settled.fresh_site()
    assert site.reconcile_requested_at is not None
    assert site.reconcile_reason == instances.REASON
    assert not ask()

    # And what is heard again asks for nothing
    asked_ago(GAP * 2)
    Instances().note(["one", "two"])
    assert not ask()


def test_several_in_a_row_share_one(settled: Deployment) -> None:
    # Given a reconcile that a new one has just asked for
    Instances().note(["one"])
    Instances().note(["two"])
    assert ask()

    # When a rolling restart goes on
    Instances().note(["three", "four"])

    # Then nothing is asked for before ten minutes have passed, and then once for both
    assert not ask()
    asked_ago(GAP - timedelta(seconds=5))
    assert not ask()
    asked_ago(GAP)
    assert ask()
    assert known() == dict.fromkeys(["one", "two", "three", "four"], False)


def test_the_next_waits_for_the_former_but_not_for_ever(settled: Deployment) -> None:
    # Given a reconcile that is still under way after ten minutes
    Instances().note(["one"])
    Instances().note(["two"])
    assert ask()
    with connection():
        instant = now()
        Site.update(reconcile_started_at=instant).where(Site.id == settled.site.id).execute()
        CatalogWalk.insert(site=settled.site.id, priority=10, started_at=instant, updated_at=instant).execute()
    Instances().note(["three"])
    asked_ago(GAP * 2)

    # When, then
    assert not ask()
    asked_ago(PATIENCE)
    assert ask()


def test_known_ones_cost_nothing_but_a_note_an_hour(settled: Deployment) -> None:
    # Given an instance that has been noted
    clock = Clock()
    heard = Instances(clock)
    heard.note(["one"])
    with connection():
        RegistryInstance.delete().execute()

    # When it is heard of again within the hour, then the database is not asked
    clock.now += REFRESH
    heard.note(["one"])
    assert known() == {}

    # And after it, it is
    clock.now += 1
    heard.note(["one"])
    assert known() == {"one": False}


def test_old_ones_are_forgotten_but_never_the_last(settled: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given instances of which nothing was heard for long
    Instances().note(["one"])
    Instances().note(["two"])
    with connection():
        for number, name in enumerate(["one", "two"]):
            long_ago = now() - KEEP - timedelta(hours=2 - number)
            RegistryInstance.update(last_seen_at=long_ago, reconcile_owed=False).where(
                RegistryInstance.instance_id == name
            ).execute()

    # When
    assert instances.prune() == 1

    # Then the one heard of last is kept: the next one is not taken for the first
    assert known() == {"two": False}
    assert instances.prune() == 0
    Instances().note(["three"])
    assert known()["three"]

    # And of too many the oldest go
    monkeypatch.setattr(instances, "KEPT", 1)
    assert instances.prune() == 1
    assert known() == {"three": True}
