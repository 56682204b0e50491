"""One RabbitMQ node: its files, its process, and the questions that only it can answer.

It owns everything that keeps a node apart from any other on the machine: name, port mapper,
cookie, configuration, data, log and pid file, all in the keeper's folder. What is done to a node,
and what that means, is not its business. It prevents a private node from reading /etc/rabbitmq,
from joining a stranger's cluster, and from being there when the keeper is not.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.wire.client import WireClient, WireError, WireTimeout

from .children import resident, spawn
from .programs import Programs
from .waiting import KeeperError, Lifeline, TookTooLong

#: Seconds for RabbitMQ to start in a node that runs. Measured: 1.1-3.
START_SECONDS: Final = 90.0
#: Seconds for an orderly stop. Measured: 1.6.
STOP_SECONDS: Final = 60.0
#: Seconds for one rabbitmqctl. Measured: 0.5, and several times that on a busy machine.
CTL_SECONDS: Final = 30.0
#: Seconds for a handshake with a node that is up: some milliseconds.
HANDSHAKE_SECONDS: Final = 2.0

CONFIGURATION: Final = """\
listeners.tcp.1 = {address}:{port}
loopback_users = none
log.file.level = info
vm_memory_high_watermark.relative = {memory_mark}
disk_free_limit.absolute = {disk_limit}
"""
#: What the alarms are healed to. Far from what a trial uses: an alarm comes only when asked for.
MEMORY_MARK: Final = "0.6"
DISK_LIMIT: Final = "50MB"


class CtlError(KeeperError):
    """rabbitmqctl failed; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node lives. All its listeners are on ``address``."""

    address: str
    port: int
    dist_port: int
    epmd_port: int
    ctl_port: int
    """Where rabbitmqctl listens while it talks to the node."""
    enter: tuple[str, ...] = ()
    """What puts a command into the node's network namespace."""


