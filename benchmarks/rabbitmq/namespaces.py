"""One network namespace for each node, and a switch between them whose cables can be cut.

Namespaces, interfaces and the bridge have no name in any registry: a namespace lives as long as
the process in it, and all interfaces go with the namespace that holds them or their other end. So
nothing here has to be removed, however the keeper ends. It needs root, and prevents a partition
from being played by a firewall rule that somebody else's might shadow.

    host 198.18.N.1 ──┐                ┌── node 1: 198.18.N.11
                      ├── the switch ──┼── node 2: 198.18.N.12
                                       └── node 3: 198.18.N.13
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Final

from .children import spawn
from .waiting import KeeperError, Lifeline

#: Addresses for tests between networks (RFC 2544), of which one machine's routes know nothing.
NETWORKS: Final = [f"198.{second}.{third}" for second in (18, 19) for third in range(256)]
HOST: Final = 1
FIRST_NODE: Final = 11
#: Seconds for one command, or for a namespace to be there. Measured: 0.01.
STEP_SECONDS: Final = 10.0


class NoNamespaces(Exception):
    """Network namespaces cannot be made here; the text says what is missing."""


class Network:
    """The namespaces of ``count`` nodes, their switch, and the host's own cable to it."""

    def __init__(self, count: int, folder: Path, lifeline: Lifeline) -> None:
        """Make it all. Raises NoNamespaces."""
        missing = [name for name in ("ip", "unshare", "nsenter") if shutil.which(name) is None]
        if missing:
            raise NoNamespaces(f"there is no {', no '.join(missing)}: install iproute2, util-linux")
        if os.geteuid() != 0:
            raise NoNamespaces("network namespaces take root: run as root, or without --isolated")
        self._folder = folder
        self._lifeline = lifeline
        self._holders: list[subprocess.Popen[bytes]] = []
        try:
            self._prefix = _free_network()
            self._switch = self._namespace()
            self._nodes = [self._namespace() for _ in range(count)]
            self._connect()
        except (KeeperError, OSError) as error:
            raise NoNamespaces(f"no network namespaces can be made here: {error}") from error

    def address(self, number: int) -> str:
        """The address of a node, counted from 0."""
        return f"{self._prefix}.{FIRST_NODE + number}"

    def enter(self, number: int) -> tuple[str, ...]:
        """What puts a command into the namespace of a node."""
        return _enter(self._nodes[number])

    def cut(self, number: int) -> None:
        """Pull the cable of a node. The nodes are told when they next call, the host is not.

        An attempt to connect that hangs until the cable is back is what Erlang's `global` takes
        amiss (see ``keeper.ALONE_SECONDS``); a client is to notice by itself.
        """
        self._ip(f"link set port{number} down", self._switch)
        alone = self._nodes[number]
        for other, pid in enumerate(self._nodes):
            if pid != alone:
                self._ip(f"route replace unreachable {self.address(number)}", pid)
                self._ip(f"route replace unreachable {self.address(other)}", alone)

    def mend(self, number: int) -> None:
        """Put it back, also when it was not pulled quite."""
        for pid in self._nodes:
            self._ip("route flush type unreachable", pid)
        self._ip(f"link set port{number} up", self._switch)

    def _namespace(self) -> int:
        """A namespace, held by a process that sleeps; returns its pid."""
        holder = spawn(
            ["unshare", "--net", "sleep", "infinity"],
            self._folder,
            {"PATH": os.environ.get("PATH", os.defpath)},
            subprocess.DEVNULL,
        )
        self._holders.append(holder)
        ours = os.readlink("/proc/self/ns/net")

        def apart() -> bool:
            if holder.poll() is not None:
                raise KeeperError("unshare --net was refused")
            return os.readlink(f"/proc/{holder.pid}/ns/net") != ours

        self._lifeline.until(apart, STEP_SECONDS, "unshare --net made no namespace", poll=0.005)
        return holder.pid

    def _connect(self) -> None:
        self._ip("link add switch type bridge\nlink set switch up", self._switch)
        uplink = f"amqpool{os.getpid()}"[:15]
        self._ip(
            "link add uplink type veth peer name "
            f"{uplink} netns {os.getpid()}\nlink set uplink master switch up",
            self._switch,
        )
        self._ip(f"addr add {self._prefix}.{HOST}/24 dev {uplink}\nlink set {uplink} up", None)
        for number, pid in enumerate(self._nodes):
            self._ip(
                f"link add port{number} type veth peer name eth0 netns {pid}\n"
                f"link set port{number} master switch up",
                self._switch,
            )
            self._ip(
                f"link set lo up\naddr add {self.address(number)}/24 dev eth0\nlink set eth0 up",
                pid,
            )

    def _ip(self, commands: str, where: int | None) -> None:
        """Run commands of ``ip``, in the namespace of that process or in our own."""
        enter = () if where is None else _enter(where)
        done = subprocess.run(
            [*enter, "ip", "-batch", "-"],
            input=f"{commands}\n",
            capture_output=True,
            text=True,
            timeout=STEP_SECONDS,
            check=False,
        )
        if done.returncode:
            raise KeeperError(" ".join(done.stderr.split())[-200:])


def _enter(pid: int) -> tuple[str, ...]:
    return ("nsenter", f"--net=/proc/{pid}/ns/net", "--")


def _free_network() -> str:
    """One that no route of the machine leads to; another keeper's has one."""
    known = subprocess.run(
        ["ip", "-4", "route", "show", "table", "all"],
        capture_output=True,
        text=True,
        timeout=STEP_SECONDS,
        check=True,
    ).stdout
    free = [network for network in NETWORKS if f"{network}." not in known]
    if not free:
        raise KeeperError("every network of 198.18.0.0/15 has a route already")
    return random.Random(os.getpid()).choice(free)
