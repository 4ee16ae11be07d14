"""The webhook: authenticate the raw body, parse, store, answer; a worker is woken after the answer.

A registry repeats an event that is not answered 2xx for ever and sends nothing behind it. So nothing authenticated is
refused: what cannot be read is quarantined, and only a database that cannot be written is a reason to ask again.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import cast

from flask import Blueprint, Response, current_app, jsonify, request
from flask.blueprints import BlueprintSetupState
from peewee import DataError, PeeweeException
from werkzeug.exceptions import RequestTimeout, ServiceUnavailable

from app import tracing
from app.api.problems import problem
from app.api.senders import Senders
from app.database import DatabaseUnavailable
from app.metrics import buffer
from app.notifications import WEBHOOK_PATH, Notification, Quarantined, UnknownDialect, parse
from app.notifications.authentication import Check, Refused, Sender
from app.notifications.text import excerpt_of_bytes, free_text
from app.replication import backfill, event_log
from app.replication.event_log import Origin, Stored
from app.web.bodies import unproven_body
from app.web.context import context

log = logging.getLogger(__name__)

blueprint = Blueprint("webhook", __name__)

#: What is parsed. A manifest of 4 MiB with its references makes an event of 7 MB.
MAX_BODY = 16 * 1024 * 1024

#: What is kept of a larger body.
HEAD = 64 * 1024

#: What is read of somebody whose proof needs the body. GitHub's largest is 25 MB.
MAX_UNPROVEN = 32 * 1024 * 1024

_TOO_LARGE = "The body is too large to find out who signed it."


@dataclass(slots=True)
class Body:
    data: bytes
    size: int
    complete: bool = field(default=True)


@blueprint.post(WEBHOOK_PATH)
@blueprint.post(f"{WEBHOOK_PATH}/<dialect>")
def receive(dialect: str = "distribution") -> Response:
    """Take in one delivery. 200 with counts; 401, 408, 413 without proof; 503 when it cannot be stored or proven."""
    started = time.perf_counter()
    with tracing.served("POST", WEBHOOK_PATH, request.headers) as span:
        response = _receive(dialect, span)
        span.answered(response.status_code)
    buffer.count("geo_webhook_requests_total", {"status": str(response.status_code)})
    buffer.observe("geo_webhook_duration_seconds", {}, time.perf_counter() - started)
    return response


def _receive(dialect: str, span: tracing.Span) -> Response:
    geo = context()
    try:
        check = _senders().of(dialect).begin(_sender())
        body = _read_body(check) if check.done else _read_unproven(check)
        check.finish()
    except Refused as refusal:
        return _refused(dialect, refusal)
    notification = _parse(dialect, body)
    # An address may hold what no database stores.
    origin = Origin(free_text(dialect) or "-", body.size, free_text(request.content_type), request.remote_addr)
    try:
        stored = _store(notification, origin, body)
        if notification.events or notification.quarantined:
            # After the events: what cannot be noted is sent again, and then they are duplicates.
            geo.instances.note(notification.source_instances)
        if not body.complete or any(item.reason == "too_many" for item in notification.quarantined):
            backfill.request("a notification was too large to read")
    except (DatabaseUnavailable, PeeweeException) as error:
        log.error("a notification could not be stored: %s", error)
        response = problem(503, "Service Unavailable", "The event cannot be stored now; please send it again.")
        response.headers["Retry-After"] = "1"
        return response
    if stored.accepted:
        geo.wake.events()
    ignored = sum(notification.ignored.values())
    counts = Counter(
        accepted=stored.accepted, duplicate=stored.duplicate, ignored=ignored, quarantined=stored.quarantined
    )
    span.note({f"geo.events.{outcome}": number for outcome, number in counts.items()})
    for outcome, number in counts.items():
        buffer.count("geo_webhook_events_total", {"outcome": outcome}, number)
    if stored != Stored():
        # Not of what is ignored: a registry that is pulled from sends thousands of those.
        log.info("events were stored", extra={"dialect": origin.dialect, **counts})
    return jsonify(dict(counts))


def _refused(dialect: str, refusal: Refused) -> Response:
    log.warning(
        "a notification was refused",
        extra={"remote_ip": request.remote_addr, "dialect": free_text(dialect), "reason": refusal.reason},
    )
    if refusal.temporary:
        response = problem(503, "Service Unavailable", f"{refusal} Please send it again.")
        response.headers["Retry-After"] = "10"
        return response
    if refusal.reason == "too_slow":
        return problem(408, "Request Timeout", str(refusal))
    if refusal.reason == "too_large" or (request.content_length or 0) > MAX_BODY:
        return problem(413, "Content Too Large", "and without the notification secret")
    return problem(401, "Unauthorized", str(refusal))


@blueprint.record
def _prepare(state: BlueprintSetupState) -> None:
    state.app.extensions["geo_senders"] = Senders(state.app.extensions["geo"].settings)


def _senders() -> Senders:
    return cast("Senders", current_app.extensions["geo_senders"])


def _sender() -> Sender:
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Sender(headers, {name: request.args.getlist(name) for name in request.args})


def _store(notification: Notification, origin: Origin, body: Body) -> Stored:
    """Ignored events touch no database: a registry that is pulled from sends thousands of them. Not even a registry
    process that is new is noted for them; it is as soon as something is pushed there."""
    if not notification.events and not notification.quarantined:
        return Stored()
    try:
        return context().intake.store(notification.events, notification.quarantined, origin)
    except DataError:
        # It would be refused again, for ever and with every later event behind it.
        log.exception("the database takes no event with these values; the notification is quarantined")
        backfill.request("a notification could not be stored")
        return event_log.store([], [_unusable(body)], origin)


def _parse(dialect: str, body: Body) -> Notification:
    if not body.complete:
        return Notification(quarantined=(Quarantined("too_large", excerpt_of_bytes(body.data)),))
    try:
        return parse(dialect, body.data, request.content_type, dict(request.headers))
    except UnknownDialect:
        return Notification(quarantined=(Quarantined("unknown_dialect", excerpt_of_bytes(body.data)),))
    except Exception:
        # A mistake of ours in reading must not make the registry repeat it for ever either.
        log.exception("a notification could not be read; it is quarantined")
        return Notification(quarantined=(_unusable(body),))


def _unusable(body: Body) -> Quarantined:
    return Quarantined("bad_event", excerpt_of_bytes(body.data))


def _read_unproven(check: Check) -> Body:
    """The body of whom only the body can prove: not at any length, for any time, or any number of them at once."""
    if (request.content_length or 0) > MAX_UNPROVEN:
        raise Refused("too_large", _TOO_LARGE)
    try:
        with unproven_body():
            return _read_body(check)
    except ServiceUnavailable as busy:
        raise Refused("busy", str(busy.description), temporary=True) from None
    except RequestTimeout as slow:
        raise Refused("too_slow", str(slow.description)) from None


def _read_body(check: Check) -> Body:
    """All of the body, or the head of one that is too large; either way everything is read off the connection."""
    chunks: list[bytes] = []
    size = 0
    while chunk := request.stream.read(256 * 1024):
        size += len(chunk)
        if size > MAX_UNPROVEN and not check.done:
            raise Refused("too_large", _TOO_LARGE)
        check.update(chunk)
        if size <= MAX_BODY:
            chunks.append(chunk)
        else:
            # Its head is enough, whatever may follow.
            del chunks[1:]
    data = b"".join(chunks)
    return Body(data, size) if size <= MAX_BODY else Body(data[:HEAD], size, complete=False)
