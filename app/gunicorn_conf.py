"""The web process: `gunicorn -c python:app.gunicorn_conf "app:create_app()"`."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

#: What asks a worker to end.
STOPPING = {signal.SIGTERM, signal.SIGQUIT, signal.SIGINT}


def _number(name: str, default: int) -> int:
    """A positive whole number from the environment; anything else ends the start with a plain sentence."""
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or int(text) == 0:
        raise SystemExit(f"{name} must be a positive whole number, not {text!r}")
    return int(text)


def _bind() -> str:
    host = os.environ.get("GEO_BIND") or "0.0.0.0"  # noqa: S104 - containers and platforms need all interfaces
    return f"[{host}]:{_number('PORT', 8000)}" if ":" in host else f"{host}:{_number('PORT', 8000)}"


bind = _bind()

# Requests wait for the database or, in the feed's long-poll, for an event: threads, not more processes.
worker_class = "app.server.Worker"
workers = _number("WEB_CONCURRENCY", 2)
threads = 16

# With threads this only finds a worker that hangs as a whole; it does not limit a request.
timeout = 30

# Within the 16 s that the supervisor, and the 30 s that platforms, leave between SIGTERM and SIGKILL.
graceful_timeout = 15

# Registries post every notification over one connection that they keep. Closed after gunicorn's own 2 s, the
# next POST would now and then meet the closing and fail; also longer than the 60 s of usual load balancers.
keepalive = 75

# Memory where there is some: with its heartbeat file on a slow or full disk a worker looks dead that is not.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() and os.access("/dev/shm", os.W_OK) else None  # noqa: S108

# On by default since 25.1, in the home directory, which a container may not have; we have no use for it.
control_socket_disable = True

# Each worker opens its own database and queue connections, and those must not be shared across a fork.
preload_app = False

# A worker that is replaced lets go of what registries and following sites keep open to it, so none is without need.
max_requests = 0

# The feed's position is in the query and names open gaps: twice gunicorn's default length. The header limits
# leave room for a token with a certificate chain.
limit_request_line = 8190
limit_request_fields = 100
limit_request_field_size = 16380

# A request that matters leaves a metric and a log line of ours; load balancers' health checks would drown them.
accesslog = None
logger_class = "app.server.Log"


def on_starting(_arbiter: Any) -> None:
    """Hold the signals that end a worker from its fork until it has handlers of its own.

    gunicorn's child starts with its parent's handlers, which queue a signal for a main loop that the child does not
    have: a stop within those milliseconds was lost, and the web process ended only when `graceful_timeout` was over.
    """
    os.register_at_fork(before=_hold, after_in_parent=_release)


def post_worker_init(worker: Any) -> None:
    """Take what was held, and let who waits in the feed know when this worker has to end."""
    from app.web import slots

    slots.serving = lambda: bool(worker.alive)
    _release()


def worker_exit(_server: Any, _worker: Any) -> None:
    """Export the spans that a worker has left."""
    from app import tracing

    tracing.close()


def _hold() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)


def _release() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
