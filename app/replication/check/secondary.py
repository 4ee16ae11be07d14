"""Writing to the secondary: an upload that is broken off, and a deletion of what was never there."""

from __future__ import annotations

import errno
import re
import secrets
from collections.abc import Iterator, Sequence

from app.providers import Profile, Removal, profile_of
from app.registry import (
    Denied,
    InvalidKey,
    NoCredentials,
    NotFound,
    RegistryError,
    Rejected,
    TimedOut,
    Unauthorized,
    Unreachable,
    Unsupported,
    Upload,
)
from app.registry.media_types import OCTET_STREAM
from app.registry.transport import discard
from app.replication.check.credentials import REALM_REASONS
from app.replication.check.examination import Examination, Skipped
from app.replication.check.finding import Finding, Id, error, fine
from app.replication.check.probe import REPOSITORY, Probe, authenticator
from app.settings import Deletion

#: Bytes that are written and thrown away: more than what a full disk has left in its last blocks.
_PROBE_BYTES = 256 * 1024

_SUBJECT = "secondary"

#: How Distribution tells of what its file system said: the number of the error, or the words for it.
_ERRNO = re.compile(rb'"Err":\s*(\d+)')

_KEEPS = "Nothing can be copied there; what is owed waits, and is tried again."


def check(examination: Examination) -> Sequence[Finding]:
    """Write and delete there, without leaving anything.

    The upload is given up before it is committed, so that no blob and no repository comes to be.
    """
    if examination.settings.secondary is None:
        return []
    try:
        account = authenticator(examination, _SUBJECT)
    except InvalidKey as problem:
        raise Skipped(str(problem)) from None
    with Probe(examination.registry(_SUBJECT), account, examination) as probe:
        return list(_findings(examination, probe))


def _findings(examination: Examination, probe: Probe) -> Iterator[Finding]:
    profile, _ = profile_of(examination.registry(_SUBJECT))
    deletes = examination.settings.deletion is not Deletion.OFF
    if not profile.open:
        yield fine(_SUBJECT, f"uploads are not tried: {profile.title} has no repository that is nobody's")
        if deletes and profile.deletion.tag is Removal.NONE:
            yield _undeletable(profile)
        return
    try:
        upload = probe.client.start_upload(REPOSITORY)
        assert upload is not None  # nothing was to be mounted
        _throw_away(probe, upload)
    except (Unreachable, Unauthorized, NoCredentials) as problem:
        if isinstance(problem, TimedOut):
            yield _write_fails(problem)
            return
        if isinstance(problem, Unauthorized) and probe.accepts():
            yield _push_denied(problem)
            return
        raise
    except RegistryError as problem:
        if problem.reason in REALM_REASONS:
            raise
        yield _unwritable(problem)
        return
    yield fine(_SUBJECT, "takes what is uploaded")
    if deletes:
        yield _deletion(probe)


def _throw_away(probe: Probe, upload: Upload) -> None:
    """Send the bytes of a blob that is never committed.

    Not by committing them under a wrong digest: Distribution 2.8 refuses that, and leaves the bytes where they are.
    """
    endpoint = probe.endpoint
    scope = endpoint.scope(upload.repository, "pull", "push")
    try:
        response = endpoint.call(
            "PATCH",
            upload.location,
            scope,
            expect=(202, 204, 201),
            headers={"Content-Type": OCTET_STREAM},
            body=secrets.token_bytes(_PROBE_BYTES),
        )
        discard(response)
        # The session goes on where the last answer says; an older place of it ends nothing.
        location = response.headers.get("Location")
        upload.location = endpoint.resolve(response.url, location) if location else upload.location
    except Rejected:
        pass  # no uploads in pieces here (Google's registry): that it begins one has to do
    finally:
        upload.cancel()


def _unwritable(problem: RegistryError) -> Finding:
    number = _ERRNO.search(problem.body)
    said = problem.body.lower()
    full = {str(errno.ENOSPC).encode(), str(errno.EDQUOT).encode()}
    if (number and number[1] in full) or problem.status == 507 or b"no space left" in said:
        return error(
            Id.SECONDARY_FULL,
            _SUBJECT,
            f"its storage is full: {problem.message}",
            _KEEPS,
            "Make room there: registry garbage-collect /etc/docker/registry/config.yml, or a larger disk",
        )
    read_only = number is not None and number[1] == str(errno.EROFS).encode()
    if isinstance(problem, Unsupported) or read_only:
        return error(
            Id.SECONDARY_READ_ONLY,
            _SUBJECT,
            "it is read-only" if isinstance(problem, Unsupported) else "its storage is mounted read-only",
            _KEEPS,
            "storage.maintenance.readonly.enabled: false"
            if isinstance(problem, Unsupported)
            else "Mount its storage for writing: mount -o remount,rw …",
        )
    if isinstance(problem, Denied):
        return _push_denied(problem)
    return _write_fails(problem)


def _push_denied(problem: RegistryError) -> Finding:
    return error(
        Id.SECONDARY_PUSH_DENIED,
        _SUBJECT,
        f"we may not push there: {problem.message}",
        _KEEPS,
        "Give the account of GEO_SECONDARY_REGISTRY_USERNAME the rights to pull, push and delete in every repository,"
        " and room in its quota",
    )


def _write_fails(problem: RegistryError) -> Finding:
    return error(
        Id.SECONDARY_WRITE_FAILS,
        _SUBJECT,
        f"an upload fails there: {problem.message}",
        _KEEPS,
        "Look at the registry's log for the storage's own words: rights of its directory, or of its bucket",
    )


def _undeletable(profile: Profile) -> Finding:
    return error(
        Id.DELETION_DISABLED,
        _SUBJECT,
        f"{profile.title} lets no tag be deleted by this",
        "Tags that are deleted on the primary stay there for ever.",
        "export GEO_DELETION=off, and delete there by hand",
    )


def _deletion(probe: Probe) -> Finding:
    try:
        if probe.client.supports_delete(REPOSITORY):
            return fine(_SUBJECT, "deletes what it is told to")
        title = "deletion is switched off there"
    except (Unauthorized, Denied) as problem:
        title = f"we may not delete there: {problem.message}"
    except NotFound:
        title = "a proxy before it does not let deletions through"
    return error(
        Id.DELETION_DISABLED,
        _SUBJECT,
        title,
        "Tags that are deleted on the primary stay there for ever.",
        "storage.delete.enabled: true (and restart that registry), or export GEO_DELETION=off",
    )
