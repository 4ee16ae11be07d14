"""The replicator: what a command and a person at the console ask for by the name of a repository."""

from __future__ import annotations

import pytest

from app.replication import replicator
from app.replication.planner import RepositoryMissing
from tests.support.deployment import Deployment

pytestmark = pytest.mark.timeout(90)


def test_names_that_are_no_repositories_are_refused(geo: Deployment, repository: str) -> None:
    site = geo.fresh_site()
    for name in ("", "Team/App", "registry.example.com/app:v1", "../etc"):
        with pytest.raises(replicator.UnknownRepository):
            replicator.find(site, name, geo.context.primary)
    with pytest.raises(RepositoryMissing):
        replicator.find(site, repository, geo.context.primary)
