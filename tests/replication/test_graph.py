"""Graphs of what registries answer slowly, in part, or not at all."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from app.registry import Descriptor, Manifest, NotFound, Unreachable
from app.replication import graph
from app.replication.graph import Busy, Graph, Kind, There, TooSlow
from tests.support import images
from tests.support.images import Image
from tests.support.wait import wait_until


class Answers:
    """A registry that holds some images and may be asked before each answer whether it gives one."""

    name = "registry.example.com"

    def __init__(self, *pushed: Image, before: Callable[[str], None] = lambda _: None) -> None:
        self._manifests = {each.digest: each for image in pushed for each in image.walk()}
        self._blobs = {blob.digest: len(blob.data) for each in self._manifests.values() for blob in each.blobs}
        self._top = pushed[0].digest if pushed else ""
        self._before = before

    def get_manifest(self, repository: str, reference: str) -> Manifest:
        self._before(reference)
        found = self._manifests.get(self._top if reference == "v1" else reference)
        if found is None:
            raise NotFound("it is not there")
        return Manifest.parse(found.manifest, found.media_type)

    def head_manifest(self, repository: str, reference: str) -> Descriptor:
        return self.get_manifest(repository, reference).descriptor

    def head_blob(self, repository: str, digest: str) -> int | None:
        self._before(digest)
        return self._blobs.get(digest)

    def list_tags(self, repository: str) -> list[str]:
        raise AssertionError("nobody asks for tags")

    def tags_or_none(self, repository: str) -> list[str] | None:
        raise AssertionError("nobody asks for tags")

    def standing(self, repository: str, reference: str) -> str | None:
        raise AssertionError("nobody asks what stands there")

    def referrers(self, repository: str, digest: str) -> list[Descriptor] | None:
        raise AssertionError("nobody asks for referrers")


def read(primary: Answers, secondary: Answers | None, patience: float = 5.0) -> Graph:
    return graph.read(primary, secondary, "team/app", "v1", patience=patience)


def test_parts_that_are_shared_count_once() -> None:
    # Given an index that names two images with the same layer
    layer = b"shared" * 100
    one, other = images.image(layers=[layer]), images.image(layers=[layer], architecture="arm64")
    top = images.index([one, other])
    # When both sides have all
    found = read(Answers(top), Answers(top))
    # Then what is counted is what is stored: one index, two manifests, two configs, one layer
    assert found.whole
    assert (found.parts, found.missing, found.unknown) == (6, 0, 0)
    assert found.root.kind is Kind.INDEX
    assert [child.kind for child in found.root.children] == [Kind.MANIFEST, Kind.MANIFEST]
    kinds = sorted(blob.kind for blob in found.root.children[0].children)
    assert kinds == [Kind.CONFIG, Kind.LAYER]


def test_what_an_index_names_and_nobody_pushed_is_said_so() -> None:
    # Given a sparse index
    there, absent = images.image(), images.image(architecture="arm64")
    top = images.index([there, absent])
    primary = Answers(top)
    del primary._manifests[absent.digest]
    # Then its part is known by name alone, and why
    found = read(primary, Answers(there))
    part = next(child for child in found.root.children if child.digest == absent.digest)
    assert "nobody pushed" in part.note
    assert part.there is There.NO
    assert found.root.there is There.NO


def test_a_primary_that_is_silent_is_not_waited_for() -> None:
    over = threading.Event()
    try:
        with pytest.raises(TooSlow):
            read(Answers(images.image(), before=lambda _: (over.wait(30), None)[1]), None, patience=0.1)
    finally:
        over.set()


def test_of_a_slow_secondary_what_is_known_is_told() -> None:
    # Given a secondary that answers once and then no more
    over, asked = threading.Event(), []

    def slow(name: str) -> None:
        asked.append(name)
        if len(asked) > 1:
            over.wait(30)

    image = images.image()
    try:
        found = read(Answers(image), Answers(image, before=slow), patience=0.2)
    finally:
        over.set()
    # Then that one answer is there, and the rest is unknown and not called missing
    assert not found.whole
    assert found.root.there is There.YES
    assert found.missing == 0
    assert found.unknown == found.parts - 1


def test_a_secondary_that_fails_leaves_it_open() -> None:
    def broken(_: str) -> None:
        raise Unreachable("gone")

    image = images.image()
    found = read(Answers(image), Answers(image, before=broken))
    assert found.unknown == found.parts
    assert "gone" in found.root.note


def test_too_much_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph, "MAX_PARTS", 2)
    found = read(Answers(images.image()), None)
    assert not found.whole
    assert found.root.children == []
    assert "too much" in found.root.note


def test_what_the_primary_refuses_is_its_own_word() -> None:
    with pytest.raises(NotFound):
        read(Answers(), None)


def test_threads_that_a_silent_primary_keeps_are_few() -> None:
    # Given a primary that answers nobody
    over = threading.Event()

    def waits(_: str) -> None:
        over.wait(30)

    image = images.image()
    silent = Answers(image, before=waits)
    try:
        for _ in range(graph.READINGS):
            with pytest.raises(TooSlow):
                read(silent, None, patience=0)
        # Then, while threads wait for it that were left behind, no more are begun
        with pytest.raises(Busy):
            read(silent, None, patience=0)
    finally:
        over.set()

    # And when they have ended it is asked again
    def room() -> bool:
        try:
            return read(Answers(image), None).whole
        except Busy:
            return False

    wait_until(room)
