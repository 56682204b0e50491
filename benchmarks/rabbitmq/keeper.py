"""The keeper: it has the nodes, commits faults on them, and heals them.

One lasting fault at a time: two that overlap could take the majority from a cluster, and then it
is no longer known which of them a client suffers from. It prevents a fault from being called
healed while a node does not answer yet, and a node that died by itself from passing for one that
was killed on purpose.
"""

from __future__ import annotations

import secrets
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from .children import spawn
from .faults import RABBIT_FAULTS, BadOption, NothingToHit, RabbitFault
from .leftovers import Folder
from .node import Node, Place
from .ports import Ports
from .programs import Programs
from .waiting import KeeperError, Lifeline

ADDRESS: Final = "127.0.0.1"
#: Seconds for epmd to listen. Measured: 0.01.
EPMD_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Wound:
    """A lasting fault that is at work."""

    kind: str
    heal: Callable[[], object]


class Keeper:
    """Nodes in a folder of their own. Raises KeeperError; ``close`` leaves nothing of them."""

    def __init__(self, programs: Programs, lifeline: Lifeline, count: int) -> None:
        self.lifeline = lifeline
        self.nodes: list[Node] = []
        self.start_seconds = 0.0
        self._programs = programs
        self._count = count
        self._wound: Wound | None = None
        self._port_mapper: subprocess.Popen[bytes] | None = None
        self._died: list[str] = []
        self._ports = Ports()
        self._folder = Folder()

    def start(self) -> None:
        """Start the nodes; returns when each answers."""
        began = time.monotonic()
        cookie = self._folder.path / ".erlang.cookie"
        cookie.touch(0o600)
        cookie.write_text(secrets.token_hex(16))
        cookie.chmod(0o400)
        epmd_port, ctl_port = self._start_port_mapper(), self._ports.take()
        for number in range(1, self._count + 1):
            place = Place(
                address=ADDRESS,
                port=self._ports.take(),
                dist_port=self._ports.take(),
                epmd_port=epmd_port,
                ctl_port=ctl_port,
            )
            node = Node(f"rabbit{number}", place, self._folder.path, self._programs, self.lifeline)
            self.nodes.append(node)
            node.start()
        for node in self.nodes:
            node.wait_ready()
        self.start_seconds = time.monotonic() - began

    def close(self) -> None:
        """Kill what runs and remove the folder: the data were made to be thrown away."""
        for node in self.nodes:
            node.kill()
        if self._port_mapper is not None:
            self._port_mapper.kill()
            self._port_mapper.wait(EPMD_SECONDS)
        self._folder.remove()
        self._ports.close()

    # -- requests --------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """What there is now."""
        return {
            "now": time.monotonic(),
            "nodes": [
                {
                    "name": node.name,
                    "state": node.state,
                    "restarts": node.restarts,
                    "memory": node.memory,
                }
                for node in self.nodes
            ],
            "died": self._look_for_dead(),
            "active": [] if self._wound is None else [self._wound.kind],
            "leader_changes": 0,
        }

    def fault(self, kind: str, options: dict[str, Any]) -> dict[str, Any]:
        """Commit a fault; returns when it has taken effect.

        ``t`` is the time just before the blow. Raises BadOption, or KeeperError when it could not
        be carried out: what state the nodes are in is then not known.
        """
        row = self._row(kind)
        for name in sorted(set(options) - set(row.options)):
            raise BadOption(f"{kind} has no option {name!r}; it has {', '.join(row.options)}")
        why = self._why_not(row)
        if why:
            return {"fired": False, "why": why}
        try:
            blow = row.aim(self, options)
            began = time.monotonic()
            if blow.heal is not None:
                # Before the blow: one that struck halfway must be healed as well.
                self._wound = Wound(kind, blow.heal)
            blow.act()
        except NothingToHit as nothing:
            return {"fired": False, "why": str(nothing)}
        return {
            "fired": True,
            "t": began,
            "node": blow.node.name,
            "seconds": time.monotonic() - began,
        }

    def heal(self, kind: str | None) -> dict[str, Any]:
        """End the lasting fault of that kind, or any; returns when every node answers again."""
        if kind is not None:
            self._row(kind)
        healed = []
        if self._wound is not None and kind in (None, self._wound.kind):
            self._wound.heal()
            healed.append(self._wound.kind)
            self._wound = None
        if self._wound is None:
            self._wait_whole()
        return {"t": time.monotonic(), "healed": healed}

    def victim(self, options: dict[str, Any]) -> Node:
        """The node that the option ``node`` says, counted from 0, by default the first."""
        number = options.get("node", 0)
        if not isinstance(number, int) or not 0 <= number < len(self.nodes):
            raise BadOption(f"node is 0 to {len(self.nodes) - 1}, not {number!r}")
        return self.nodes[number]

    def _row(self, kind: str) -> RabbitFault:
        if kind not in RABBIT_FAULTS:
            raise BadOption(f"no fault {kind!r}; there are {', '.join(RABBIT_FAULTS)}")
        return RABBIT_FAULTS[kind]

    def _why_not(self, row: RabbitFault) -> str | None:
        """What speaks against that fault now."""
        if self._wound is not None:
            return f"{self._wound.kind} is still at work: heal it first"
        if len(self.nodes) < row.nodes:
            return f"{row.name} takes {row.nodes} nodes"
        dead = self._look_for_dead()
        return f"{', '.join(dead)} died without being asked to" if dead else None

    def _look_for_dead(self) -> list[str]:
        for node in self.nodes:
            if node.died and node.name not in self._died:
                self._died.append(node.name)
        return list(self._died)

    def _wait_whole(self) -> None:
        dead = self._look_for_dead()
        if dead:
            raise KeeperError(f"{', '.join(dead)} died without being asked to")
        for node in self.nodes:
            node.wait_ready()

    # -- what the nodes share --------------------------------------------------------------

    def _start_port_mapper(self) -> int:
        """Erlang's epmd, one for all nodes; returns its port. Raises KeeperError."""
        port = self._ports.take()
        with (self._folder.path / "epmd.out").open("wb") as output:
            self._port_mapper = spawn(
                [self._programs.epmd, "-address", ADDRESS, "-port", str(port)],
                self._folder.path,
                {"HOME": str(self._folder.path)},
                output,
            )
        self.lifeline.until(lambda: _listens(port), EPMD_SECONDS, "epmd did not listen")
        return port


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex((ADDRESS, port)) == 0
