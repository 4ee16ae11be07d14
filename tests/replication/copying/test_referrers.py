"""What refers to a manifest arrives with it, wherever the two registries keep the list."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.models import SyncState
from app.replication.copying import referrers
from app.replication.copying.referrers import fallback_tag
from tests.replication.conftest import Deploy
from tests.support import artifacts, images
from tests.support.answering import Answer, Request
from tests.support.compare import assert_same
from tests.support.deployment import Deployment, event
from tests.support.images import OCI_INDEX, Image
from tests.support.oci_content import Refused
from tests.support.oci_registry import OciRegistry
from tests.support.referring import Pushed, attach, referring
from tests.support.registries import DistributionRegistry, Registry
from tests.support.wire import digest_of, fetch, push, push_manifest

pytestmark = pytest.mark.timeout(90)

#: Whether source and destination have the API; the versions are those of Distribution, which has none.
PAIRS = [
    ("api", "api"),
    ("api", "fallback"),
    ("fallback", "api"),
    ("fallback", "fallback"),
    ("api", "2.8"),
    ("2.8", "api"),
    ("2.8", "2.8"),
    ("api", "3"),
    ("2.8", "3"),
]

Start = Callable[..., Registry]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start an empty registry of a kind, without authentication."""
    with ExitStack() as stack:

        def make(kind: str, name: str = "registry") -> Registry:
            if kind == "2.8" or kind == "3":
                return stack.enter_context(DistributionRegistry(tmp_path / name, version=kind))  # type: ignore[arg-type]
            return stack.enter_context(OciRegistry(referrers=kind == "api"))

        yield make


@pytest.fixture
def api(start: Start) -> Iterator[OciRegistry]:
    """A primary with the API."""
    with OciRegistry() as registry:
        yield registry


@pytest.fixture
def fallback() -> Iterator[OciRegistry]:
    """A secondary without."""
    with OciRegistry(referrers=False) as registry:
        yield registry


def tell(geo: Deployment, repository: str, *pushed: Pushed) -> None:
    """Put these pushes into the log and process them."""
    geo.store(*(event(repository=repository, tag=each.tag, digest=each.digest) for each in pushed))
    geo.settle()
    assert geo.failure(repository) == ""


def signed(registry: Registry, repository: str, tag: str, image: Image) -> tuple[Image, Image, list[Pushed]]:
    """Push an image, a signature of it, and a time stamp of that signature."""
    pushed = [Pushed(push(registry, repository, tag, image), tag)]
    signature = images.artifact("application/vnd.example.signature.v1", [b"a signature"], subject=image)
    stamp = images.artifact("application/vnd.example.stamp.v1", [b"a stamp"], subject=signature)
    for each in (signature, stamp):
        pushed += attach(registry, repository, each)
    return signature, stamp, pushed


def assert_refer_alike(primary: Registry, secondary: Registry, repository: str, *subjects: Image) -> None:
    """A client finds the same on both sides, and can pull it."""
    for subject in subjects:
        listed = referring(primary, repository, subject.digest)
        assert listed
        assert referring(secondary, repository, subject.digest) == listed
        for entry in listed:
            assert_same(primary, secondary, repository, str(entry["digest"]))


# --- every pairing ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "destination"), PAIRS)
def test_a_full_sync_brings_referrers_of_referrers(
    deploy: Deploy, start: Start, repository: str, source: str, destination: str
) -> None:
    # Given a signed image whose signature is stamped, and no events
    primary, secondary = start(source, "primary"), start(destination, "secondary")
    image = images.index()
    signature, _, _ = signed(primary, repository, "v1", image)
    geo = deploy(primary, secondary)
    geo.event("push", repository, None, image.digest)
    geo.settle()

    # When the repository is synced in full
    closed = geo.row(repository).replicator.sync()

    # Then clients of the secondary find what they find on the primary
    assert (closed.state, geo.failure(repository)) == (SyncState.SYNCED, "")
    assert_same(primary, secondary, repository, "v1")
    assert_refer_alike(primary, secondary, repository, image, signature)


@pytest.mark.parametrize(("source", "destination"), PAIRS)
def test_what_is_attached_later_arrives_by_its_own_event(
    deploy: Deploy, start: Start, repository: str, source: str, destination: str
) -> None:
    # Given a replicated image
    primary, secondary = start(source, "primary"), start(destination, "secondary")
    geo, image = deploy(primary, secondary), images.image()
    tell(geo, repository, Pushed(push(primary, repository, "v1", image), "v1"))

    # When it is signed and the signature stamped, each told as the registry tells of it, the last first
    signature, _, pushed = signed(primary, repository, "v1", image)
    tell(geo, repository, *reversed(pushed[1:]))

    # Then clients of the secondary find both
    assert_refer_alike(primary, secondary, repository, image, signature)


