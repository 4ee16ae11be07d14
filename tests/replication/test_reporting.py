"""Reporting: what a site's own deployment tells of itself, and what becomes of it."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest

from app.database import connection, now
from app.models import ContainerRepositoryRegistry as Registry
from app.models import Follower, Site, SyncState
from app.replication import health, site_reports, status
from app.replication.level import Level
from app.replication.log.position import Position
from app.replication.reporting import Reporter
from app.replication.site_reports import FEED, POSITION_LIMIT, STANDBY, Report
from app.settings import Deletion, Secret, VerificationLevel
from tests.support.answering import Answer, Request, Server
from tests.support.deployment import Deployment, offline_environment

pytestmark = pytest.mark.timeout(60)


class Primary:
    """Takes reports, or answers what a test wants."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.answer = Answer(200, b"{}")
        self.server = Server(self.serve)

    def serve(self, request: Request) -> Answer:
        if self.answer.status == 200:
            self.reports.append(site_reports.load(json.loads(request.body)))
        return self.answer


@pytest.fixture
def primary() -> Iterator[Primary]:
    made = Primary()
    made.server.start()
    yield made
    made.server.stop()


@pytest.fixture
def state(database_url: str, primary: Primary) -> Iterator[Deployment]:
    env = offline_environment(database_url, GEO_ROLE="secondary", GEO_SITE_NAME="berlin", GEO_TAGS="v*")
    env |= {"GEO_PRIMARY_URL": f"http://127.0.0.1:{primary.server.port}", "GEO_SITE_TOKEN": "x"}
    deployment = Deployment.start(env)
    with connection():
        Follower.insert(site=deployment.site, created_at=now()).execute()
    try:
        yield deployment
    finally:
        deployment.close()


def noted() -> Follower:
    with connection():
        return Follower.get()


def test_a_site_tells_what_its_own_status_says(state: Deployment, primary: Primary) -> None:
    # Given a site with something to do
    state.event("push", "team/app", "v1")
    state.mark()
    with connection():
        Site.update(granted_repositories="team/**").where(Site.id == state.site.id).execute()

    # When it reports
    assert Reporter(state.context, state.site).report()

    # Then the primary's deployment learns what is shown here
    with connection():
        whole = status.status()
    (counted,) = whole.sites
    judged = health.judge(counted, whole, whole.at, replication_enabled=True)
    (told,) = primary.reports
    assert (told.name, told.follows, told.tags, told.repositories) == ("berlin", FEED, ("v*",), ())
    assert (told.deletion, told.protected_tags, told.verification) == (
        Deletion.TAGS,
        (),
        VerificationLevel.MANIFESTS,
    )
    assert [told.total, told.pending, told.references] == [counted.total, counted.pending, counted.references]
    assert (told.total, told.pending, told.references) == (1, 1, 1)
    assert (told.level, told.headline) == (judged.level, judged.headline)
    assert told.level is Level.CRITICAL
    assert noted().reported_at is not None


def test_what_is_not_taken_is_said_here_until_it_is(state: Deployment, primary: Primary) -> None:
    reporter = Reporter(state.context, state.site)
    for answer, words in (
        (Answer(401, b'{"detail": "This is not the token of a site."}'), "GEO_SITE_TOKEN"),
        (Answer(404, b""), "of this version"),
        (Answer(400, b'{"detail": "the report has no `name`."}'), "no `name`"),
        (Answer(500, b""), "500"),
    ):
        primary.answer = answer
        assert not reporter.report()
        assert words in (noted().report_failure or "")
        with connection():
            (site,) = status.status().sites
        assert site.follower is not None
        assert words in (site.follower.report_failure or "")
    assert noted().reported_at is None

    primary.answer = Answer(200, b"{}")
    assert reporter.report()
    assert (noted().report_failure, noted().reported_at is None) == (None, False)


def test_a_primary_that_is_away_is_no_error_of_ours(state: Deployment, primary: Primary) -> None:
    primary.server.stop()
    primary.server = Server(primary.serve)
    primary.server.start()
    assert not Reporter(state.context, state.site).report()
    assert "GEO_PRIMARY_URL" in (noted().report_failure or "")


def test_what_is_too_long_to_be_taken_is_cut(state: Deployment, primary: Primary) -> None:
    patterns = "\n".join(f"team/app-{number}" for number in range(1000))
    state.event("push", "team/app-1", "v1")
    state.mark()
    with connection():
        Site.update(repositories=patterns).where(Site.id == state.site.id).execute()
        Registry.update(state=SyncState.FAILED, last_sync_failure="é" * 5000).execute()
    assert Reporter(state.context, state.site).report()
    (told,) = primary.reports
    assert len(told.repositories) == site_reports.PATTERNS_LIMIT
    assert told.first_failure == "é" * site_reports.TEXT_LIMIT


def test_our_own_policies_are_told_and_not_what_limits_them(state: Deployment, primary: Primary) -> None:
    with connection():
        own = {"deletion": "mirror", "protected_tags": "stable\nv1.*"}
        Site.update(**own, granted_deletion="off", granted_protected_tags="x").where(Site.id == state.site.id).execute()
    assert Reporter(state.context, state.site).report()
    (told,) = primary.reports
    assert (told.deletion, told.protected_tags) == (Deletion.MIRROR, ("stable", "v1.*"))


def test_how_far_the_log_is_read_is_told_by_who_reads_a_standby(state: Deployment, primary: Primary) -> None:
    # Given a follower that is somewhere
    position = Position(9, {7: 1}, "0a", "0b").encode()
    with connection():
        Follower.update(position=position).execute()

    # Then the primary is told where, unless it sees that by itself
    assert Reporter(state.context, state.site).report()
    source = state.context.settings.source
    assert source is not None
    by_standby = replace(source, database_url=Secret("postgresql://127.0.0.1:9/geo"))
    state.context.settings = replace(state.context.settings, source=by_standby)
    assert Reporter(state.context, state.site).report()
    assert [(told.follows, told.position) for told in primary.reports] == [(FEED, None), (STANDBY, position)]


def test_a_position_too_long_to_be_told_is_told_as_less_far(state: Deployment, primary: Primary) -> None:
    # Given a reader with so many gaps that their text is longer than what is taken
    fences = random.Random(1)
    gaps = {gap: fences.getrandbits(60) for gap in range(1001, 21_000, 2)}
    position = Position(30_000, gaps, "0a", "0b").encode()
    assert len(position) > POSITION_LIMIT
    source = state.context.settings.source
    assert source is not None
    by_standby = replace(source, database_url=Secret("postgresql://127.0.0.1:9/geo"))
    state.context.settings = replace(state.context.settings, source=by_standby)
    with connection():
        Follower.update(position=position).execute()

    # Then it is said that it has read what is before the first of them
    assert Reporter(state.context, state.site).report()
    (told,) = primary.reports
    assert told.position is not None
    assert Position.decode(told.position) == Position(1000, {}, "0a")


def test_a_deployment_without_a_primary_tells_nobody(database_url: str) -> None:
    deployment = Deployment.start(offline_environment(database_url))
    try:
        assert not Reporter(deployment.context, deployment.site).report()
    finally:
        deployment.close()
