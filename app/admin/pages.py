"""The blueprint of the pages under /admin, and what they share: guard, filters of the templates, paging."""

from __future__ import annotations

from typing import TypeVar, cast

from flask import Blueprint, Flask, abort, request
from flask.blueprints import BlueprintSetupState
from peewee import Model

from app.admin import format as formats
from app.admin import guard
from app.models import ContainerRepositoryRegistry as Registry
from app.notifications import WEBHOOK_PATH
from app.registry_config import InvalidRegistryConfig, distribution_yaml
from app.replication import queries
from app.replication.narrowing import Filter
from app.replication.queries import Page
from app.replication.throughput import Memory
from app.web.context import context

M = TypeVar("M", bound=Model)

#: Rows in a page of a list.
ROWS = 25

#: What each application keeps of the sites' last day, among its extensions.
DAYS = "geo-days"

#: Stands where the notification secret belongs: pages do not show it.
INSTEAD_OF_SECRET = "value of GEO_NOTIFICATION_SECRET"  # noqa: S105

blueprint = Blueprint("admin", __name__, url_prefix="/admin", template_folder="templates", static_folder="static")
guard.register(blueprint)


@blueprint.record_once
def _set_up(state: BlueprintSetupState) -> None:
    app = cast("Flask", state.app)
    formats.register(app)
    app.extensions[DAYS] = Memory()


@blueprint.get("/<path:anything>")
def missing(anything: str) -> str:  # noqa: ARG001 - the route gives it
    """So that a page that is not there is said on a page, not in a problem document."""
    abort(404, "There is no such page.")


def find(registry_id: int) -> Registry:
    """The tracking row that an address names; 404 without it. Inside a connection."""
    row = queries.repository(registry_id)
    if row is None:
        abort(404, "There is no such repository; it may have been removed.")
    return row


def narrowed() -> Filter:
    """What the address narrows a list to."""
    return Filter.parse(**{name: request.args.get(name) for name in ("state", "site", "search", "verification")})


def cursor() -> str | None:
    """The place in a list that the address names."""
    return request.args.get("after")


def following(page: Page[M]) -> str | None:
    """The address of the page behind this one."""
    return guard.here(after=page.after) if page.after else None


def webhook_example() -> str | None:
    """What the primary registry's configuration needs to tell us of pushes; the secret stays out of it."""
    if not context().settings.role.receives:
        return None
    try:
        return distribution_yaml(
            "primary", webhook_url=request.host_url.rstrip("/") + WEBHOOK_PATH, secret=INSTEAD_OF_SECRET
        )
    except InvalidRegistryConfig:
        return None
