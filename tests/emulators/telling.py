"""What an emulator told, as the product's own dialects read it."""

from __future__ import annotations

from app.api.senders import Senders
from app.notifications import parse
from app.notifications.authentication import Sender
from app.settings import Settings
from tests.emulators.emulator import Emulator
from tests.notifications.delivering import told
from tests.support.deployment import SECRET, offline_environment
from tests.support.receivers import Receiver

Told = tuple[str, str, str | None, str | None]


def read(emulator: Emulator) -> list[Told]:
    """Action, repository, tag and digest of all that it told; nothing in it may be unreadable."""
    found: list[Told] = []
    for notice in emulator.notices:
        found += told(parse(emulator.dialect, notice.body, notice.headers.get("Content-Type"), notice.headers))
    return found


def require_proof(emulator: Emulator, receiver: Receiver, **env: str) -> None:
    """What was received last proves its sender by what docs/notifications.md says, and by nothing less."""
    request = receiver.received[-1]
    query = request.path.partition("?")[2]
    settings = Settings.from_env(offline_environment("sqlite:///unused.db", **env))
    parameters = {"secret": [query.removeprefix("secret=")]} if query else {}
    check = Senders(settings).of(emulator.dialect).begin(Sender(request.headers, parameters))
    check.update(request.body)
    check.finish()
    assert SECRET.encode() not in request.body
