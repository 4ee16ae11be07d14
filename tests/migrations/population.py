"""What a recorded state holds: images that are the same each time, and rows in every table."""

from __future__ import annotations

import hashlib
import json

from app import metrics
from app.database import connection, now
from app.models import CatalogWalk, Follower, Handover, Site
from app.notifications import Quarantined
from app.replication import event_log, remote_sites, site_reports, site_tokens
from app.replication.event_log import Origin
from app.replication.lease import named
from app.replication.log import state as log_state
from app.replication.remote_sites import Change, Declaration
from tests.support import images
from tests.support.deployment import Deployment
from tests.support.images import Image
from tests.support.registries import Registry
from tests.support.site_report import REPORT
from tests.support.wire import delete_digest, push

#: What a site with a deployment of its own comes with, and what was good before.
TOKEN, FORMER_TOKEN = (site_tokens.PREFIX + letter * 43 for letter in "nf")


def _image(name: str) -> Image:
    """The same bytes whenever it is made."""
    return images.image(
        [f"a layer of {name}".encode()], config=json.dumps({"architecture": "amd64", "author": name}).encode()
    )


APP, OLD, PINNED, NEXT, LATE = (_image(name) for name in ("app", "old", "pinned", "next", "late"))
GONE, THEIRS = _image("gone"), _image("theirs")
TOOL = images.index([_image("tool one"), _image("tool two")])

#: On both sides, by repository and tag, and known to be; without a tag it was pushed by its digest.
SYNCED = (
    ("team/app", "v1", APP),
    ("team/app", "latest", APP),
    ("team/app", "old", OLD),
    ("team/app", None, PINNED),
    ("team/tool", "v1", TOOL),
)
#: On the primary alone: marked and not copied yet, and told of by an event that nobody has read.
MARKED, UNREAD = ("team/app", "next", NEXT), ("team/late", "v1", LATE)
#: On the secondary alone, and not ours.
EXTRA = ("team/app", "theirs", THEIRS)


def prepare(primary: Registry, secondary: Registry) -> None:
    """Bring two empty registries to where they stood when the state was recorded."""
    for repository, tag, image in (*SYNCED, MARKED, UNREAD):
        push(primary, repository, tag, image)
    for repository, tag, image in (*SYNCED, EXTRA):
        push(secondary, repository, tag, image)


def fill(geo: Deployment, primary: Registry, secondary: Registry) -> None:
    """Bring a new deployment between two empty registries to what is recorded of it."""
    for repository, tag, image in (*SYNCED, ("team/app", "gone", GONE)):
        push(primary, repository, tag, image)
        geo.event("push", repository, tag, image.digest)
    geo.context.instances.note(["a-registry-process"])
    geo.settle()
    push(secondary, *EXTRA)
    geo.row("team/app").replicator.sync()
    delete_digest(primary, "team/app", GONE.digest)
    geo.event("delete", "team/app", digest=GONE.digest)
    geo.settle()
    for repository in ("team/app", "team/tool"):
        geo.row(repository).replicator.verify("content")
    geo.event("push", "team/missing", "v1", APP.digest)
    geo.settle()
    _quarantine()
    _sites(geo)
    _seldom(geo)
    push(primary, *MARKED)
    geo.event("push", "team/app", "next", NEXT.digest)
    geo.mark()
    push(primary, *UNREAD)
    geo.event("push", "team/late", "v1", LATE.digest)
    metrics.buffer.flush()


def _quarantine() -> None:
    head = Quarantined("bad_event", '{"events": [{"action": "push", …')
    event_log.store([], [head], Origin("distribution", 4711, "application/json", "192.0.2.1"))


def _sites(geo: Deployment) -> None:
    """A site with a deployment of its own, a paused one, and one that was removed."""
    berlin = Declaration("berlin", "https://registry.berlin.example.com", repositories=("team/**", "!team/secret"))
    oslo = Declaration("oslo", tags=("v*",), capacity=3)
    remote_sites.apply([Change(None, each) for each in (berlin, Declaration("paris", paused=True), oslo)])
    remote_sites.apply([Change(oslo, None)])
    with connection():
        site = Site.get(Site.name == "berlin")
        site_tokens.issue(site)
        site_tokens.issue(site)
        hashes = [hashlib.sha256(token.encode()).hexdigest() for token in (TOKEN, FORMER_TOKEN)]
        Site.update(token_hash=hashes[0], former_token_hash=hashes[1]).where(Site.id == site.id).execute()
    site_reports.keep(site, REPORT)


def _seldom(geo: Deployment) -> None:
    """Rows that only a failover, a role or an interruption makes, where they do no harm."""
    row, instant = geo.row("team/app"), now()
    with connection():
        paris = Site.get(Site.name == "paris")
        Handover.create(registry=row, name="v1", digest=APP.digest)
        Follower.create(site=paris, position="a-position", created_at=instant)
        CatalogWalk.create(site=paris, priority=10, started_at=instant, marker=None, updated_at=instant)
    with named("catalog:1"):
        pass
    with connection():
        log_state.state()
        log_state.set_fence()
