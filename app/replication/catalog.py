"""The primary's catalog where it is not told: whether what is known otherwise will do."""

from __future__ import annotations

import logging

from app.registry import Denied, NotFound, RegistryError, Unauthorized, Unsupported
from app.replication.scope import Scope

log = logging.getLogger(__name__)

#: What says that there is no catalog, or none for us. Whatever else it fails with is a failure.
REFUSALS = (NotFound, Unsupported, Unauthorized, Denied)


class NoCatalog(Exception):
    """The primary does not list its repositories, and there is nothing else to go by."""


class CatalogRefused(NoCatalog):
    """401: our keys may be wrong, so what is known otherwise does not do, unless a person has named what there is."""


def do_without(error: RegistryError, *, begun: bool, scope: Scope, known: bool) -> None:
    """Let one of `REFUSALS` pass if repositories are named in the scope, or known from events, to go by instead.

    `begun`: a part of the catalog was told. One that breaks off is not one that is not there.

    Raises:
        RegistryError: this error, of a catalog that was begun.
        NoCatalog: there is nothing to go by; `CatalogRefused` where that is not sure.
    """
    if begun:
        raise error
    if not scope.listed:
        if isinstance(error, Unauthorized):
            raise CatalogRefused(
                f"{error}; if it lists its repositories to administrators alone, name them in GEO_REPOSITORIES"
            ) from error
        if not known:
            raise NoCatalog(f"{error.told}; name the repositories in GEO_REPOSITORIES") from error
    log.warning("the primary has no catalog, only known and named repositories are looked at: %s", error.told)