class Node:
    """One node. ``name`` is all that tells it from its fellows in the same folder."""

    def __init__(
        self,
        name: str,
        place: Place,
        folder: Path,
        programs: Programs,
        lifeline: Lifeline,
        *,
        configuration: str = "",
        kernel: str = "",
    ) -> None:
        self.name = name
        self.place = place
        self.erlang_name = f"{name}@{place.address}"
        self.restarts = 0
        self._folder = folder
        self._programs = programs
        self._lifeline = lifeline
        self._process: subprocess.Popen[bytes] | None = None
        self._paused = False
        # Is it meant to run? False from our own kill or stop to the next start.
        self._wanted = False
        self._output = folder / f"{name}.out"
        self._kernel = kernel
        file = folder / f"{name}.conf"
        own = CONFIGURATION.format(
            address=place.address,
            port=place.port,
            memory_mark=MEMORY_MARK,
            disk_limit=DISK_LIMIT,
        )
        file.write_text(own + configuration)
        self._environment = self._isolated(file)

    def __repr__(self) -> str:
        return f"<Node {self.name} port {self.place.port} {self.state}>"

    @property
    def state(self) -> str:
        """``running``, ``paused`` or ``down``, as its process is; what it answers is not asked."""
        if self._process is None or self._process.poll() is not None:
            return "down"
        return "paused" if self._paused else "running"

    @property
    def died(self) -> bool:
        """Did it end though nobody here has asked it to?"""
        return self._wanted and self.state == "down"

    @property
    def memory(self) -> int:
        """Bytes that its process holds, 0 when there is none."""
        return 0 if self._process is None else resident(self._process.pid)

    # -- its process -----------------------------------------------------------------------

    def start(self) -> None:
        """Start it, on whatever data it has. ``wait_ready`` says when it answers."""
        arguments = [*self.place.enter, self._programs.server]
        with self._output.open("ab") as output:
            self._process = spawn(arguments, self._folder, self._environment, output)
        self._paused, self._wanted = False, True

    def restart(self) -> None:
        """Start it again."""
        self.restarts += 1
        self.start()

    def wait_ready(self, seconds: float) -> None:
        """Wait until it answers an AMQP handshake. Raises KeeperError."""

        def ready() -> bool:
            if self.state == "down":
                raise KeeperError(f"{self.name} ended while it started: {self.last_words()}")
            return self.answers()

        self._lifeline.until(ready, seconds, f"{self.name} did not answer")

    def answers(self) -> bool:
        """Does it take an AMQP connection now?"""
        try:
            WireClient(self.place.address, self.place.port, timeout=HANDSHAKE_SECONDS).close()
        except (WireError, WireTimeout):
            return False
        return True

    def kill(self) -> None:
        """``kill -9``, and wait until it is gone: dying, it accepts for some milliseconds."""
        if self._process is not None:
            self._wanted = False
            self._process.kill()
            self._process.wait(STOP_SECONDS)

    def stop(self) -> None:
        """An orderly stop. Raises KeeperError."""
        self._wanted = False
        self.ctl("stop")
        self._lifeline.until(
            lambda: self.state == "down", STOP_SECONDS, f"{self.name} did not stop"
        )

    def pause(self) -> None:
        """SIGSTOP: its sockets stay, and nobody answers there."""
        self._signal(signal.SIGSTOP)
        self._paused = True

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)
        self._paused = False

    def stop_app(self) -> None:
        """Stop RabbitMQ, and leave the node running. Raises CtlError."""
        self.ctl("stop_app", seconds=STOP_SECONDS)

    def start_app(self) -> None:
        """Start it in a node that ``stop_app`` has left. Raises CtlError."""
        self.ctl("start_app", seconds=START_SECONDS)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            raise KeeperError(f"{self.name} is down")
        os.kill(self._process.pid, number)

    # -- questions -------------------------------------------------------------------------

    def ctl(self, *arguments: str, seconds: float = CTL_SECONDS) -> str:
        """Run ``rabbitmqctl`` on it; returns what it printed. Raises CtlError."""
        command = [*self.place.enter, self._programs.ctl, "-q", "-n", self.erlang_name, *arguments]
        what = f"rabbitmqctl {arguments[0]} on {self.name}"
        process = spawn(command, self._folder, self._environment, subprocess.PIPE)
        printed: list[bytes] = []

        def over() -> bool:
            try:
                printed.append(process.communicate(timeout=0.01)[0])
            except subprocess.TimeoutExpired:
                return False
            return True

        try:
            self._lifeline.until(over, seconds, f"{what} did not end")
        except TookTooLong as error:
            raise CtlError(str(error)) from error
        finally:
            if process.returncode is None:
                process.kill()
                process.communicate()
        text = b"".join(printed).decode(errors="replace").strip()
        if process.returncode:
            raise CtlError(f"{what}: {' '.join(text.split())[-300:] or process.returncode}")
        return text

    def app_runs(self) -> bool:
        """Is RabbitMQ running in it? Asked of the node itself. Raises CtlError."""
        return self.ctl("eval", "rabbit:is_running().") == "true"

    def sync(self) -> None:
        """Put on its disk what was declared so far. Raises CtlError.

        RabbitMQ writes a message to the disk before it confirms it, and a declaration soon after
        it has answered: a queue that was declared 30 ms before ``kill -9`` is lost now and then on
        a busy machine, and with it what was confirmed there.
        """
        answer = self.ctl("eval", "mnesia:sync_log().")
        if answer != "ok":
            raise CtlError(f"{self.name} did not write what was declared: {answer}")

    def last_words(self) -> str:
        """The last line that it printed or logged."""
        for file in (self._output, self._folder / f"{self.name}.log"):
            if file.exists():
                lines = file.read_text(errors="replace")[-2000:].strip().splitlines()
                if lines:
                    return lines[-1].strip()
        return "it said nothing"

    # -- what keeps it apart ---------------------------------------------------------------

    def _isolated(self, configuration: Path) -> dict[str, str]:
        """The whole environment of its programs: nothing is inherited but the search path."""
        place, folder = self.place, self._folder
        plugins = folder / "enabled_plugins"
        plugins.write_text("[].\n")
        only_here = f"-kernel inet_dist_use_interface {_tuple(place.address)} -start_epmd false"
        return {
            "PATH": self._programs.search,
            "LANG": "C.UTF-8",
            # Holds the cookie, which so stands on no command line.
            "HOME": str(folder),
            "ERL_EPMD_PORT": str(place.epmd_port),
            "ERL_EPMD_ADDRESS": place.address,
            "ERL_CRASH_DUMP": str(folder / f"{self.name}.crash"),
            "ERL_CRASH_DUMP_BYTES": "0",
            # Full names: an address needs no resolver, and is right in a network namespace too.
            "RABBITMQ_USE_LONGNAME": "true",
            "RABBITMQ_NODENAME": self.erlang_name,
            # The script then becomes the node, instead of starting it: it is our own child.
            "RABBITMQ_ALLOW_INPUT": "true",
            "RABBITMQ_DIST_PORT": str(place.dist_port),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(configuration),
            "RABBITMQ_ADVANCED_CONFIG_FILE": "/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder),
            "RABBITMQ_LOGS": str(folder / f"{self.name}.log"),
            "RABBITMQ_PID_FILE": str(folder / f"{self.name}.pid"),
            # Idle schedulers that spin would take the cores from what is measured.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                f"-noinput +S 2:2 +sbwt none {only_here} {self._kernel}"
            ),
            "RABBITMQ_CTL_ERL_ARGS": only_here,
            "RABBITMQ_CTL_DIST_PORT_MIN": str(place.ctl_port),
            "RABBITMQ_CTL_DIST_PORT_MAX": str(place.ctl_port),
        }


def _tuple(address: str) -> str:
    """An IPv4 address as Erlang writes it."""
    return "{" + address.replace(".", ",") + "}"


def any_of(nodes: Sequence[Node]) -> Node:
    """A node that runs, to be asked about the others. Raises KeeperError when there is none."""
    for node in nodes:
        if node.state == "running":
            return node
    raise KeeperError("no node runs")