@pytest.mark.parametrize("destination", ["api", "fallback", "2.8"])
def test_the_event_of_a_tag_brings_what_refers_to_it(
    deploy: Deploy, start: Start, repository: str, destination: str
) -> None:
    # Given an image that was signed before the event of its tag was processed; one platform of it is signed too
    primary, secondary = start("api"), start(destination)
    image = images.index([images.index(), images.image(architecture="s390x")])
    signature, _, pushed = signed(primary, repository, "v1", image)
    parts = [image.children[1], image.children[0].children[0]]
    for part in parts:
        attach(primary, repository, images.artifact(subject=part))
    geo = deploy(primary, secondary)

    # When that event alone is processed
    tell(geo, repository, pushed[0])

    # Then all of it is there
    assert_refer_alike(primary, secondary, repository, image, signature, *parts)


@pytest.mark.parametrize("destination", ["api", "fallback"])
def test_a_full_sync_brings_what_an_equal_tag_lacks(
    deploy: Deploy, start: Start, api: OciRegistry, repository: str, destination: str
) -> None:
    # Given a replicated image, signed since, of which no event told
    secondary = start(destination)
    geo, image = deploy(api, secondary), images.index()
    tell(geo, repository, Pushed(push(api, repository, "v1", image), "v1"))
    signature, _, _ = signed(api, repository, "v1", image)

    # When the repository is synced in full
    geo.row(repository).replicator.sync()

    # Then the signature is there, and the tag was not written again
    assert_refer_alike(api, secondary, repository, image, signature)
    assert [attempt.action for attempt in geo.attempts(repository, "v1")] == ["copy", "keep"]

    # And the next one finds nothing to do, for one request a manifest: the index, its children, and what refers to it
    api.requests.clear()
    geo.row(repository).replicator.sync()
    assert api.count(r"^GET .*/referrers/") == 5
    assert api.count(r"^GET .*/manifests/") == 0
    assert geo.row(repository).state == SyncState.SYNCED


def test_an_attestation_inside_an_index_is_listed(deploy: Deploy, api: OciRegistry, repository: str) -> None:
    # Given an index that holds its attestation, whose subject is the image beside it
    with OciRegistry(referrers=False) as secondary:
        geo, index = deploy(api, secondary), artifacts.attested(by_subject=True)

        # When it is replicated to a registry that keeps no lists
        tell(geo, repository, Pushed(push(api, repository, "v1", index), "v1"))

        # Then it is listed there all the same
        assert_refer_alike(api, secondary, repository, index.children[0])


def test_a_tagged_referrer_is_listed(deploy: Deploy, api: OciRegistry, fallback: OciRegistry, repository: str) -> None:
    geo, image = deploy(api, fallback), images.image()
    signature = images.artifact(subject=image)
    push(api, repository, None, image)

    tell(geo, repository, Pushed(push(api, repository, "signature", signature), "signature"))

    assert_refer_alike(api, fallback, repository, image)


# --- what it costs ----------------------------------------------------------------------------------------------------


def test_registries_without_the_api_are_asked_once(
    deploy: Deploy, fallback: OciRegistry, another: OciRegistry, repository: str
) -> None:
    # Given ten tags, of which each event alone would ask
    geo = deploy(fallback, another)
    pushed = [Pushed(push(fallback, repository, f"v{n}", images.index()), f"v{n}") for n in range(10)]

    # When they are replicated, and synced in full
    tell(geo, repository, *pushed)
    geo.row(repository).replicator.sync()

    # Then the primary was asked once, and the secondary never
    assert fallback.count("/referrers/") == 1
    assert another.count("/referrers/") == 0


@pytest.fixture
def another() -> Iterator[OciRegistry]:
    with OciRegistry(referrers=False) as registry:
        yield registry


# --- lists at the secondary -------------------------------------------------------------------------------------------


def test_what_others_list_there_stays_listed(
    deploy: Deploy, api: OciRegistry, fallback: OciRegistry, repository: str
) -> None:
    # Given an image on both sides, signed on the secondary by somebody there
    geo, image = deploy(api, fallback), images.image()
    tell(geo, repository, Pushed(push(api, repository, "v1", image), "v1"))
    theirs = images.artifact(subject=image)
    attach(fallback, repository, theirs)

    # When eight things are attached to it on the primary, all at once
    ours = [images.artifact(subject=image) for _ in range(8)]
    tell(geo, repository, *(pushed for each in ours for pushed in attach(api, repository, each)))

    # Then all nine are listed
    listed = {entry["digest"] for entry in referring(fallback, repository, image.digest)}
    assert listed == {each.digest for each in (theirs, *ours)}


