"""Which sites are meant."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from app.database import connection, now
from app.models import Cursor, Site
from app.replication.unsettled import taken_up
from tests.support.deployment import Deployment, offline_environment


@pytest.fixture
def state(database_url: str) -> Iterator[Deployment]:
    deployment = Deployment.start(offline_environment(database_url))
    yield deployment
    deployment.close()


def test_which_sites_are_meant(state: Deployment) -> None:
    # Given sites of every kind, each named after what it is
    kinds = ("primary", "remote", "retired", "enabled")
    with connection():
        Cursor.delete().execute()
        Site.delete().execute()
        for is_so in product((True, False), repeat=len(kinds)):
            of_kind = dict(zip(kinds, is_so, strict=True))
            name = " ".join(kind for kind in kinds if of_kind[kind])
            Site.create(name=name, url="http://x", created_at=now(), updated_at=now(), **of_kind)

        def meant(condition: object) -> set[str]:
            return {site.name for site in Site.select().where(condition)}

        # Then a secondary is one that is not retired, it is here unless it has its own deployment
        assert meant(Site.secondaries()) == {"", "enabled", "remote", "remote enabled"}
        assert meant(Site.here()) == {"", "enabled"}
        # And paused ones are not taken up
        assert meant(Site.id.in_(taken_up())) == {"enabled", "remote enabled"}
