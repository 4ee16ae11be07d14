"""`geo up`, and the processes it runs: `geo web`, `geo worker`, `geo scheduler`."""

from __future__ import annotations

import contextlib
import os
import re
import sys

import click

from app import amqp, database
from app import migrate as migrations
from app.boot import bind_database
from app.cli.common import fail, plainly, use_embedded_broker
from app.confidential import secret_values
from app.deployment import QUEUES, Deployment, environment, web_command, worker_command
from app.embedded import EmbeddedValkey, EmbeddedValkeyError
from app.logging import as_json, conceal
from app.logging import configure as configure_logging
from app.replication import sites
from app.settings import Settings
from app.supervisor import Supervisor


@click.command(short_help="Run everything in one go.")
@plainly
def up() -> None:
    """Run everything: migrate, then broker (unless REDIS_URL is set), web, worker and scheduler.

    One Ctrl-C or SIGTERM ends it, in-flight work first. What dies is started again. Lines are for people on a terminal,
    and JSON elsewhere (LOG_FORMAT).

    \b
    Examples:
      geo up
      GEO_LOG_PATH=/var/log/geo/geo.log geo up

    Exit status: 0 stopped as asked; 1 it could not start; 2 wrong settings; 130 after a second Ctrl-C.
    """
    configure_logging("file")
    settings = Settings.from_env(os.environ)
    conceal(secret_values(settings))
    for warning in settings.warnings():
        click.echo(f"geo: warning: {warning}", err=True)
    prepare(settings)
    try:
        with contextlib.ExitStack() as stack:
            valkey = None
            if settings.redis_url is None:
                valkey = stack.enter_context(EmbeddedValkey(settings.state_directory / "valkey"))
            told_as_json = as_json(sys.stdout)
            # They write into a pipe of ours, and cannot see what is at its end.
            environ = {**os.environ, "LOG_FORMAT": "json" if told_as_json else "plain"}
            programs = Deployment(settings, environ, valkey).programs()
            sys.exit(Supervisor(programs, out=sys.stdout, as_json=told_as_json).run())
    except EmbeddedValkeyError as error:
        fail(str(error))


def prepare(settings: Settings) -> None:
    """Migrate, and write the environment's sites down."""
    bind_database(settings)
    for name in migrations.migrate():
        click.echo(f"geo: applied migration {name}", err=True)
    sites.apply_environment(settings)
    # What follows is forked or executed; it opens connections of its own.
    database.close()


@click.command(short_help="Run the web process (gunicorn) in the foreground.")
@plainly
def web() -> None:
    """Run the web process (gunicorn) in the foreground: webhook, API, pages and metrics.

    \b
    Examples:
      PORT=8000 WEB_CONCURRENCY=4 geo web

    Exit status: 0 stopped as asked; 2 wrong settings.
    """
    use_embedded_broker()
    if not _queue(Settings.from_env(os.environ)):
        click.echo("geo: warning: without REDIS_URL no worker is woken; the scheduler finds what is due.", err=True)
    _become(web_command())


def _queues(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(re.findall(r"[^\s,]+", value or "")))
    unknown = [name for name in names if name not in QUEUES]
    if unknown or (value is not None and not names):
        raise click.BadParameter(f"there are {', '.join(QUEUES)}")
    return names


@click.command(short_help="Run the worker process (dramatiq) in the foreground.")
@plainly
@click.option(
    "--queues",
    metavar="NAMES",
    callback=_queues,
    help=f"Serve only these, of {', '.join(QUEUES)}; separated by commas. Each needs a worker somewhere.",
)
def worker(queues: tuple[str, ...]) -> None:
    """Run the worker process (dramatiq) in the foreground: it copies and verifies. Any number may run.

    Without --queues it does everything. A worker of `sync` alone copies what was just pushed and nothing else; one of
    `backfill` all the rest.

    \b
    Examples:
      WORKER_PROCESSES=2 WORKER_THREADS=8 geo worker
      geo worker --queues events,sync
      geo worker --queues backfill,verification

    Exit status: 0 stopped as asked; 2 wrong settings, or no queue.
    """
    settings = _with_queue()
    _become(worker_command(settings, queues))


@click.command(short_help="Run the scheduler in the foreground.")
@plainly
def scheduler() -> None:
    """Run the scheduler in the foreground. Several may run; one acts.

    It wakes workers for what is due, asks for reconciles and verifications, and prunes what is old.

    \b
    Examples:
      geo scheduler

    Exit status: 0 stopped as asked; 2 wrong settings, or no queue.
    """
    from app.boot import boot
    from app.processes import die_with_parent
    from workers import scheduler as process
    from workers.wake import QueueWake

    configure_logging()
    settings = _with_queue()
    if os.environ.get("GEO_SUPERVISED"):
        die_with_parent()
    process.main(boot(settings, QueueWake(settings)))


def _with_queue() -> Settings:
    use_embedded_broker()
    settings = Settings.from_env(os.environ)
    if settings.role.replicates and not _queue(settings):
        fail("a worker and a scheduler need a queue between them: set REDIS_URL (`geo up` brings one of its own)", 2)
    if settings.broker_url is not None:
        amqp.require(settings.broker_url.value)
    return settings


def _queue(settings: Settings) -> bool:
    return settings.redis_url is not None or settings.broker_url is not None


def _become(command: list[str]) -> None:
    environ = environment(dict(os.environ))
    os.execve(command[0], command, environ)  # noqa: S606 - our own interpreter and arguments