def test_what_a_list_names_that_is_gone_does_not_hold_it_up(
    deploy: Deploy, api: OciRegistry, start: Start, repository: str
) -> None:
    # Given a list on the secondary, of which something has been deleted
    secondary = start("2.8")
    geo, image = deploy(api, secondary), images.image()
    tell(geo, repository, Pushed(push(api, repository, "v1", image), "v1"))
    theirs = images.artifact(subject=image)
    attach(secondary, repository, theirs)
    assert isinstance(secondary, DistributionRegistry)
    secondary.stop()
    revision = secondary.storage / f"docker/registry/v2/repositories/{repository}/_manifests/revisions/sha256"
    (revision / theirs.digest.partition(":")[2] / "link").unlink()
    secondary.start()

    # When something is attached on the primary
    ours = images.artifact(subject=image)
    tell(geo, repository, *attach(api, repository, ours))

    # Then it is listed
    assert [entry["digest"] for entry in referring(secondary, repository, image.digest)] == [ours.digest]


def test_a_tag_that_is_no_list_is_left_alone(
    deploy: Deploy, api: OciRegistry, fallback: OciRegistry, repository: str
) -> None:
    # Given an image that stands on the secondary where the list would be
    geo, image = deploy(api, fallback), images.image()
    tell(geo, repository, Pushed(push(api, repository, "v1", image), "v1"))
    theirs = push(fallback, repository, fallback_tag(image.digest), images.image())

    # When the image is signed on the primary
    (pushed,) = attach(api, repository, images.artifact(subject=image))
    geo.event("push", repository, None, pushed.digest)
    geo.settle()

    # Then that fails with a reason, and what stands there is untouched
    reference = geo.reference(repository, pushed.digest)
    assert reference is not None
    assert (reference.state, reference.failure_reason) == (SyncState.FAILED, "fallback_tag_taken")
    assert digest_of(fallback, repository, fallback_tag(image.digest)) == theirs


def test_a_list_that_the_primary_keeps_itself_is_copied_as_it_is(
    deploy: Deploy, api: OciRegistry, fallback: OciRegistry, repository: str
) -> None:
    # Given a primary that has the API, and a list from before it had it
    api.features.referrers = False
    image = images.image()
    pushed = [Pushed(push(api, repository, "v1", image), "v1")]
    old = images.artifact(subject=image)
    pushed += attach(api, repository, old)
    api.features.referrers = True
    new = images.artifact(subject=image)
    pushed += attach(api, repository, new)

    # When all of it is replicated to a registry without the API, and synced in full
    geo = deploy(api, fallback)
    tell(geo, repository, *pushed)
    geo.row(repository).replicator.sync()

    # Then the list is the primary's, byte for byte, and what is not in it is there
    tag = fallback_tag(image.digest)
    assert fetch(fallback, repository, tag) == fetch(api, repository, tag)
    assert fallback.count(rf"^PUT .*/manifests/{tag}") == 1
    assert_same(api, fallback, repository, new.digest)
    assert geo.row(repository).state == SyncState.SYNCED


# --- what no honest registry says -------------------------------------------------------------------------------------


class Lying(OciRegistry):
    """Says of digests what it was told to say."""

    def __init__(self) -> None:
        super().__init__()
        self.lies: dict[str, list[Image]] = {}

    def respond(self, request: Request) -> Answer:
        _, _, digest = request.path.rpartition("/referrers/")
        if digest not in self.lies:
            return super().respond(request)
        entries = [image.descriptor for image in self.lies[digest]]
        return Answer(200, json.dumps({"schemaVersion": 2, "manifests": entries}).encode(), {"Content-Type": OCI_INDEX})


@pytest.fixture
def lying() -> Iterator[Lying]:
    with Lying() as registry:
        yield registry


def test_a_circle_of_referrers_ends(deploy: Deploy, lying: Lying, repository: str) -> None:
    # Given three manifests that refer to each other in a circle, and to themselves
    circle = [images.artifact() for _ in range(3)]
    for place, each in enumerate(circle):
        push(lying, repository, None, each)
        lying.lies[each.digest] = [each, circle[place - 1], circle[place - 1]]
    push_manifest(lying, repository, "v1", circle[0])

    with OciRegistry() as secondary:
        # When one of them is replicated
        tell(deploy(lying, secondary), repository, Pushed(circle[0].digest, "v1"))

        # Then all of them are there
        for each in circle:
            assert digest_of(secondary, repository, each.digest) == each.digest


