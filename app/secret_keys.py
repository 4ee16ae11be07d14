"""The deployment's secret keys: what signs sessions and seals secrets; the first is used, all are recognized."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import uuid
from pathlib import Path

from app.settings import Settings

log = logging.getLogger(__name__)

#: The file under the state directory that holds the key if the environment does not.
KEY_FILE = "secret_key"

KEY_BYTES = 32

#: For a process that has nothing in common with another.
_own = secrets.token_hex(KEY_BYTES)


def secret_keys(settings: Settings) -> tuple[str, ...]:
    """The keys, at least one: the environment's, else the one that is kept in the state directory, made if need be."""
    if settings.secret_keys:
        return tuple(key.value for key in settings.secret_keys)
    try:
        return (shared_key(settings.state_directory),)
    except OSError as error:
        log.warning("no secret key can be kept in %s (%s); set GEO_SECRET_KEY", settings.state_directory, error)
    # The same in all processes, and as good as what it guards. Without an admin token the pages are closed.
    token = settings.admin_token.value if settings.admin_token else _own
    return (hmac.new(token.encode(), b"geo-registry session key", hashlib.sha256).hexdigest(),)


def shared_key(directory: Path) -> str:
    """The key kept in `directory`, made if there is none; the same for all processes that ask at once.

    Raises:
        OSError: when it can be neither read nor written.
    """
    path = directory / KEY_FILE
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        draft = directory / f".{KEY_FILE}.{uuid.uuid4().hex}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
            # A link appears whole or not at all, and never takes the place of another's.
            path.hardlink_to(draft)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    key = path.read_text().strip()
    if len(key) < KEY_BYTES:
        raise OSError(f"{path} holds no key; delete it, and a new one is made")
    return key
