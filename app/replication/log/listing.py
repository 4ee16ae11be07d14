"""The primary's repositories, page by page, as far as one site replicates them."""

from __future__ import annotations

import re

from app.database import connection
from app.models import ContainerRepository
from app.registry.listing import CatalogPage
from app.replication.catalog import REFUSALS, do_without
from app.replication.log import Catalog
from app.replication.scope import Scope

#: Repositories on a page of those that are known already.
PAGE = 500


class InvalidPage(ValueError):
    """A page that no earlier one has named."""


def page(site_scope: Scope, named: Scope, registry: Catalog, after: str | None) -> CatalogPage:
    """A page of what is in the site's scope: first what events and settings named, then the registry's catalog.

    A repository may come twice. `named` is GEO_REPOSITORIES of this deployment, the list where there is no catalog.

    Raises:
        InvalidPage: for an `after` that no page gave out.
        NoCatalog: when there is nothing to go by.
        RegistryError: when the catalog breaks off.
    """
    kind, _, marker = (after or "known:0").partition(":")
    if kind == "known" and re.fullmatch(r"[0-9]{1,18}", marker):
        return _known(int(marker), site_scope, named)
    if kind == "catalog" and (not marker or re.match(r"[^?#]*/_catalog(?:[?#]|$)", marker)):
        return _catalog(marker or None, site_scope, named, registry)
    raise InvalidPage("`after` is not what an earlier page named as `next`")


def _known(after: int, site_scope: Scope, named: Scope) -> CatalogPage:
    with connection():
        rows = ContainerRepository.select().where(ContainerRepository.id > after)
        found = [(row.id, row.path) for row in rows.order_by(ContainerRepository.id).limit(PAGE)]
    paths = [path for _, path in found]
    if not after:
        paths = list(dict.fromkeys([*named.listed, *paths]))
    following: str | None = f"known:{found[-1][0]}" if len(found) == PAGE else "catalog:"
    if following == "catalog:" and named.is_list:
        following = None
    return CatalogPage(tuple(path for path in paths if site_scope.covers(path)), following)


def _catalog(marker: str | None, site_scope: Scope, named: Scope, registry: Catalog) -> CatalogPage:
    try:
        found = next(registry.catalog(after=marker))
    except REFUSALS as error:
        with connection():
            known = ContainerRepository.select().exists()
        do_without(error, begun=marker is not None, scope=named, known=known)
        return CatalogPage((), None)
    following = None if found.following is None else f"catalog:{found.following}"
    return CatalogPage(tuple(path for path in found.repositories if site_scope.covers(path)), following)