@pytest.mark.parametrize("shape", ["chain", "crowd"])
def test_referrers_without_end_fail_the_tag_alone(
    deploy: Deploy, lying: Lying, repository: str, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an image with more referrers than anybody has, and another
    monkeypatch.setattr(referrers, "MAX_MANIFESTS", 30)
    image = images.image()
    pushed = [Pushed(push(lying, repository, "bad", image), "bad")]
    pushed.append(Pushed(push(lying, repository, "good", images.image()), "good"))
    many = [images.artifact() for _ in range(12 if shape == "chain" else 31)]
    for each in many:
        push(lying, repository, None, each)
    if shape == "chain":
        for subject, referrer in zip([image, *many], many, strict=False):
            lying.lies[subject.digest] = [referrer]
    else:
        lying.lies[image.digest] = many

    with OciRegistry() as secondary:
        # When both are replicated
        geo = deploy(lying, secondary)
        geo.store(*(event(repository=repository, tag=each.tag, digest=each.digest) for each in pushed))
        geo.settle()

        # Then the first fails with a reason, and the second is there
        found = geo.references(repository)
        assert (found["bad"].failure_reason, found["good"].state) == ("graph_too_large", SyncState.SYNCED)


def test_lists_of_referrers_are_counted_as_they_come(
    deploy: Deploy, lying: Lying, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an index of which each image has some referrers, and all of them together too many
    monkeypatch.setattr(referrers, "MAX_MANIFESTS", 60)
    index = images.index([images.image(layers=[]) for _ in range(40)])
    digest = push(lying, repository, "v1", index)
    for child in index.children:
        lying.lies[child.digest] = [images.artifact() for _ in range(20)]

    with OciRegistry() as secondary:
        # When it is replicated
        geo = deploy(lying, secondary)
        geo.store(event(repository=repository, tag="v1", digest=digest))
        geo.settle()

        # Then it fails before all lists were read
        assert geo.references(repository)["v1"].failure_reason == "graph_too_large"
        assert len({path for path in lying.requests if "/referrers/" in path}) < 30


def test_a_referrer_that_is_gone_is_passed_by(deploy: Deploy, lying: Lying, repository: str) -> None:
    image, gone = images.image(), images.artifact()
    lying.lies[image.digest] = [gone]

    with OciRegistry() as secondary:
        geo = deploy(lying, secondary)
        tell(geo, repository, Pushed(push(lying, repository, "v1", image), "v1"))
        geo.row(repository).replicator.sync()

        assert_same(lying, secondary, repository, "v1")
        assert geo.row(repository).state == SyncState.SYNCED


def test_a_referrer_that_is_refused_fails_its_tag_alone(deploy: Deploy, api: OciRegistry, repository: str) -> None:
    # Given a signed image and another, and a secondary that takes no artifacts
    class Picky(OciRegistry):
        def respond(self, request: Request) -> Answer:
            if request.method == "PUT" and b"artifactType" in request.body:
                raise Refused(400, "MANIFEST_INVALID", "no artifacts here")
            return super().respond(request)

    _, _, pushed = signed(api, repository, "signed", images.image())
    pushed = [pushed[0], Pushed(push(api, repository, "plain", images.image()), "plain")]

    with Picky() as secondary:
        # When both tags are replicated
        geo = deploy(api, secondary)
        geo.store(*(event(repository=repository, tag=each.tag, digest=each.digest) for each in pushed))
        geo.settle()

        # Then the first fails and says why, and the second is there
        found = geo.references(repository)
        assert (found["signed"].failure_reason, found["plain"].state) == ("manifest_invalid", SyncState.SYNCED)
        assert "no artifacts here" in (found["signed"].failure or "")


def test_an_error_is_no_list_of_referrers(deploy: Deploy, api: OciRegistry, repository: str) -> None:
    # Given a primary whose API fails
    class Broken(OciRegistry):
        broken = True

        def respond(self, request: Request) -> Answer:
            if "/referrers/" in request.path and self.broken:
                return Answer(500)
            return super().respond(request)

    with Broken() as primary:
        image = images.image()
        signature = images.artifact(subject=image)
        push(primary, repository, "v1", image)
        push(primary, repository, None, signature)
        geo = deploy(primary, api)

        # When its tag is replicated, that fails; and nothing is remembered of it
        geo.event("push", repository, "v1", image.digest)
        geo.settle()
        reference = geo.reference(repository, "v1")
        assert reference is not None
        assert reference.failure_reason == "server_error"

        # Then, when the API works again, all of it arrives
        primary.broken = False
        geo.retry(repository)
        assert geo.row(repository).state == SyncState.SYNCED
        assert_refer_alike(primary, api, repository, image)
