"""What a survey says, in short."""

from __future__ import annotations

from app.replication import survey
from app.replication.plan import RepositoryPlan, SitePlan, TagPlan
from tests.support.deployment import Deployment


def survey_of(geo: Deployment, *paths: str) -> SitePlan:
    return survey.survey(geo.context, geo.fresh_site(), paths)


def plan_of(geo: Deployment, path: str) -> RepositoryPlan:
    (plan,) = survey_of(geo, path).repositories
    return plan


def tags_of(plan: RepositoryPlan) -> dict[str, TagPlan]:
    assert plan.problem is None, plan.problem
    return {tag.name: tag for tag in plan.tags}


def actions(plan: RepositoryPlan) -> dict[str, str]:
    return {name: tag.action.value for name, tag in tags_of(plan).items()}
