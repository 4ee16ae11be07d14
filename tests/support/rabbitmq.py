"""A real RabbitMQ server: its node, cookie, directories and ports are nobody else's, and it ends with the test."""

from __future__ import annotations

import contextlib
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from tests.support import parts
from tests.support.ports import free_port
from tests.support.processes import Process, clean_environment
from tests.support.wait import wait_until

#: Where Debian keeps the scripts; those on PATH change to the user `rabbitmq` first.
_DEBIAN = "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin"

USER, PASSWORD = "geo", "p@ss/word"

#: Seconds that the Erlang machine may take to come up on busy processors.
PATIENCE = 120


class RabbitMQ:
    """`with RabbitMQ(tmp_path) as rabbit:`; a restart or a kill keeps ports and data.

    So does its port mapper (epmd): Erlang would start one for the whole machine, and leave it there.
    """

    def __init__(self, path: Path) -> None:
        parts.library("pika", "pika")
        self._server = parts.require("rabbitmq-server-of-debian", f"{_DEBIAN}/rabbitmq-server")
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.port = free_port()
        self._distribution = free_port()
        self._mapper_port = free_port()
        command = [parts.require("epmd", "/usr/lib/erlang/erts-*/bin/epmd"), "-port", str(self._mapper_port)]
        command += ["-address", "127.0.0.1"]
        self._mapper = Process(command, log=path / "epmd.log", env=clean_environment(HOME=str(path)), cwd=path)
        self._node = f"geo-{uuid.uuid4().hex[:8]}@localhost"
        self.process: Process | None = None
        (path / ".erlang.cookie").write_text(uuid.uuid4().hex)
        (path / ".erlang.cookie").chmod(0o400)
        (path / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\n"
            f"default_user = {USER}\ndefault_pass = {PASSWORD}\n"
            "loopback_users = none\n"
            "disk_free_limit.absolute = 10MB\n"
            "log.console = true\nlog.console.level = info\nlog.file = false\n"
        )
        (path / "plugins").write_text("[].\n")

    @property
    def url(self) -> str:
        return self.url_of(USER, PASSWORD)

    def url_of(self, user: str, password: str) -> str:
        return f"amqp://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/%2F"

    @property
    def log_text(self) -> str:
        return self.process.log_text if self.process is not None else ""

    def start(self) -> Self:
        """Start it and wait until it lets us in."""
        if not self._mapper.running:
            self._mapper.start().wait_for_port(self._mapper_port)
        self.process = Process([self._server], log=self.path / "rabbitmq.log", env=self._env(), cwd=self.path).start()
        try:
            self.process.wait_for_port(self.port, timeout=PATIENCE)
            wait_until(self._answers, PATIENCE, lambda: f"RabbitMQ does not answer\n{self.log_text[-3000:]}")
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop(timeout=60)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()

    def control(self, *arguments: str) -> None:
        """Run `rabbitmqctl`."""
        program = parts.require("rabbitmqctl-of-debian", f"{_DEBIAN}/rabbitmqctl")
        command = [program, "--node", self._node, *arguments]
        done = subprocess.run(
            command, env=self._env(), cwd=self.path, check=False, capture_output=True, timeout=PATIENCE
        )
        assert done.returncode == 0, (done.stdout + done.stderr).decode()

    def waiting(self, queue: str) -> int:
        """Messages that wait in a queue; 0 where there is none."""
        return self._told(queue, "message_count")

    def consumers(self, queue: str) -> int:
        """Who reads from a queue; 0 where there is none."""
        return self._told(queue, "consumer_count")

    @contextlib.contextmanager
    def serving(self, *queues: str) -> Iterator[None]:
        """Somebody who reads from these queues, and nobody has to have declared them."""
        import pika

        with contextlib.closing(pika.BlockingConnection(pika.URLParameters(self.url))) as connection:
            channel = connection.channel()
            for queue in queues:
                channel.queue_declare(queue, durable=True)
                channel.basic_consume(queue, lambda *_: None)
            yield

    def _told(self, queue: str, what: str) -> int:
        import pika
        import pika.exceptions

        with contextlib.closing(pika.BlockingConnection(pika.URLParameters(self.url))) as connection:
            try:
                return int(getattr(connection.channel().queue_declare(queue, passive=True).method, what))
            except pika.exceptions.ChannelClosedByBroker:
                return 0

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._mapper.stop()

    def _env(self) -> dict[str, str]:
        home = str(self.path)
        return clean_environment(
            HOME=home,
            RABBITMQ_NODENAME=self._node,
            RABBITMQ_CONFIG_FILE=f"{home}/rabbitmq.conf",
            RABBITMQ_CONF_ENV_FILE=f"{home}/none.conf",
            RABBITMQ_ENABLED_PLUGINS_FILE=f"{home}/plugins",
            RABBITMQ_MNESIA_BASE=f"{home}/data",
            RABBITMQ_LOG_BASE=f"{home}/log",
            RABBITMQ_PID_FILE=f"{home}/pid",
            RABBITMQ_DIST_PORT=str(self._distribution),
            ERL_EPMD_PORT=str(self._mapper_port),
            ERL_EPMD_ADDRESS="127.0.0.1",
        )

    def _answers(self) -> bool:
        import pika
        import pika.exceptions

        try:
            pika.BlockingConnection(pika.URLParameters(self.url)).close()
        except (pika.exceptions.AMQPError, OSError):
            return False
        return True
