"""The webhook's address, as the primary registry has it: an empty notification is sent there, and must be counted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import urlsplit

from app.notifications import WEBHOOK_PATH
from app.registry import RegistryError, TLSFailed, Unreachable
from app.registry.errors import BODY_LIMIT
from app.registry.transport import Transport, read
from app.replication.check.examination import Examination
from app.replication.check.finding import Finding, Id, error, fine
from app.replication.check.probe import USER_AGENT

#: Where events are taken in, below the deployment's address.

#: As Distribution 2.8 sends it.
_TYPE = "application/vnd.docker.distribution.events.v1+json"

_SUBJECT = "webhook"

_REPEATS = "The registry repeats each event for ever, and sends nothing that comes after it."


def address(url: str) -> str:
    """The whole address: a deployment's own is completed."""
    return url.rstrip("/") + WEBHOOK_PATH if urlsplit(url).path.strip("/") == "" else url


def check(examination: Examination) -> Sequence[Finding]:
    """Send no event to the address, from here: the registry's own machine may see another network."""
    secrets = examination.settings.notification_secrets
    if examination.webhook is None or not secrets:
        return []
    url = address(examination.webhook)
    transport = Transport(connect_timeout=examination.answer, read_timeout=examination.answer, user_agent=USER_AGENT)
    try:
        response = transport.send(
            "POST", url, headers={"Content-Type": _TYPE}, authorization=secrets[0].value, body=b'{"events": []}'
        )
        body = read(response, BODY_LIMIT)
    except RegistryError as problem:
        return [_unreachable(url, problem)]
    finally:
        transport.close()
    return [_judged(url, response.status_code, response.headers.get("Location", ""), body)]


def _judged(url: str, status: int, location: str, body: bytes) -> Finding:
    if status in {301, 302, 303, 307, 308}:
        target = location if urlsplit(location).scheme else "the address that is final"
        lost = status in {301, 302, 303}
        return error(
            Id.WEBHOOK_REDIRECTS,
            _SUBJECT,
            f"{url} redirects ({status}) to {target}",
            "A registry follows by a GET without the event, and takes the answer for a delivery: events are lost."
            if lost
            else "Each event goes twice, and the secret to wherever the redirect leads.",
            f"notifications.endpoints[].url: {target}",
        )
    if status == 401:
        return error(
            Id.WEBHOOK_SECRET,
            _SUBJECT,
            f"the deployment at {url} does not know this environment's GEO_NOTIFICATION_SECRET",
            _REPEATS,
            "Start web with the same GEO_NOTIFICATION_SECRET as the one that `geo check` was run with",
        )
    if status >= 500:
        return error(
            Id.WEBHOOK_FAILING, _SUBJECT, f"{url} answers {status}", _REPEATS, "Look at the log of web, and the proxy"
        )
    if status != 200 or not _counts(body):
        right = "https://geo.example.com" + WEBHOOK_PATH
        why = "Nothing there takes events in; where the answer is a 200, the registry takes it for a delivery."
        title = f"what answers at {url} is not this deployment's webhook ({status})"
        return error(Id.WEBHOOK_ADDRESS, _SUBJECT, title, why, f"notifications.endpoints[].url: {right}")
    return fine(_SUBJECT, f"{url} takes events in, with our secret")


def _unreachable(url: str, problem: RegistryError) -> Finding:
    said = problem.message
    trust = "; the registry's machine has to trust its certificate" if isinstance(problem, TLSFailed) else ""
    fix = "Start web (`geo up`), open the firewall, or put notifications.endpoints[].url right"
    named = "cannot be reached" if isinstance(problem, Unreachable) else "does not answer as it should"
    return error(Id.WEBHOOK_UNREACHABLE, _SUBJECT, f"{url} {named}: {said}", _REPEATS, fix + trust)


def _counts(body: bytes) -> bool:
    try:
        answer = json.loads(body)
    except ValueError:
        return False
    return isinstance(answer, dict) and "accepted" in answer
