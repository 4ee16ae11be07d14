"""One registry as primary and one as secondary: what is replicated between them, and what is not."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from tests.interop import suite
from tests.interop.content import Item, push_all
from tests.interop.judging import judge, refer_alike
from tests.interop.kinds import Kind
from tests.interop.results import Check, Outcome, Pairing, Result, refusal
from tests.interop.stage import Stage, Told
from tests.interop.uploads import lists_referrers
from tests.replication.formats.catalogue import catalogue, exotic
from tests.support import images
from tests.support.compare import difference
from tests.support.referring import attach
from tests.support.wire import WireError, delete_digest, delete_tag, push, tags

FORMATS = "interop/formats"
REFERRERS = "interop/referrers"
DELETION = "interop/deletion"

#: Of the formats those that the short form has: what every registry takes, and what some refuse.
SHORT = frozenset(
    {"docker-list", "oci", "oci-index", "nested", "artifact", "buildkit-index", "schema1", "unknown", "sparse"}
)


def run(first: Kind, second: Kind, path: Path, *, short: bool = False, program: str | None = None) -> Pairing:
    """Try everything between these two, each part by itself; what goes wrong is in what is returned.

    :param path: a directory of its own.
    :param short: only some of the formats.
    :param program: the conformance suite, if it is installed.
    """
    pairing = Pairing(first.name, second.name, first.notifies)
    began = time.monotonic()
    try:
        with Stage(path, first, second) as stage:
            pairing.formats = _formats(stage, SHORT if short else None)
            pairing.referrers = _referrers(stage)
            pairing.deletion = _deletion(stage)
            pairing.content = _content(stage)
            if program is not None:
                pairing.suite = suite.replicated(stage, program)
    except (AssertionError, WireError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        pairing.error = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
    pairing.seconds = round(time.monotonic() - began, 1)
    return pairing


# --- formats ----------------------------------------------------------------------------------------------------------


def _formats(stage: Stage, only: frozenset[str] | None) -> list[Result]:
    made = {**catalogue(FORMATS), **exotic()}
    # Tags that are made of a digest are named for what they are.
    names = {tag: f"cosign-{tag.rpartition('.')[2]}" if tag.startswith("sha256-") else tag for tag in made}
    results, pushed = [], []
    for tag, image in made.items():
        if only is not None and tag not in only:
            continue
        try:
            push(stage.primary, FORMATS, tag, image)
        except WireError as error:
            results.append(Result(names[tag], Outcome.NOT_TAKEN, refusal(error)))
        else:
            pushed.append(tag)
    told = stage.bring(FORMATS, pushed)
    results += [judge(stage, names[tag], FORMATS, tag, told.get(tag)) for tag in pushed]
    return results


# --- referrers --------------------------------------------------------------------------------------------------------


def _referrers(stage: Stage) -> Check:
    """A signature, and a time stamp of it, that are attached to an image which is there already."""
    primary, secondary = stage.primary, stage.secondary
    image = images.index()
    push(primary, REFERRERS, "v1", image)
    stage.bring(REFERRERS, ["v1"])
    signature = images.artifact("application/vnd.example.signature.v1", [b"a signature"], subject=image)
    stamp = images.artifact("application/vnd.example.stamp.v1", [b"a stamp"], subject=signature)
    for each in (signature, stamp):
        attach(primary, REFERRERS, each)
    subjects = [image.digest, signature.digest]
    way = " → ".join(
        "API" if lists_referrers(registry, REFERRERS, image.digest) else "tag" for registry in (primary, secondary)
    )
    if not stage.notified:
        stage.sync(REFERRERS)
    if not stage.wait(lambda: all(refer_alike(stage, REFERRERS, subject) for subject in subjects)):
        return Check(False, f"{way}: what is attached is not listed on the secondary")
    differs = _first(difference(primary, secondary, REFERRERS, each.digest) for each in (signature, stamp))
    return Check(not differs, f"{way}: {differs}" if differs else way)


# --- deletion ---------------------------------------------------------------------------------------------------------


def _deletion(stage: Stage) -> Check:
    """A tag that is deleted on the primary goes; the other tags, also on the same image, stay."""
    image, other = images.image(), images.image()
    pushed = {"gone": image, "sibling": image, "other": other}
    for tag, made in pushed.items():
        push(stage.primary, DELETION, tag, made)
    stage.bring(DELETION, pushed)
    if tags(stage.secondary, DELETION) != sorted(pushed):
        return Check(False, "what was to be deleted did not arrive")
    try:
        delete_tag(stage.primary, DELETION, "gone")
        way = "tag"
    except WireError:
        # The primary knows deletion by digest alone, and all tags on it go.
        delete_digest(stage.primary, DELETION, image.digest)
        way = "digest"
    stay = tags(stage.primary, DELETION)
    if not stage.notified:
        stage.sync(DELETION)
    if not stage.wait(lambda: tags(stage.secondary, DELETION) == stay):
        there = ", ".join(tags(stage.secondary, DELETION))
        return Check(False, f"{way}: {', '.join(stay)} should be left, and there is {there or 'nothing'}")
    differs = _first(difference(stage.primary, stage.secondary, DELETION, tag) for tag in stay)
    return Check(not differs, f"{way}: {differs}" if differs else way)


# --- what the specification has ---------------------------------------------------------------------------------------


def _content(stage: Stage) -> list[Result]:
    items, refused = push_all(stage.primary)
    results = [Result(name, Outcome.NOT_TAKEN, answer) for name, answer in refused.items()]
    told: dict[tuple[str, str], Told] = {}
    for repository in sorted({item.repository for item in items}):
        these = [item for item in items if item.repository == repository and _found(stage, item)]
        moved = {item.reference: item.moved_to for item in these if item.moved_to is not None}
        brought = stage.bring(repository, [item.reference for item in these], moved=moved)
        told |= {(repository, name): each for name, each in brought.items()}
    by_name: dict[str, list[Result]] = {}
    for item in items:
        by_name.setdefault(item.name, []).append(_item(stage, item, told.get((item.repository, item.reference))))
    return results + [_worst(each) for each in by_name.values()]


def _found(stage: Stage, item: Item) -> bool:
    return item.listed or stage.notified


def _item(stage: Stage, item: Item, told: Told | None) -> Result:
    if not _found(stage, item):
        return Result(item.name, Outcome.NOT_TAKEN, "nobody tells of it")
    result = judge(stage, item.name, item.repository, item.reference, told)
    if result.outcome is Outcome.ARRIVED and item.subject is not None:
        subject = item.subject
        if not stage.wait(lambda: refer_alike(stage, item.repository, subject)):
            return Result(item.name, Outcome.WRONG, "what is attached is not listed on the secondary")
    return result


def _worst(results: list[Result]) -> Result:
    order = (Outcome.WRONG, Outcome.REFUSED, Outcome.NOT_TAKEN, Outcome.ARRIVED)
    return min(results, key=lambda result: order.index(result.outcome))


def _first(texts: Iterable[str]) -> str:
    """The first of them that says anything."""
    return next(filter(None, texts), "")
